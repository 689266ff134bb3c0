//! What can be wrong with a FilteredSum that a schema cannot see. Pure: no client.

use std::collections::BTreeSet;

use naru_api::{Computation, Delivery, FilteredSum, FilteredSumSpec, OnError, Reset, Rollout, Window};
use naru_contract as contract;
use naru_rules::filter;

use super::computation;
use crate::{autoscale::times, controller::Error, names::Names, settings::Settings, worker::Parent};

/// A FilteredSum that can work.
#[derive(Clone, Debug)]
pub struct ValidFilteredSum {
    pub parent: Parent,
    pub rollout: Rollout,
    /// Fields that the filter refers to.
    pub filter_fields: BTreeSet<String>,
    pub computation: Computation,
    /// What the workers are told.
    pub document: contract::FilteredSumWorker,
}

impl ValidFilteredSum {
    /// What its topics and workers are called.
    pub fn names(&self) -> Names<'_> {
        Names {
            namespace: &self.parent.namespace,
            name: &self.parent.name,
        }
    }
}

/// Compiles the filter and fills in the defaults.
pub fn validate(settings: &Settings, sum: &FilteredSum) -> Result<ValidFilteredSum, Error> {
    let spec = &sum.spec;
    let parent = Parent::of(sum);
    let names = Names {
        namespace: &parent.namespace,
        name: &parent.name,
    };
    let filter_fields = match &spec.filter {
        None => BTreeSet::new(),
        Some(expression) => {
            let filter =
                filter::compile(expression).map_err(|error| Error::invalid(format!("filter: {error}")))?;
            filter.fields().clone()
        }
    };
    let dead_letter_topic = names.sum_dead_letter_topic();
    if spec.input.topic == dead_letter_topic {
        return Err(Error::invalid(format!(
            "input.topic: {dead_letter_topic:?} takes what this FilteredSum cannot read, and must not be its input"
        )));
    }
    let keys_topic = spec.sum.retract.then(|| format!("{}-keys", spec.output.topic));
    if keys_topic.as_ref() == Some(&spec.input.topic) {
        return Err(Error::invalid(format!(
            "input.topic: {:?} is where this FilteredSum keeps what each key adds (output.topic and -keys), and must not be its input",
            spec.input.topic
        )));
    }
    let is_fenced = spec.delivery == Delivery::ExactlyOnce;
    if spec.reset.is_some() && !is_fenced {
        return Err(Error::invalid(FilteredSumSpec::RESET_IS_FENCED));
    }
    if let Some(window) = &spec.sum.window {
        if spec.sum.retract {
            return Err(Error::invalid(FilteredSumSpec::WINDOWS_ARE_KEPT));
        }
        check_window(window, is_fenced)?;
    }
    if spec.sum.retract && !is_fenced {
        return Err(Error::invalid(FilteredSumSpec::RETRACT_IS_FENCED));
    }
    times::check(&spec.scaling)?;
    let computation = computation::of(sum)?;
    let kafka = spec.kafka.as_ref().map(|kafka| &kafka.bootstrap_servers);
    let registry = spec.registry.as_ref().map(|registry| &registry.url);
    let document = contract::FilteredSumWorker {
        name: format!("{}/{}", parent.namespace, parent.name),
        kafka: contract::Kafka {
            bootstrap_servers: settings.bootstrap_servers(kafka)?,
            properties: Default::default(),
        },
        registry: contract::Registry {
            url: settings.registry_url(registry)?,
        },
        group: names.sum_group(),
        input_topic: spec.input.topic.clone(),
        filter: spec.filter.clone(),
        field: spec.sum.field.clone(),
        scale: spec.sum.scale,
        round_floats: spec.sum.round_floats,
        group_by: spec.sum.group_by.clone(),
        window: spec.sum.window.as_ref().map(|window| contract::Window {
            size_ms: window.size.as_millis(),
            time: window.time.clone(),
            grace_ms: window.grace.as_millis(),
            retention_ms: window.retention.as_millis(),
        }),
        output_topic: spec.output.topic.clone(),
        keys_topic,
        dead_letter_topic,
        commit_interval_ms: spec.commit_interval.as_millis(),
        computation: computation::number(sum, &computation),
        // Workers that write upserts leave totals of other rules alone, also if those that could replace them are not done.
        reset: is_fenced
            .then_some(computation.reset)
            .flatten()
            .map(|reset| match reset {
                Reset::FromEarliest => contract::Reset::FromEarliest,
                Reset::Continue => contract::Reset::Continue,
            }),
        delivery: match spec.delivery {
            Delivery::ExactlyOnce => contract::Delivery::ExactlyOnce,
            Delivery::IdempotentUpsert => contract::Delivery::IdempotentUpsert,
        },
        on_error: match spec.on_error {
            OnError::DeadLetter => contract::OnError::DeadLetter,
            OnError::Stop => contract::OnError::Stop,
        },
    };
    Ok(ValidFilteredSum {
        rollout: spec.rollout.clone(),
        parent,
        filter_fields,
        computation,
        document,
    })
}

/// What the API server says too, where its rules are there, and what they cannot reckon.
fn check_window(window: &Window, is_fenced: bool) -> Result<(), Error> {
    if !is_fenced {
        return Err(Error::invalid(FilteredSumSpec::WINDOWS_ARE_FENCED));
    }
    let size = window.size.as_millis();
    if size == 0 || !size.is_multiple_of(1000) {
        return Err(Error::invalid(format!(
            "sum.window.size: is {size} ms, expected whole seconds"
        )));
    }
    if window.time.is_some() && window.retention.as_millis() < Window::AHEAD {
        return Err(Error::invalid(format!(
            "sum.window.retention: {}",
            Window::TIMES_MAY_BE_AHEAD
        )));
    }
    let (count, most) = (window.at_a_time(), Window::MOST);
    if count > most {
        return Err(Error::invalid(format!(
            "sum.window: size, grace and retention make {count} windows at a time, expected at most {most}, since each has a \
             total of each group in the output topic and in the memory of a worker: make retention shorter or size longer"
        )));
    }
    Ok(())
}
