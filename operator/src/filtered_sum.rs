//! The controller of `FilteredSum`: workers, and the topic of their totals.

mod build;
mod fields;
#[cfg(test)]
mod tests;
mod validate;

use std::sync::Arc;

use kube::{ResourceExt, core::object::HasStatus, runtime::controller::Action};
use naru_api::{FilteredSum, condition::reason};

pub use self::validate::{ValidFilteredSum, validate};
use crate::{
    controller::{Context, Error},
    endpoint::Freshness,
    names::Names,
    worker::{Crew, Pass},
};

pub const KIND: &str = "FilteredSum";

/// What a FilteredSum refers to.
#[derive(Clone, Copy, Debug)]
pub struct Referred {
    pub input_partitions: i32,
}

/// One pass over a FilteredSum.
pub async fn reconcile(sum: Arc<FilteredSum>, context: Arc<Context>) -> Result<Action, Error> {
    let mut pass = Pass::begin(&context, KIND, &*sum, crew(&sum)).await?;
    let mut referred = None;
    let outcome = converge(&sum, &context, &mut pass, &mut referred).await;
    pass.end(outcome, |status, workers| {
        status.replicas = workers.or(status.replicas);
        if let Some(Referred { input_partitions }) = referred {
            status.max_replicas = Some(sum.spec.scaling.max_replicas.min(input_partitions));
        }
        &mut status.last_good_revision
    })
    .await
}

async fn converge(
    sum: &FilteredSum,
    context: &Context,
    pass: &mut Pass<'_, FilteredSum>,
    found: &mut Option<Referred>,
) -> Result<(), Error> {
    let valid = validate(&context.settings, sum);
    if sum.spec.suspend {
        pass.suspend().await?;
        return valid.map(drop);
    }
    let valid = valid?;
    let workers = build::build(&context.settings, &valid);
    pass.declare(&workers);
    let freshness = Freshness::of(
        sum.metadata.generation,
        sum.status().and_then(|status| status.observed_generation),
    );
    let referred = dereference(context, &valid, freshness).await?;
    create_topics(context, &valid, referred, freshness).await?;
    pass.apply(&workers).await?;
    *found = Some(referred);
    Ok(())
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

async fn create_topics(
    context: &Context,
    sum: &ValidFilteredSum,
    referred: Referred,
    freshness: Freshness,
) -> Result<(), Error> {
    let kafka = context.kafka.get(&sum.document.kafka.bootstrap_servers)?;
    for topic in build::topics(sum, referred) {
        let partitions = kafka.ensure(&topic, freshness).await?.partitions;
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
    Ok(())
}

/// The workers, which are scaled.
fn crew(sum: &FilteredSum) -> Crew {
    let (namespace, name) = (sum.namespace().unwrap_or_default(), sum.name_any());
    let names = Names {
        namespace: &namespace,
        name: &name,
    };
    Crew {
        members: vec![("workers", names.sum())],
        config_maps: names.sum(),
        suspended: sum.spec.suspend,
        auto_rollback: sum.spec.rollout.auto_rollback,
        last_good: sum.status().and_then(|status| status.last_good_revision.clone()),
    }
}
