//! The planner: finds the newest id and publishes what is new as ranges.
//!
//! Ranges and the planner's position are written in one transaction, so each id gets into exactly one range. A
//! second planner of the same job fences the first by its transactional id, and only then reads the position: what
//! the first one committed is all there, and what it was about to commit never will be.

mod cut;
mod head;

use std::cell::Cell;
use std::time::Duration;

use naru_contract::ScrapeWorker;
use naru_worker_core::backoff::Backoff;
use naru_worker_core::kafka::transaction::{self, Record, TransactionalProducer};
use naru_worker_core::run::{Context, chain};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tracing::{info, warn};

use crate::Error;
use crate::frontier::Position;
use crate::head_topic;
use crate::job::{self, PlanJob};
use crate::polite::{Part, Site};
use cut::plan;
use head::HeadError;

/// Longest pause between two looks after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Plans until the process is to stop.
pub fn run(config: &ScrapeWorker, context: &Context) -> Result<(), Error> {
    let job = PlanJob::new(config)?;
    let client = job::client(&config.politeness)?;
    let metrics = Metrics {
        next_id: context.metrics.register(
            "planner_next_id",
            "First id that is not in a range yet",
            Gauge::default(),
        ),
        planned: context
            .metrics
            .register("planner_planned_ids", "Ids put into ranges", Counter::default()),
        failures: context.metrics.register(
            "planner_head_failures",
            "Looks for the newest id that failed",
            Counter::default(),
        ),
    };
    // What a site has asked of us, such as to be left alone for a while, holds for the sessions after this one too.
    let robots = job.robots.clone();
    let site = Site::new(&config.politeness, client, robots, context.health.clone());
    // A planner that has never found an id may never find one: its head may be wrong.
    let has_found = Cell::new(false);
    context.sessions(|| {
        context
            .health
            .waiting_for("Kafka to take over from a planner before this one");
        let transactional_id = format!("{}.planner", config.frontier.group);
        let producer = TransactionalProducer::open_until(&config.kafka, &transactional_id, &context.drain)
            .map_err(Error::of_planner)?;
        let position = head_topic::position(config, context)?;
        info!(job = config.job, ?position, "planning");
        if has_found.get() {
            context.health.ready();
        } else {
            context.health.waiting_for("the first look for the newest id");
        }
        site.set_part(Part::Planner);
        let ended = Planner {
            config,
            context,
            job: &job,
            site: &site,
            metrics: &metrics,
            producer,
            position,
            has_found: &has_found,
        }
        .work();
        site.set_part(Part::Nothing);
        ended
    })
}

struct Metrics {
    next_id: Gauge,
    planned: Counter,
    failures: Counter,
}

struct Planner<'a> {
    config: &'a ScrapeWorker,
    context: &'a Context,
    job: &'a PlanJob,
    site: &'a Site,
    metrics: &'a Metrics,
    producer: TransactionalProducer,
    position: Option<Position>,
    has_found: &'a Cell<bool>,
}

impl Planner<'_> {
    fn work(mut self) -> Result<(), Error> {
        let every = Duration::from_millis(self.config.source.head.every_ms);
        let mut backoff = Backoff::new(Duration::from_secs(1), LONGEST_PAUSE);
        let mut last_failure = None;
        loop {
            // A polite look may take minutes. What it finds first shows already that there is something to be found.
            let seen = |newest| {
                if !self.has_found.get() && self.check(newest).is_ok() {
                    self.has_found.set(true);
                    self.context.health.ready();
                }
            };
            let found = self.context.wait_for(head::newest(self.site, self.job, seen));
            let pause = match found.map(|found| found.and_then(|newest| self.check(newest))) {
                Some(Ok(newest)) => {
                    backoff.reset();
                    if last_failure.take().is_some() {
                        info!(newest, "the head is found again");
                    }
                    self.publish(newest)?;
                    self.context.health.ready();
                    every
                }
                Some(Err(error)) => {
                    let failure = chain(&error);
                    self.metrics.failures.inc();
                    self.context
                        .health
                        .waiting_for(format!("the newest id: {failure}"));
                    if last_failure.as_ref() != Some(&failure) {
                        warn!(error = %failure, "unable to find the newest id");
                        last_failure = Some(failure);
                    }
                    backoff.next_delay().max(every.min(LONGEST_PAUSE))
                }
                None => return Ok(()),
            };
            if !self.context.pause(pause) {
                return Ok(());
            }
        }
    }

    fn check(&self, newest: u64) -> Result<u64, HeadError> {
        let (start, size) = (self.config.source.start, self.config.frontier.range_size);
        head::check(newest, cut::ranges(self.position, start, newest, size), self.job)
    }

    /// Everything up to `newest`, in as many transactions as it takes.
    fn publish(&mut self, newest: u64) -> Result<(), Error> {
        let config = self.config;
        let partitions = self.producer.partition_count(&config.frontier.topic)?;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        while !self.context.stop.is_cancelled() {
            self.context.health.beat();
            let size = config.frontier.range_size;
            let Some(plan) = plan(self.position, config.source.start, newest, size, partitions) else {
                break;
            };
            let ranges = plan.ranges.iter().map(|(partition, range)| Record {
                topic: &config.frontier.topic,
                partition: Some(*partition),
                key: None,
                value: Some(range.to_json()),
                headers: Vec::new(),
            });
            let position = head_topic::position_record(&config.frontier, plan.position);
            match self.producer.commit(ranges.chain([position]), None) {
                Ok(()) => {}
                Err(transaction::Error::Aborted { reason }) => {
                    warn!(%reason, "planning again");
                    if !self.context.pause(backoff.next_delay()) {
                        break;
                    }
                    continue;
                }
                Err(error) => return Err(Error::of_planner(error)),
            }
            let planned = plan
                .ranges
                .iter()
                .map(|(_, range)| range.to - range.from + 1)
                .sum();
            self.metrics.planned.inc_by(planned);
            self.metrics
                .next_id
                .set(i64::try_from(plan.position.next_id).unwrap_or(i64::MAX));
            info!(newest, ranges = plan.ranges.len(), ids = planned, "planned");
            self.position = Some(plan.position);
            if !plan.unfinished {
                break;
            }
        }
        Ok(())
    }
}
