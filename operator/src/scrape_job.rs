//! The controller of `ScrapeJob`: a planner, fetchers, and the topics between them.

mod build;
#[cfg(test)]
mod tests;
mod validate;

use std::sync::Arc;

use kube::{ResourceExt, core::object::HasStatus, runtime::controller::Action};
use naru_api::ScrapeJob;

pub use self::validate::{ValidScrapeJob, most_fetchers, validate};
use crate::{
    controller::{Context, Error},
    endpoint::Freshness,
    kafka::TopicSpec,
    names::Names,
    worker::{Crew, Pass, Revision},
};

pub const KIND: &str = "ScrapeJob";

/// What a ScrapeJob should have.
#[derive(Debug)]
pub struct Children {
    pub topics: Vec<TopicSpec>,
    pub workers: Revision,
}

/// One pass over a ScrapeJob.
pub async fn reconcile(job: Arc<ScrapeJob>, context: Arc<Context>) -> Result<Action, Error> {
    let mut pass = Pass::begin(&context, KIND, &*job, crew(&job)).await?;
    let outcome = converge(&job, &context, &mut pass).await;
    let reached = outcome.is_ok();
    pass.end(outcome, |status, fetchers| {
        status.replicas = fetchers.or(status.replicas);
        if reached {
            status.max_replicas = Some(most_fetchers(&job.spec));
        }
        &mut status.last_good_revision
    })
    .await
}

async fn converge(job: &ScrapeJob, context: &Context, pass: &mut Pass<'_, ScrapeJob>) -> Result<(), Error> {
    let valid = validate(&context.settings, job);
    if job.spec.suspend {
        pass.suspend().await?;
        return valid.map(drop);
    }
    let valid = valid?;
    let children = build::build(&context.settings, &valid);
    pass.declare(&children.workers);
    let freshness = Freshness::of(
        job.metadata.generation,
        job.status().and_then(|status| status.observed_generation),
    );
    dereference(context, &valid, freshness).await?;
    create_topics(context, &valid, &children.topics, freshness).await?;
    pass.apply(&children.workers).await
}

/// A ScrapeJob refers to a registry.
async fn dereference(context: &Context, job: &ValidScrapeJob, freshness: Freshness) -> Result<(), Error> {
    context.registries.get(&job.registry_url).check(freshness).await
}

async fn create_topics(
    context: &Context,
    job: &ValidScrapeJob,
    topics: &[TopicSpec],
    freshness: Freshness,
) -> Result<(), Error> {
    let kafka = context.kafka.get(&job.bootstrap_servers)?;
    for topic in topics {
        kafka.ensure(topic, freshness).await?;
    }
    Ok(())
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
    }
}
