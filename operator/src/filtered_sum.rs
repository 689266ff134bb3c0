//! The controller of `FilteredSum`: workers, and the topic of their totals.

mod build;
mod fields;
mod validate;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{core::object::HasStatus, runtime::controller::Action};
use naru_api::{FilteredSum, FilteredSumStatus, condition::reason};

pub use self::validate::{ValidFilteredSum, validate};
use crate::{
    controller::{
        Context, Error, apply, report,
        status::{self, Conditions, Readiness},
    },
    endpoint::Freshness,
    kafka::TopicSpec,
    worker::{ready_replicas, replicas},
};

pub const KIND: &str = "FilteredSum";

/// What a FilteredSum refers to.
#[derive(Clone, Copy, Debug)]
pub struct Referred {
    pub input_partitions: i32,
}

/// What a FilteredSum should have.
#[derive(Debug)]
pub struct Children {
    pub topics: Vec<TopicSpec>,
    pub config_map: ConfigMap,
    pub workers: Deployment,
}

/// What it has after a pass.
struct Applied {
    workers: Deployment,
    input_partitions: i32,
}

/// One pass over a FilteredSum.
pub async fn reconcile(sum: Arc<FilteredSum>, context: Arc<Context>) -> Result<Action, Error> {
    let outcome = converge(&sum, &context).await;
    write_status(&sum, &context, outcome.as_ref()).await?;
    outcome.map(|_| report::succeeded(&context, KIND, &*sum, context.settings.resync))
}

async fn converge(sum: &FilteredSum, context: &Context) -> Result<Applied, Error> {
    let valid = validate(&context.settings, sum)?;
    let freshness = Freshness::of(
        sum.metadata.generation,
        sum.status().and_then(|status| status.observed_generation),
    );
    let referred = dereference(context, &valid, freshness).await?;
    let children = build::build(&context.settings, &valid, referred);
    apply(context, &valid, referred, &children, freshness).await
}

async fn dereference(
    context: &Context,
    sum: &ValidFilteredSum,
    freshness: Freshness,
) -> Result<Referred, Error> {
    let topic = &sum.document.input_topic;
    let registry = context.registries.get(&sum.document.registry.url);
    let schema = registry.value_schema(topic, freshness).await?;
    // Before the first record there is none, and nothing to compare.
    if let Some(schema) = schema {
        fields::check(sum, &schema)?;
    }
    match context
        .kafka
        .get(&sum.document.kafka.bootstrap_servers)?
        .partitions(topic, freshness)
        .await?
    {
        Some(input_partitions) => Ok(Referred { input_partitions }),
        None => Err(Error::dependency(
            reason::TOPIC_MISSING,
            format!("input.topic: there is no topic {topic:?} yet"),
        )),
    }
}

async fn apply(
    context: &Context,
    sum: &ValidFilteredSum,
    referred: Referred,
    children: &Children,
    freshness: Freshness,
) -> Result<Applied, Error> {
    let kafka = context.kafka.get(&sum.document.kafka.bootstrap_servers)?;
    for topic in &children.topics {
        let partitions = kafka.ensure(topic, freshness).await?.partitions;
        if partitions < topic.partitions {
            return Err(Error::dependency(
                reason::TOPIC_TOO_SMALL,
                format!(
                    "topic {:?} has {partitions} partitions and needs {}",
                    topic.name, topic.partitions
                ),
            ));
        }
    }
    let namespace = &sum.parent.namespace;
    apply::apply(&context.client, namespace, &children.config_map).await?;
    let workers = apply::apply(&context.client, namespace, &children.workers).await?;
    Ok(Applied {
        workers,
        input_partitions: referred.input_partitions,
    })
}

async fn write_status(
    sum: &FilteredSum,
    context: &Context,
    outcome: Result<&Applied, &Error>,
) -> Result<(), Error> {
    let before = sum.status().cloned().unwrap_or_default();
    let generation = sum.metadata.generation;
    let ready = outcome.map(readiness);
    let conditions = status::conditions(
        before.conditions(),
        ready.as_ref().map_err(|e| *e),
        generation,
        Timestamp::now(),
    );
    let most = sum.spec.scaling.max_replicas;
    let status = FilteredSumStatus {
        observed_generation: generation,
        conditions,
        replicas: outcome.map_or(before.replicas, |applied| Some(replicas(&applied.workers))),
        max_replicas: outcome.map_or(before.max_replicas, |applied| {
            Some(most.min(applied.input_partitions))
        }),
        ..before
    };
    status::write(context, sum, &status).await
}

/// How far the workers are. Pure.
fn readiness(applied: &Applied) -> Readiness {
    let (ready, wanted) = (ready_replicas(&applied.workers), replicas(&applied.workers));
    let message = format!("workers {ready} of {wanted} ready");
    match wanted {
        _ if ready < wanted => Readiness {
            ready: false,
            reason: reason::STARTING,
            message,
        },
        0 => Readiness {
            ready: true,
            reason: reason::IDLE,
            message,
        },
        _ => Readiness {
            ready: true,
            reason: reason::RUNNING,
            message,
        },
    }
}
