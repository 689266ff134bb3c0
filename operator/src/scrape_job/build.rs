//! What a valid ScrapeJob should have. Pure, and cannot fail.

use std::collections::BTreeMap;

use super::{Children, ValidScrapeJob};
use crate::{
    kafka::TopicSpec,
    names::Names,
    settings::Settings,
    worker::{self, Worker},
};

/// Topics, the ConfigMap that both workers read, and their Deployments.
pub(super) fn build(settings: &Settings, job: &ValidScrapeJob) -> Children {
    let names = Names {
        namespace: &job.parent.namespace,
        name: &job.parent.name,
    };
    let document = serde_json::to_string_pretty(&job.document).expect("its maps have text as keys");
    let planner = Worker {
        name: names.planner(),
        component: "planner",
        command: &["naru-scrape", "plan"],
        config_map: names.scrape_config(),
        document: &document,
        replicas: Some(1),
    };
    let fetcher = Worker {
        name: names.fetcher(),
        component: "fetcher",
        command: &["naru-scrape", "fetch"],
        replicas: None,
        ..planner.clone()
    };
    Children {
        topics: topics(job),
        planner: worker::deployment(settings, &job.parent, &planner),
        fetcher: worker::deployment(settings, &job.parent, &fetcher),
        config_map: worker::config_map(&job.parent, names.scrape_config(), "scrape", document),
    }
}

fn topics(job: &ValidScrapeJob) -> Vec<TopicSpec> {
    let frontier = &job.document.frontier;
    let output = &job.document.output;
    vec![
        TopicSpec {
            name: output.topic.clone(),
            partitions: job.output_partitions,
            config: BTreeMap::new(),
            grow: false,
        },
        TopicSpec {
            name: output.dead_letter_topic.clone(),
            partitions: 1,
            config: BTreeMap::new(),
            grow: false,
        },
        // Ranges are small, and those that wait must not expire.
        TopicSpec {
            name: frontier.topic.clone(),
            partitions: job.frontier_partitions,
            config: BTreeMap::from([("retention.ms", "-1")]),
            grow: true,
        },
        // The planner's head and the fetchers' progress. Only the last record of each key counts: compacted soon and
        // in small segments, it is quick to read.
        TopicSpec {
            name: frontier.head_topic.clone(),
            partitions: 1,
            config: BTreeMap::from([("cleanup.policy", "compact"), ("segment.ms", "600000")]),
            grow: false,
        },
    ]
}
