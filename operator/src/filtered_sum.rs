//! The controller of `FilteredSum`: workers, and the topic of their totals.

pub mod build;
mod computation;
mod fields;
#[cfg(test)]
mod tests;
mod validate;

use std::{ops::ControlFlow, sync::Arc};

use kube::{ResourceExt, core::object::HasStatus, runtime::controller::Action};
use naru_api::{FilteredSum, ScalingMode, condition::reason};

pub use self::validate::{ValidFilteredSum, validate};
use crate::{
    controller::{Context, Error},
    deletion::Outside,
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
    let sum = computation::settle(sum, &context).await?;
    let (policy, outside) = (sum.spec.deletion_policy, outside(&sum, &context));
    let mut pass = match Pass::begin(&context, KIND, &*sum, crew(&sum), policy, outside).await? {
        ControlFlow::Continue(pass) => pass,
        ControlFlow::Break(action) => return Ok(action),
    };
    let outcome = converge(&sum, &context, &mut pass).await;
    pass.end(outcome).await
}

async fn converge(
    sum: &FilteredSum,
    context: &Context,
    pass: &mut Pass<'_, FilteredSum>,
) -> Result<(), Error> {
    let valid = validate(&context.settings, sum);
    if sum.spec.suspend {
        // Kafka, which knows of a further bound, is not asked.
        pass.limit(sum.spec.scaling.most_replicas());
        pass.suspend().await?;
        return valid.map(drop);
    }
    let valid = valid?;
    pass.computes(valid.computation.clone());
    let depends = depend(sum, context, pass, &valid).await;
    pass.run(depends, || build::build(&context.settings, &valid))
        .await
}

/// Looks at what it needs outside Kubernetes, and makes what is missing and its own.
async fn depend(
    sum: &FilteredSum,
    context: &Context,
    pass: &mut Pass<'_, FilteredSum>,
    valid: &ValidFilteredSum,
) -> Result<(), Error> {
    let freshness = Freshness::of(
        sum.metadata.generation,
        sum.status().and_then(|status| status.observed_generation),
    );
    let referred = dereference(context, valid, freshness).await?;
    let kafka = context.kafka.get(&valid.document.kafka.bootstrap_servers)?;
    for topic in build::topics(valid, referred) {
        let partitions = pass.ensure(&kafka, &topic, freshness).await?;
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
    pass.limit(sum.spec.scaling.most_replicas().min(referred.input_partitions));
    Ok(())
}

async fn dereference(
    context: &Context,
    sum: &ValidFilteredSum,
    freshness: Freshness,
) -> Result<Referred, Error> {
    let topic = &sum.document.input_topic;
    let registry = context.registries.get(&sum.document.registry.url);
    let mut schema = registry.value_schema(topic, freshness).await?;
    if schema
        .as_ref()
        .is_some_and(|known| fields::check(sum, known).is_err())
    {
        // A new field may have come since. Nothing is refused for what was true a minute ago.
        schema = registry.value_schema(topic, Freshness::now()).await?;
    }
    // Before the first record there is none, and nothing to compare.
    if let Some(schema) = schema {
        fields::check(sum, &schema)?;
    }
    match context
        .kafka
        .get(&sum.document.kafka.bootstrap_servers)?
        .sought(topic, freshness)
        .await?
    {
        Some(input_partitions) => Ok(Referred { input_partitions }),
        None => Err(Error::dependency(
            reason::TOPIC_MISSING,
            format!("input.topic: there is no topic {topic:?} yet"),
        )),
    }
}

/// What it has outside Kubernetes.
fn outside(sum: &FilteredSum, context: &Context) -> Outside {
    let (namespace, name) = (sum.namespace().unwrap_or_default(), sum.name_any());
    let names = Names {
        namespace: &namespace,
        name: &name,
    };
    let own = sum.spec.kafka.as_ref().map(|kafka| &kafka.bootstrap_servers);
    Outside {
        deployments: vec![names.sum()],
        bootstrap_servers: context.settings.bootstrap_servers(own).ok(),
        group: names.sum_group(),
        topics: sum
            .status()
            .map(|status| status.created_topics.clone())
            .unwrap_or_default(),
        namespace: namespace.clone(),
    }
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
        least: sum.spec.scaling.min_replicas,
        autoscaled: sum.spec.scaling.mode == ScalingMode::Auto,
    }
}
