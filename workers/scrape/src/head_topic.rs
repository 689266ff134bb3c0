//! The head topic: where the planner of a job stands, and how far its fetchers have come.
//!
//! It is compacted and kept for ever, unlike the offsets of a group without members. The newest record of each key
//! counts. Whoever reads it waits until the transactions that are under way are over: those of all fetchers and of
//! the planner go through its one partition, and an open one hides what the others have committed behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use naru_contract::Frontier;
use naru_contract::ScrapeWorker;
use naru_worker_core::kafka::topic;
use naru_worker_core::kafka::transaction::Record;
use naru_worker_core::run::Context;
use rdkafka::Message;
use snafu::{OptionExt, Snafu};

use crate::frontier::{Position, Progress};

/// Bound on reading it. The transaction that a killed worker has left open is over by then.
const READ: Duration = Duration::from_secs(40);

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(transparent)]
    Topic { source: topic::Error },
    #[snafu(display(
        "the newest record of head topic {topic:?} with key {key:?} is not what naru writes there"
    ))]
    Foreign { topic: String, key: String },
}

/// The record that says where the planner stands.
pub(crate) fn position_record(frontier: &Frontier, position: Position) -> Record<'_> {
    record(frontier, planner_key(frontier), position.to_json())
}

/// The record that says how far `partition` of the frontier is worked off.
pub(crate) fn progress_record(frontier: &Frontier, partition: i32, progress: Progress) -> Record<'_> {
    record(
        frontier,
        partition_key(frontier, partition),
        progress.to_json().into_bytes(),
    )
}

/// Where the planner stands; `None` when it has never committed anything.
pub(crate) fn position(config: &ScrapeWorker, context: &Context) -> Result<Option<Position>, Error> {
    let newest = newest(config, context)?;
    let key = planner_key(&config.frontier);
    newest
        .get(&key)
        .map(|value| Position::parse(value).context(foreign(config, &key)))
        .transpose()
}

/// How far each of `partitions` is worked off; none for one that nothing was ever committed of.
pub(crate) fn progress(
    config: &ScrapeWorker,
    context: &Context,
    partitions: &[i32],
) -> Result<BTreeMap<i32, Progress>, Error> {
    let newest = newest(config, context)?;
    let mut found = BTreeMap::new();
    for partition in partitions {
        let key = partition_key(&config.frontier, *partition);
        if let Some(value) = newest.get(&key) {
            let progress = Progress::parse(value).context(foreign(config, &key))?;
            found.insert(*partition, progress);
        }
    }
    Ok(found)
}

fn planner_key(frontier: &Frontier) -> String {
    frontier.group.clone()
}

fn partition_key(frontier: &Frontier, partition: i32) -> String {
    format!("{}/{partition}", frontier.group)
}

fn record(frontier: &Frontier, key: String, value: Vec<u8>) -> Record<'_> {
    Record {
        topic: &frontier.head_topic,
        partition: Some(0),
        key: Some(key.into_bytes()),
        value: Some(value),
        headers: Vec::new(),
    }
}

fn newest(config: &ScrapeWorker, context: &Context) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut newest = BTreeMap::new();
    let topic = &config.frontier.head_topic;
    topic::read_settled(
        &config.kafka,
        topic,
        READ,
        || context.goes_on(),
        |message| {
            let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
            match message.payload() {
                Some(value) => newest.insert(key, value.to_vec()),
                None => newest.remove(&key),
            };
        },
    )?;
    Ok(newest)
}

fn foreign<'a>(config: &'a ScrapeWorker, key: &'a str) -> ForeignSnafu<&'a String, &'a str> {
    ForeignSnafu {
        topic: &config.frontier.head_topic,
        key,
    }
}
