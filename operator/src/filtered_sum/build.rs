//! What a valid FilteredSum should have. Pure, and cannot fail.

use std::{collections::BTreeMap, time::Duration};

use super::{Referred, ValidFilteredSum};
use crate::{
    kafka::TopicSpec,
    settings::Settings,
    worker::{Declared, Revision, Worker},
};

/// The workers.
pub fn build(settings: &Settings, sum: &ValidFilteredSum) -> Revision {
    let names = sum.names();
    let document = serde_json::to_string_pretty(&sum.document).expect("its maps have text as keys");
    let workers = Worker {
        name: names.sum(),
        component: "sum",
        command: &["naru-filtered-sum"],
        replicas: None,
        patience: Duration::ZERO,
    };
    let declared = Declared {
        parent: &sum.parent,
        config_maps: names.sum(),
        component: "sum",
        document,
        rollout: &sum.rollout,
        workers: vec![workers],
    };
    Revision::of(settings, &declared)
}

/// The topics that the workers write to, which follow the input's partitions.
pub fn topics(sum: &ValidFilteredSum, referred: Referred) -> Vec<TopicSpec> {
    let document = &sum.document;
    // Totals are also the state that a worker restores: compacted soon and in small segments, so that reading
    // a partition from its start is quick. Partition p holds the totals of input partition p, whatever the
    // keys, so that partitions may be added. So it is with what each key adds.
    let state = |name: &String| TopicSpec {
        name: name.clone(),
        partitions: referred.input_partitions,
        config: BTreeMap::from([
            ("cleanup.policy", "compact"),
            ("segment.ms", "600000"),
            ("segment.bytes", "16777216"),
            ("min.cleanable.dirty.ratio", "0.1"),
        ]),
        grow: true,
    };
    let dead_letters = TopicSpec {
        name: document.dead_letter_topic.clone(),
        partitions: 1,
        config: BTreeMap::new(),
        grow: false,
    };
    let states = [&document.output_topic].into_iter().chain(&document.keys_topic);
    states.map(state).chain([dead_letters]).collect()
}
