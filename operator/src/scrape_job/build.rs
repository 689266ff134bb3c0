//! What a valid ScrapeJob should have. Pure, and cannot fail.

use std::{collections::BTreeMap, time::Duration};

use naru_contract::Politeness;

use super::ValidScrapeJob;
use crate::{
    kafka::TopicSpec,
    settings::Settings,
    worker::{Declared, Revision, Worker},
};

/// The planner and the fetchers, which read the same document.
pub fn build(settings: &Settings, job: &ValidScrapeJob) -> Revision {
    let names = job.names();
    let document = serde_json::to_string_pretty(&job.document).expect("its maps have text as keys");
    let planner = Worker {
        name: names.planner(),
        component: "planner",
        command: &["naru-scrape", "plan"],
        replicas: Some(1),
        patience: first_look(&job.document.politeness),
    };
    let fetcher = Worker {
        name: names.fetcher(),
        component: "fetcher",
        command: &["naru-scrape", "fetch"],
        replicas: None,
        patience: Duration::ZERO,
    };
    let declared = Declared {
        parent: &job.parent,
        config_maps: names.scrape_config(),
        component: "scrape",
        document,
        rollout: &job.rollout,
        workers: vec![planner, fetcher],
    };
    Revision::of(settings, &declared)
}

/// How long a planner may take to find an id for the first time, at its tenth of the rate. What robots.txt asks for between
/// two requests is not known here.
fn first_look(politeness: &Politeness) -> Duration {
    // robots.txt, an index, a sitemap, and one that is tried again.
    const REQUESTS: f64 = 4.0;
    let seconds = REQUESTS / (politeness.max_requests_per_second * 0.1);
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// The topics that are its own.
pub fn topics(job: &ValidScrapeJob) -> Vec<TopicSpec> {
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
