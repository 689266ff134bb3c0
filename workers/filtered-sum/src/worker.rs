//! The thread of a filtered-sum worker: what it does with each event of its consumer group.

mod again;
mod busy;
mod catching_up;
mod commit;
mod error;
mod idle;
mod keys;
mod report;
mod schemas;
mod starved;
mod stopped;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use naru_contract::{FilteredSumWorker, OnError};
use naru_worker_core::avro::registry::Registry;
use naru_worker_core::backoff::Backoff;
use naru_worker_core::kafka::consumer::{Assigned, Event, GroupConsumer, Message, Revoked};
use naru_worker_core::run::{Context, chain};
use snafu::OptionExt;
use tracing::{debug, info};

use self::busy::Busy;
pub use self::error::Error;
use self::error::StoppingSnafu;
use self::idle::IdlePartitions;
use self::schemas::Schemas;
use self::stopped::Stopped;
use self::writer::Writer;
use crate::catch_up::CatchUp;
use crate::computation::Computation;
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::judge::Judge;
use crate::keys::unfit;
use crate::metrics::Metrics;
use crate::output::{Output, Tail};
use crate::partition::{Outcome, PartitionTotals};
use crate::restore::Log;
use crate::restore::keys::Resumed;
use crate::rules::Rules;
use crate::total::{Form, schema};

/// Longest time without looking whether the process is to stop.
const POLL: Duration = Duration::from_millis(100);
/// How far the clocks of those who write the input may be ahead of ours, ms.
const CLOCKS: i64 = 60_000;
/// How long one who has lost a partition may write to it at the most, if nobody refuses it: longer than a record waits
/// to be sent.
const LATE: Duration = Duration::from_secs(30);
/// Time for leaving the group at the end.
const LEAVE: Duration = Duration::from_secs(5);

/// Works until the process is to stop.
pub fn work(config: &FilteredSumWorker, context: &Context) -> Result<(), Error> {
    let rules = Rules::compile(config)?;
    let metrics = Metrics::register(&context.metrics);
    info!(name = config.name, topic = config.input_topic, "summing");
    context.sessions(|| {
        let (mut worker, consumer) = Worker::open(config, context, &rules, &metrics)?;
        worker.run(&consumer)?;
        worker.end(consumer)
    })
}

/// One session: everything in it was read from Kafka since it began.
struct Worker<'a> {
    config: &'a FilteredSumWorker,
    context: &'a Context,
    rules: &'a Rules,
    computation: Computation,
    metrics: &'a Metrics,
    output: Output,
    schema_id: u32,
    form: Form,
    schemas: Schemas,
    idle: IdlePartitions,
    writer: Writer,
    /// `None` until the group has said what is ours, which may be nothing.
    owned: Option<BTreeMap<i32, Partition>>,
    dead_letters: DeadLetters,
    /// When to write which partition again, in order.
    unfenced: VecDeque<(Instant, i32)>,
    /// For the owner of input partition 0.
    tail: Option<Tail>,
    next_commit: Instant,
    busy: Busy,
    aborted_since: Option<Instant>,
    backoff: Backoff,
    /// When it was last told how far partitions that catch up are.
    told: Instant,
}

/// An input partition that is ours.
struct Partition {
    /// `None` if no sum of it would be right.
    sum: Option<Sum>,
    /// Why nothing is added to it.
    stopped: Option<Stopped>,
}

/// What the records of a partition are added to.
enum Sum {
    Active(PartitionTotals),
    /// The totals in the output topic are of an earlier computation as long as it is summed anew.
    CatchingUp(Box<CatchUp>),
}

impl Partition {
    fn new(sum: Sum) -> Self {
        Self {
            sum: Some(sum),
            stopped: None,
        }
    }

    fn totals(&self) -> Option<&PartitionTotals> {
        match self.sum.as_ref()? {
            Sum::Active(totals) => Some(totals),
            Sum::CatchingUp(anew) => Some(anew.totals()),
        }
    }

    fn totals_mut(&mut self) -> Option<&mut PartitionTotals> {
        match self.sum.as_mut()? {
            Sum::Active(totals) => Some(totals),
            Sum::CatchingUp(anew) => Some(anew.totals_mut()),
        }
    }

    /// First offset whose record becomes a dead letter if it cannot be summed: one before has been looked at.
    fn first_letter(&self) -> i64 {
        match &self.sum {
            Some(Sum::CatchingUp(anew)) => anew.until(),
            _ => 0,
        }
    }
}

/// What has to be done before the next message of a partition.
enum Interruption {
    /// There are enough dead letters, or keys that have changed, for a commit.
    Full,
    /// This one has a schema that is not known.
    Schema(u32),
    /// Nothing more is to be added, for this reason.
    Stop(String),
}

impl<'a> Worker<'a> {
    fn open(
        config: &'a FilteredSumWorker,
        context: &'a Context,
        rules: &'a Rules,
        metrics: &'a Metrics,
    ) -> Result<(Self, GroupConsumer), Error> {
        let registry = Arc::new(Registry::new(&config.registry)?);
        let subject = format!("{}-value", config.output_topic);
        let form = Form::of(config);
        let schema_id = context
            .wait_for(registry.register(&subject, &schema(config.scale, form)))
            .context(StoppingSnafu)??;
        let writer = Writer::open(config, context)?;
        let consumer = writer.join(config, context)?;
        let output = Output {
            kafka: config.kafka.clone(),
            topic: config.output_topic.clone(),
            registry: Arc::clone(&registry),
            context: context.clone(),
        };
        let worker = Self {
            config,
            context,
            rules,
            computation: Computation::of(config),
            metrics,
            output,
            schema_id,
            form,
            schemas: Schemas::new(registry, context.runtime.clone(), Judge::new(rules.clone())),
            idle: IdlePartitions::new(),
            writer,
            owned: None,
            dead_letters: DeadLetters::default(),
            unfenced: VecDeque::new(),
            tail: None,
            next_commit: Instant::now(),
            busy: Busy::new(Instant::now()),
            aborted_since: None,
            told: Instant::now(),
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(2)),
        };
        worker.report();
        Ok((worker, consumer))
    }

    fn run(&mut self, consumer: &GroupConsumer) -> Result<(), Error> {
        let interval = Duration::from_millis(self.config.commit_interval_ms);
        while !self.context.stop.is_cancelled() {
            self.context.health.beat();
            let until_commit = self.next_commit.saturating_duration_since(Instant::now());
            match consumer.poll(until_commit.min(POLL))? {
                Event::Assigned(assigned) => self.assigned(consumer, &assigned)?,
                Event::Revoked(revoked) => self.revoked(consumer, &revoked)?,
                Event::Messages(batch) => {
                    for (partition, messages) in batch.runs() {
                        self.messages(consumer, partition, messages)?;
                    }
                }
                Event::Idle => {}
            }
            self.learned(consumer)?;
            self.try_stopped(consumer)?;
            let began = Instant::now();
            if let Some(busy) = self.busy.look(consumer.waited(), began) {
                self.metrics.busy.set(busy);
            }
            if began >= self.next_commit {
                self.skip_markers(consumer)?;
                self.commit(consumer)?;
                self.tell_progress();
                // Transactions begin at the interval, unless they take so long that little time was left for records.
                self.next_commit = (began + interval).max(Instant::now() + interval / 2);
            }
        }
        Ok(())
    }

    /// The last commit and the way out of the group.
    fn end(mut self, consumer: GroupConsumer) -> Result<(), Error> {
        self.commit(&consumer)?;
        self.write_keys_that_are_left(&consumer, |_| true)?;
        self.owned = None;
        self.report();
        consumer.leave(LEAVE);
        Ok(())
    }

    /// Takes the totals of the new partitions from the output topic.
    fn assigned(&mut self, consumer: &GroupConsumer, assigned: &[Assigned]) -> Result<(), Error> {
        let started = Instant::now();
        self.context
            .health
            .waiting_for("the totals to be read from the output topic");
        let mut found = self.output.restore(assigned)?;
        let mut keys = self.restore_keys(assigned, &found, started)?;
        let mut is_new = false;
        for one in assigned {
            let found = found.remove(&one.partition).unwrap_or_default();
            is_new |= found.is_empty();
            // Also a worker with the delivery of now may be writing, whoever has written last.
            let is_unfenced = found.is_unfenced() || !self.writer.is_fenced();
            if is_unfenced {
                self.unfenced.push_back((started + LATE, one.partition));
            }
            let log = match found.outlived(one) {
                Some(written) => Some(log(consumer, one.partition, written)?),
                None => None,
            };
            let (keys, has_groups) = (keys.remove(&one.partition), self.rules.has_groups());
            match found.resume(one, &self.computation, log, has_groups, keys) {
                Ok(Resumed::Anew {
                    superseded,
                    keys,
                    origin,
                }) => self.sum_anew(consumer, one.partition, superseded, keys, origin)?,
                Ok(Resumed::Totals(mut totals)) => {
                    if is_unfenced {
                        totals.write_again();
                    }
                    if log.is_some() {
                        let (partition, next_offset) = (one.partition, totals.next_offset());
                        info!(
                            partition,
                            next_offset, "the totals say where to go on, not the group's offset"
                        );
                        consumer.seek(partition, next_offset)?;
                    }
                    let active = Partition::new(Sum::Active(totals));
                    self.owned.get_or_insert_default().insert(one.partition, active);
                }
                Err(mismatch) => self.stop(consumer, one.partition, mismatch.to_string())?,
            }
        }
        self.owned.get_or_insert_default();
        if assigned.iter().any(|one| one.partition == 0) {
            self.tail = Some(Tail::open(&self.output, &self.computation)?);
        }
        if !assigned.is_empty() {
            self.metrics
                .restore_seconds
                .observe(started.elapsed().as_secs_f64());
        }
        self.report();
        if is_new {
            // Where they begin is known before anything is made of them: the log may begin elsewhere the next time.
            self.commit(consumer)?;
            // One that is fenced writes them together with what it makes of them.
            while !self.writer.is_fenced()
                && self.aborted_since.is_some()
                && !self.context.stop.is_cancelled()
            {
                self.commit(consumer)?;
            }
        }
        Ok(())
    }

    /// Drops partitions, after a last commit if they are still ours. What it does not commit, the next owner reads
    /// again.
    fn revoked(&mut self, consumer: &GroupConsumer, revoked: &Revoked) -> Result<(), Error> {
        if !revoked.lost {
            self.commit(consumer)?;
            self.write_keys_that_are_left(consumer, |partition| revoked.partitions.contains(&partition))?;
        }
        if let Some(owned) = &mut self.owned {
            owned.retain(|partition, _| !revoked.partitions.contains(partition));
        }
        self.dead_letters
            .retain(|partition| !revoked.partitions.contains(&partition));
        self.schemas
            .retain(|partition| !revoked.partitions.contains(&partition));
        if revoked.partitions.contains(&0) {
            self.tail = None;
        }
        self.report();
        Ok(())
    }

    /// Adds messages of one partition, up to one that it has to wait for.
    fn messages<'m>(
        &mut self,
        consumer: &GroupConsumer,
        partition: i32,
        mut messages: impl Iterator<Item = Message<'m>>,
    ) -> Result<(), Error> {
        if self.aborted_since.is_some() && self.is_full() {
            // What is full takes in nothing more until a commit has gone well, and there is one for each poll.
            self.next_commit = Instant::now();
            return self.read_again(consumer, partition);
        }
        // Partitions of a batch do not wait for each other, and one that waits is read again from where it is.
        while let Some(interruption) = self.add(partition, &mut messages) {
            match interruption {
                Interruption::Full => {
                    self.commit(consumer)?;
                    if self.is_full() {
                        // It did not go well, and may not for long. Meanwhile the group must be polled.
                        return self.read_again(consumer, partition);
                    }
                }
                Interruption::Schema(schema_id) => {
                    consumer.pause(partition)?;
                    self.schemas.ask(partition, schema_id);
                    self.report();
                    return Ok(());
                }
                Interruption::Stop(reason) => {
                    self.commit(consumer)?;
                    return self.stop(consumer, partition, reason);
                }
            }
        }
        Ok(())
    }

    /// Adds messages of one partition until something has to be done first, or there are no more. A message that comes
    /// again and those of a partition that is not summed are skipped.
    fn add<'m>(
        &mut self,
        partition: i32,
        messages: &mut impl Iterator<Item = Message<'m>>,
    ) -> Option<Interruption> {
        if self.schemas.is_awaited_by(partition) {
            return None;
        }
        let most_changes = self.most_changes(partition);
        let owned = self.owned.as_mut()?.get_mut(&partition)?;
        if owned.stopped.as_ref().is_some_and(|stopped| !stopped.is_on_trial) {
            return None;
        }
        let stops = self.config.on_error == OnError::Stop;
        let has_windows = self.config.window.is_some();
        let input_topic = &self.config.input_topic;
        let first_letter = owned.first_letter();
        let totals = owned.totals_mut()?;
        let is_keyed = totals.keys().is_some();
        let (mut records, mut dropped) = (0, 0);
        let late = totals.late();
        let interruption = messages.find_map(|message| {
            let unknown = |value| self.schemas.judge.decoder.unknown(value);
            if let Some(schema_id) = message.value.and_then(unknown) {
                return Some(Interruption::Schema(schema_id));
            }
            let offset = message.offset;
            if totals.covers(offset) {
                debug!(partition, offset, "a record came again");
                return None;
            }
            let key = message.key.filter(|_| is_keyed);
            let misfit = if is_keyed { unfit(key) } else { None };
            let judged = match (misfit, message.value) {
                (Some(reason), _) => Err(reason),
                (None, None) => Ok(Outcome::Dropped),
                (None, Some(value)) if has_windows => {
                    self.schemas.judge.judge_at(value, message.timestamp())
                }
                (None, Some(value)) => self.schemas.judge.judge(value),
            };
            let (outcome, reason) = match judged {
                Ok(outcome) => (outcome, None),
                Err(reason) if stops => {
                    return Some(Interruption::Stop(format!(
                        "the record at offset {offset} of partition {partition} of topic {input_topic:?} cannot be summed: \
                         {reason}; set onError to deadLetter to go on without it"
                    )));
                }
                Err(reason) => (Outcome::Dead, Some(reason)),
            };
            let is_dropped = outcome == Outcome::Dropped;
            let applied = match key {
                Some(key) => totals.apply_keyed(offset, key, outcome),
                None => totals.apply(offset, outcome),
            };
            if let Err(error) = applied {
                return Some(Interruption::Stop(chain(&error)));
            }
            records += 1;
            dropped += u64::from(is_dropped);
            let Some(reason) = reason else {
                let is_full = is_keyed && totals.keys().is_some_and(|keys| keys.changes() >= most_changes);
                return is_full.then_some(Interruption::Full);
            };
            debug!(partition, offset, %reason, "a dead letter");
            self.metrics.dead_letters.inc();
            if offset < first_letter {
                return None;
            }
            let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            let (key, value) = (owned(message.key), owned(message.value));
            self.dead_letters.push(DeadLetter {
                partition,
                offset,
                reason,
                key,
                value,
            });
            self.dead_letters.is_full().then_some(Interruption::Full)
        });
        let late = totals.late() - late;
        self.metrics.late.inc_by(u64::try_from(late).unwrap_or_default());
        self.metrics.records.inc_by(records);
        self.metrics.dropped.inc_by(dropped);
        if records > 0 && owned.stopped.take().is_some() {
            info!(partition, "the partition goes on");
            self.report();
        }
        self.caught_up(partition);
        interruption
    }

    fn totals_mut(&mut self, partition: i32) -> Option<&mut PartitionTotals> {
        self.owned.as_mut()?.get_mut(&partition)?.totals_mut()
    }
}

fn log(consumer: &GroupConsumer, partition: i32, written: i64) -> Result<Log, Error> {
    Ok(Log {
        younger: consumer.first_since(partition, written.saturating_add(CLOCKS))?,
        end: consumer.stable_ends(&[partition])?[0],
    })
}
