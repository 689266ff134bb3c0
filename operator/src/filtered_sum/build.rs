//! What a valid FilteredSum should have. Pure, and cannot fail.

use std::collections::BTreeMap;

use super::{Children, Referred, ValidFilteredSum};
use crate::{
    kafka::TopicSpec,
    names::Names,
    settings::Settings,
    worker::{self, Worker},
};

/// Topics, the ConfigMap and the Deployment.
pub(super) fn build(settings: &Settings, sum: &ValidFilteredSum, referred: Referred) -> Children {
    let names = Names {
        namespace: &sum.parent.namespace,
        name: &sum.parent.name,
    };
    let document = serde_json::to_string_pretty(&sum.document).expect("its maps have text as keys");
    let workers = Worker {
        name: names.sum(),
        component: "sum",
        command: &["naru-filtered-sum"],
        config_map: names.sum(),
        document: &document,
        replicas: None,
    };
    Children {
        topics: topics(sum, referred),
        workers: worker::deployment(settings, &sum.parent, &workers),
        config_map: worker::config_map(&sum.parent, names.sum(), "sum", document),
    }
}

fn topics(sum: &ValidFilteredSum, referred: Referred) -> Vec<TopicSpec> {
    vec![
        // Totals are also the state that a worker restores: compacted soon and in small segments, so that reading
        // a partition from its start is quick. Partition p holds the totals of input partition p, whatever the
        // keys, so that partitions may be added.
        TopicSpec {
            name: sum.document.output_topic.clone(),
            partitions: referred.input_partitions,
            config: BTreeMap::from([
                ("cleanup.policy", "compact"),
                ("segment.ms", "600000"),
                ("segment.bytes", "16777216"),
                ("min.cleanable.dirty.ratio", "0.1"),
            ]),
            grow: true,
        },
        TopicSpec {
            name: sum.document.dead_letter_topic.clone(),
            partitions: 1,
            config: BTreeMap::new(),
            grow: false,
        },
    ]
}
