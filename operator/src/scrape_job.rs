//! The controller of `ScrapeJob`: a planner, fetchers, and the topics between them.

mod build;
#[cfg(test)]
mod tests;
mod validate;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{core::object::HasStatus, runtime::controller::Action};
use naru_api::{ScrapeJob, ScrapeJobStatus, condition::reason};

pub use self::validate::{ValidScrapeJob, most_fetchers, validate};
use crate::{
    controller::{
        Context, Error, apply, report,
        status::{self, Conditions, Readiness},
    },
    endpoint::Freshness,
    kafka::TopicSpec,
    worker::{ready_replicas, replicas},
};

pub const KIND: &str = "ScrapeJob";

/// What a ScrapeJob should have.
#[derive(Debug)]
pub struct Children {
    pub topics: Vec<TopicSpec>,
    pub config_map: ConfigMap,
    pub planner: Deployment,
    pub fetcher: Deployment,
}

/// What it has after a pass.
struct Applied {
    planner: Deployment,
    fetcher: Deployment,
}

/// One pass over a ScrapeJob.
pub async fn reconcile(job: Arc<ScrapeJob>, context: Arc<Context>) -> Result<Action, Error> {
    let outcome = converge(&job, &context).await;
    write_status(&job, &context, outcome.as_ref()).await?;
    outcome.map(|_| report::succeeded(&context, KIND, &*job, context.settings.resync))
}

async fn converge(job: &ScrapeJob, context: &Context) -> Result<Applied, Error> {
    let valid = validate(&context.settings, job)?;
    let freshness = Freshness::of(
        job.metadata.generation,
        job.status().and_then(|status| status.observed_generation),
    );
    dereference(context, &valid, freshness).await?;
    let children = build::build(&context.settings, &valid);
    apply(context, &valid, &children, freshness).await
}

/// A ScrapeJob refers to a registry and to topics, which `apply` creates where they are missing.
async fn dereference(context: &Context, job: &ValidScrapeJob, freshness: Freshness) -> Result<(), Error> {
    context.registries.get(&job.registry_url).check(freshness).await
}

async fn apply(
    context: &Context,
    job: &ValidScrapeJob,
    children: &Children,
    freshness: Freshness,
) -> Result<Applied, Error> {
    let kafka = context.kafka.get(&job.bootstrap_servers)?;
    for topic in &children.topics {
        kafka.ensure(topic, freshness).await?;
    }
    let namespace = &job.parent.namespace;
    apply::apply(&context.client, namespace, &children.config_map).await?;
    Ok(Applied {
        planner: apply::apply(&context.client, namespace, &children.planner).await?,
        fetcher: apply::apply(&context.client, namespace, &children.fetcher).await?,
    })
}

async fn write_status(
    job: &ScrapeJob,
    context: &Context,
    outcome: Result<&Applied, &Error>,
) -> Result<(), Error> {
    let before = job.status().cloned().unwrap_or_default();
    let generation = job.metadata.generation;
    let ready = outcome.map(readiness);
    let conditions = status::conditions(
        before.conditions(),
        ready.as_ref().map_err(|e| *e),
        generation,
        Timestamp::now(),
    );
    let status = ScrapeJobStatus {
        observed_generation: generation,
        conditions,
        replicas: outcome.map_or(before.replicas, |applied| Some(replicas(&applied.fetcher))),
        max_replicas: outcome.map_or(before.max_replicas, |_| Some(most_fetchers(&job.spec))),
        ..before
    };
    status::write(context, job, &status).await
}

/// How far the workers are. Pure.
fn readiness(applied: &Applied) -> Readiness {
    let planners = ready_replicas(&applied.planner);
    let (fetchers, wanted) = (ready_replicas(&applied.fetcher), replicas(&applied.fetcher));
    let message = format!("planner {planners} of 1 ready, fetchers {fetchers} of {wanted} ready");
    if planners < 1 || fetchers < wanted {
        Readiness {
            ready: false,
            reason: reason::STARTING,
            message,
        }
    } else if wanted == 0 {
        Readiness {
            ready: true,
            reason: reason::IDLE,
            message,
        }
    } else {
        Readiness {
            ready: true,
            reason: reason::RUNNING,
            message,
        }
    }
}
