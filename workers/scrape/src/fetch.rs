//! The fetcher: takes ranges of ids from the frontier and publishes what became of each.
//!
//! One thread owns the group membership, the ledger and the producer; it never waits for a page. The pages of a range
//! are fetched by a task on the tokio runtime, several at a time, and handed over in order through a bounded
//! channel. While a range is worked on, its partition is paused. What is settled is committed together with how far
//! the partition is worked off then ([`Progress`](crate::frontier::Progress)): beside the offset, which is the
//! range's own until all of it is settled, and in the head topic, where whoever finds no offset looks it up.

mod answer;
mod charset;
mod ledger;
mod metrics;
mod outcome;
mod site;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use naru_contract::ScrapeWorker;
use naru_worker_core::avro::registry::Registry;
use naru_worker_core::kafka::consumer::GroupConsumer;
use naru_worker_core::kafka::transaction::TransactionalProducer;
use naru_worker_core::run::Context;
use tracing::info;

use crate::Error;
use crate::job::{self, FetchJob};
use crate::polite::{self, Part};
pub(crate) use answer::{Meaning, meaning};
use metrics::Metrics;
use site::Pages;
use work::Fetcher;

/// Fetches until the process is to stop.
pub fn run(config: &ScrapeWorker, context: &Context) -> Result<(), Error> {
    let job = Arc::new(FetchJob::new(config)?);
    let client = job::client(&config.politeness)?;
    let registry = Registry::new(&config.registry)?;
    let metrics = Metrics::new(&context.metrics);
    // What a site has asked of us, such as to be left alone for a while, holds for the sessions after this one too.
    let robots = job.template.site("/robots.txt");
    let site = Arc::new(polite::Site::new(
        &config.politeness,
        client,
        robots,
        context.health.clone(),
    ));
    context.sessions(|| {
        let ended = session(config, context, &job, &site, &registry, &metrics);
        // Its partitions are somebody else's.
        site.set_part(Part::Nothing);
        ended
    })
}

fn session(
    config: &ScrapeWorker,
    context: &Context,
    job: &Arc<FetchJob>,
    site: &Arc<polite::Site>,
    registry: &Registry,
    metrics: &Metrics,
) -> Result<(), Error> {
    context.health.beat();
    context
        .health
        .waiting_for("the schema registry to accept the record's schema");
    let subject = format!("{}-value", config.output.topic);
    let Some(schema_id) = context.wait_for(registry.register(&subject, job.schema.json())) else {
        return Ok(());
    };
    let schema_id = schema_id?;
    context
        .health
        .waiting_for("Kafka to assign partitions of the frontier");
    let frontier = &config.frontier;
    let transactional_id = format!("{}.{}", frontier.group, context.instance);
    let producer = TransactionalProducer::open_until(&config.kafka, &transactional_id, &context.drain)?;
    let consumer = GroupConsumer::join(&config.kafka, &frontier.group, &context.instance, &frontier.topic)?
        .until(&context.drain)
        // A range keeps its partition busy for a while, and what comes meanwhile is kept in memory.
        .at_once(1);
    let retry = config.retry.clone();
    let site = Pages::new(
        Arc::clone(job),
        schema_id,
        Arc::clone(site),
        retry,
        metrics.clone(),
    );
    let mut fetcher = Fetcher::new(config, context, Arc::new(site), metrics.clone(), producer);
    fetcher.work(&consumer)?;
    let started = Instant::now();
    consumer.leave(Duration::from_secs(5));
    info!(took = ?started.elapsed(), "left the group");
    Ok(())
}
