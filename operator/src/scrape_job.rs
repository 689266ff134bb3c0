//! The controller of `ScrapeJob`: a planner, fetchers, and the topics between them.

pub mod build;
mod schema;
#[cfg(test)]
pub(crate) mod tests;
mod validate;

use std::{ops::ControlFlow, sync::Arc};

use kube::{ResourceExt, core::object::HasStatus, runtime::controller::Action};
use naru_api::{ScalingMode, ScrapeJob};

pub use self::validate::{ValidScrapeJob, most_fetchers, polite_fetchers, validate};
use crate::{
    controller::{Context, Error},
    deletion::Outside,
    endpoint::Freshness,
    names::Names,
    worker::{Crew, Pass},
};

pub const KIND: &str = "ScrapeJob";

/// One pass over a ScrapeJob.
pub async fn reconcile(job: Arc<ScrapeJob>, context: Arc<Context>) -> Result<Action, Error> {
    let (policy, outside) = (job.spec.deletion_policy, outside(&job, &context));
    let mut pass = match Pass::begin(&context, KIND, &*job, crew(&job), policy, outside).await? {
        ControlFlow::Continue(pass) => pass,
        ControlFlow::Break(action) => return Ok(action),
    };
    let outcome = converge(&job, &context, &mut pass).await;
    pass.end(outcome).await
}

async fn converge(job: &ScrapeJob, context: &Context, pass: &mut Pass<'_, ScrapeJob>) -> Result<(), Error> {
    let valid = validate(&context.settings, job);
    pass.limit(most_fetchers(&job.spec));
    if job.spec.suspend {
        pass.suspend().await?;
        return valid.map(drop);
    }
    let valid = valid?;
    let depends = depend(job, context, pass, &valid).await;
    pass.run(depends, || build::build(&context.settings, &valid))
        .await
}

/// Looks at what it needs outside Kubernetes, and makes what is missing and its own.
async fn depend(
    job: &ScrapeJob,
    context: &Context,
    pass: &mut Pass<'_, ScrapeJob>,
    valid: &ValidScrapeJob,
) -> Result<(), Error> {
    let freshness = Freshness::of(
        job.metadata.generation,
        job.status().and_then(|status| status.observed_generation),
    );
    dereference(context, valid, freshness).await?;
    let kafka = context.kafka.get(&valid.bootstrap_servers)?;
    for topic in build::topics(valid) {
        pass.ensure(&kafka, &topic, freshness).await?;
    }
    Ok(())
}

/// A ScrapeJob refers to a registry, which must take the schema of its records: fetchers with another one would come up
/// and write nothing.
async fn dereference(context: &Context, job: &ValidScrapeJob, freshness: Freshness) -> Result<(), Error> {
    let registry = context.registries.get(&job.registry_url);
    registry.check(freshness).await?;
    let refusal = registry
        .refuses(&job.document.output.topic, &job.schema, freshness)
        .await?;
    match refusal {
        Some(refusal) => Err(schema::incompatible(job, &refusal)),
        None => Ok(()),
    }
}

/// What it has outside Kubernetes.
fn outside(job: &ScrapeJob, context: &Context) -> Outside {
    let (namespace, name) = (job.namespace().unwrap_or_default(), job.name_any());
    let names = Names {
        namespace: &namespace,
        name: &name,
    };
    let own = job.spec.kafka.as_ref().map(|kafka| &kafka.bootstrap_servers);
    Outside {
        deployments: vec![names.planner(), names.fetcher()],
        bootstrap_servers: context.settings.bootstrap_servers(own).ok(),
        group: names.fetcher_group(),
        topics: job
            .status()
            .map(|status| status.created_topics.clone())
            .unwrap_or_default(),
        namespace: namespace.clone(),
    }
}

/// The planner and the fetchers, of which the latter are scaled.
fn crew(job: &ScrapeJob) -> Crew {
    let (namespace, name) = (job.namespace().unwrap_or_default(), job.name_any());
    let names = Names {
        namespace: &namespace,
        name: &name,
    };
    Crew {
        members: vec![("planner", names.planner()), ("fetchers", names.fetcher())],
        config_maps: names.scrape_config(),
        suspended: job.spec.suspend,
        auto_rollback: job.spec.rollout.auto_rollback,
        last_good: job.status().and_then(|status| status.last_good_revision.clone()),
        least: job.spec.scaling.min_replicas,
        autoscaled: job.spec.scaling.mode == ScalingMode::Auto,
    }
}
