//! The fetcher: takes ranges of ids from the frontier and publishes what became of each.
//!
//! One thread owns the group membership, the ledger and the producer; it never waits for a page. The pages of a range
//! are fetched by a task on the tokio runtime, several at a time, and handed over in order through a bounded
//! channel. While a range is worked on, its partition is paused. What is settled is committed together with how far
//! the partition is worked off then ([`Progress`](crate::frontier::Progress)): beside the offset, which is the
//! range's own until all of it is settled, and in the head topic, where whoever finds no offset looks it up.

mod answer;
mod budget;
mod charset;
mod ledger;
mod metrics;
mod outcome;
mod retry;
mod robots;
mod share;
mod site;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use naru_contract::ScrapeWorker;
use naru_worker_core::avro::registry::{self, Registry};
use naru_worker_core::kafka::consumer::{self, GroupConsumer};
use naru_worker_core::kafka::transaction::{self, TransactionalProducer};
use naru_worker_core::run::{Context, Session};
use reqwest::Client;
use snafu::Snafu;
use tracing::info;

use crate::head_topic;
use crate::job::{self, FetchJob, JobError};
use metrics::Metrics;
use site::Site;
use work::Fetcher;

/// Why a fetcher stopped working.
#[derive(Debug, Snafu)]
pub enum FetchError {
    #[snafu(transparent)]
    Job { source: JobError },
    #[snafu(transparent)]
    Registry { source: registry::Error },
    #[snafu(transparent)]
    Consumer { source: consumer::Error },
    #[snafu(transparent)]
    Transaction { source: transaction::Error },
    #[snafu(transparent)]
    Head { source: head_topic::Error },
}

impl Session for FetchError {
    /// Only a spec that cannot work is. An incompatible schema is mended in the registry, and a process that ended
    /// would only be started again. A place in the group or a transactional id that was taken has this instance's
    /// own name: after an outage of a broker it may well be that this very process is its own twin.
    fn is_final(&self) -> bool {
        matches!(self, Self::Job { .. })
    }
}

/// Fetches until the process is to stop.
pub fn run(config: &ScrapeWorker, context: &Context) -> Result<(), FetchError> {
    let job = Arc::new(FetchJob::new(config)?);
    let client = job::client(&config.politeness)?;
    let registry = Registry::new(&config.registry)?;
    let metrics = Metrics::new(&context.metrics);
    context.sessions(|| session(config, context, &job, &client, &registry, &metrics))
}

fn session(
    config: &ScrapeWorker,
    context: &Context,
    job: &Arc<FetchJob>,
    client: &Client,
    registry: &Registry,
    metrics: &Metrics,
) -> Result<(), FetchError> {
    context.health.beat();
    context
        .health
        .waiting_for("the schema registry to accept the record's schema");
    let subject = format!("{}-value", config.output.topic);
    let schema_id = context
        .runtime
        .block_on(registry.register(&subject, job.schema.json()))?;
    context.health.beat();
    context
        .health
        .waiting_for("Kafka to assign partitions of the frontier");
    let frontier = &config.frontier;
    let transactional_id = format!("{}.{}", frontier.group, context.instance);
    let producer = TransactionalProducer::open(&config.kafka, &transactional_id)?;
    let consumer = GroupConsumer::join(&config.kafka, &frontier.group, &context.instance, &frontier.topic)?;
    let manners = (&config.politeness, &config.retry);
    let site = Site::new(
        Arc::clone(job),
        schema_id,
        client.clone(),
        manners,
        context.health.clone(),
        metrics.clone(),
    );
    let mut fetcher = Fetcher::new(config, context, Arc::new(site), metrics.clone(), producer);
    fetcher.work(&consumer)?;
    let started = Instant::now();
    consumer.leave(Duration::from_secs(5));
    info!(took = ?started.elapsed(), "left the group");
    Ok(())
}
