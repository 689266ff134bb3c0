//! The thread that owns the partitions, and the tasks that fetch their ranges.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use naru_contract::{Output, ScrapeWorker};
use naru_worker_core::backoff::Backoff;
use naru_worker_core::kafka::consumer::{Assigned, Event, GroupConsumer, Message, Revoked};
use naru_worker_core::kafka::transaction::{self, Position, Record, TransactionalProducer};
use naru_worker_core::run::Context;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::ledger::{Ledger, Task, WorkId};
use super::metrics::Metrics;
use super::outcome::{Settled, unreadable};
use super::site::Pages;
use crate::Error;
use crate::frontier::{Progress, Range, RangeError};
use crate::head_topic;

/// Ids of a range that are under way at once, most of them waiting for the budget or for another attempt: what is
/// late does not stop those after it.
const WINDOW: usize = 100;
/// A transaction is made when this many ids are settled, or after [`INTERVAL`].
const CHUNK: usize = 100;
const INTERVAL: Duration = Duration::from_secs(1);
/// Settled ids that are kept at most while transactions fail.
const MOST_UNCOMMITTED: usize = 1_000;
const POLL: Duration = Duration::from_millis(50);
/// How often the number of partitions is looked up.
const RECOUNT: Duration = Duration::from_secs(60);

/// A settled id, or a frontier record that is no range.
enum News {
    Settled(Settled),
    Unreadable { value: Vec<u8>, reason: String },
}

impl News {
    fn to_record<'a>(&self, output: &'a Output) -> Option<Record<'a>> {
        match self {
            Self::Settled(settled) => settled.to_record(output),
            Self::Unreadable { value, reason } => Some(unreadable(output, value.clone(), reason)),
        }
    }
}

pub(super) struct Fetcher<'a> {
    config: &'a ScrapeWorker,
    context: &'a Context,
    site: Arc<Pages>,
    metrics: Metrics,
    producer: TransactionalProducer,
    ledger: Ledger<News>,
    tasks: HashMap<i32, JoinHandle<()>>,
    /// Messages of partitions that were busy when they arrived.
    early: HashMap<i32, VecDeque<(i64, Vec<u8>)>>,
    sender: mpsc::Sender<(WorkId, Settled)>,
    receiver: mpsc::Receiver<(WorkId, Settled)>,
    last_commit: Instant,
    /// No commit is tried before.
    not_before: Instant,
    backoff: Backoff,
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(
        config: &'a ScrapeWorker,
        context: &'a Context,
        site: Arc<Pages>,
        metrics: Metrics,
        producer: TransactionalProducer,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(WINDOW);
        let now = Instant::now();
        Self {
            config,
            context,
            site,
            metrics,
            producer,
            ledger: Ledger::new(),
            tasks: HashMap::new(),
            early: HashMap::new(),
            sender,
            receiver,
            last_commit: now,
            not_before: now,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
        }
    }

    /// Until the process is to stop or a new session is needed.
    pub(super) fn work(&mut self, consumer: &GroupConsumer) -> Result<(), Error> {
        let mut all = usize::try_from(consumer.partition_count()?).unwrap_or_default();
        let mut counted = Instant::now();
        while !self.context.stop.is_cancelled() {
            self.context.health.beat();
            if counted.elapsed() > RECOUNT {
                // A group learns of new partitions later than this; until then the shares are a little small.
                if let Ok(count) = consumer.partition_count() {
                    all = usize::try_from(count).unwrap_or_default();
                }
                counted = Instant::now();
            }
            self.site.set_part(self.ledger.assigned_count(), all);
            match consumer.poll(POLL)? {
                Event::Assigned(assigned) => self.assigned(&assigned)?,
                Event::Revoked(revoked) => self.revoked(consumer, &revoked)?,
                Event::Messages(batch) => {
                    for message in batch.iter() {
                        self.message(consumer, &message)?;
                    }
                }
                Event::Idle => {}
            }
            self.collect();
            if self.is_commit_due() {
                self.commit(consumer)?;
            }
        }
        // What the pages under way would bring is fetched again by whoever owns their ranges next.
        self.tasks.drain().for_each(|(_, task)| task.abort());
        self.collect();
        self.commit(consumer)
    }

    fn assigned(&mut self, assigned: &[Assigned]) -> Result<(), Error> {
        let expired = assigned.iter().filter(|one| one.metadata.is_none());
        let expired = expired.map(|one| one.partition).collect::<Vec<_>>();
        let mut kept = match &expired[..] {
            [] => BTreeMap::new(),
            expired => head_topic::progress(self.config, self.context, expired)?,
        };
        for Assigned {
            partition,
            position,
            deleted,
            metadata,
            ..
        } in assigned
        {
            if *deleted > 0 {
                let topic = &self.config.frontier.topic;
                error!(
                    topic,
                    partition, deleted, "frontier offsets were deleted before their ranges were done"
                );
            }
            let progress = match metadata {
                Some(metadata) => Progress::beside(*position, metadata),
                None => kept.remove(partition),
            };
            if let (None, Some(progress)) = (metadata, progress) {
                info!(
                    partition,
                    ?progress,
                    "the group's offset is gone, the head topic says how far it was"
                );
            }
            match progress {
                // An administrator has set the offset, or a fetcher of the first versions.
                None if metadata.is_some() => self.ledger.assigned_at(*partition, *position),
                progress => self.ledger.assigned(*partition, *position, progress),
            }
        }
        self.metrics
            .partitions
            .set(self.ledger.assigned_count().try_into().unwrap_or(i64::MAX));
        self.context.health.ready();
        Ok(())
    }

    fn revoked(&mut self, consumer: &GroupConsumer, revoked: &Revoked) -> Result<(), Error> {
        if !revoked.lost {
            // So that the next owner need not fetch it again; it is no loss when this does not succeed.
            self.collect();
            self.commit(consumer)?;
        }
        for partition in &revoked.partitions {
            self.ledger.revoked(*partition);
            self.early.remove(partition);
            if let Some(task) = self.tasks.remove(partition) {
                task.abort();
            }
        }
        self.metrics
            .partitions
            .set(self.ledger.assigned_count().try_into().unwrap_or(i64::MAX));
        Ok(())
    }

    /// A partition is paused while its range is worked on, but a message may have been on its way already.
    fn message(&mut self, consumer: &GroupConsumer, message: &Message<'_>) -> Result<(), Error> {
        let (partition, offset) = (message.partition, message.offset);
        let value = message.value.unwrap_or_default();
        if self.ledger.is_busy(partition) {
            self.early
                .entry(partition)
                .or_default()
                .push_back((offset, value.to_vec()));
        } else if self.take_up(partition, offset, value) {
            consumer.pause(partition)?;
        }
        Ok(())
    }

    /// False when there is nothing to do for this message.
    fn take_up(&mut self, partition: i32, offset: i64, value: &[u8]) -> bool {
        match Range::parse(value) {
            Ok(range) => self
                .ledger
                .range(partition, offset, range)
                .map(|task| self.start(task))
                .is_some(),
            Err(error) => self.unreadable(partition, offset, value, &error),
        }
    }

    /// The partition's range is done and committed.
    fn take_up_next(&mut self, consumer: &GroupConsumer, partition: i32) -> Result<(), Error> {
        self.tasks.remove(&partition);
        while let Some((offset, value)) = self.early.get_mut(&partition).and_then(VecDeque::pop_front) {
            if self.take_up(partition, offset, &value) {
                return Ok(());
            }
        }
        Ok(consumer.resume(partition)?)
    }

    fn unreadable(&mut self, partition: i32, offset: i64, value: &[u8], error: &RangeError) -> bool {
        let reason = naru_worker_core::run::chain(error);
        warn!(partition, offset, %reason, "the frontier holds what is no range");
        self.ledger.no_range(
            partition,
            offset,
            News::Unreadable {
                value: value.to_vec(),
                reason,
            },
        )
    }

    fn start(&mut self, Task { work, partition, ids }: Task) {
        let (from, to) = ids;
        let (site, sender) = (Arc::clone(&self.site), self.sender.clone());
        let task = self.context.runtime.spawn(async move {
            let settle = |id| {
                let site = &site;
                // A page that breaks the program must not keep the ids behind it waiting for ever.
                let settled = AssertUnwindSafe(site.settle(id)).catch_unwind();
                async move { settled.await.unwrap_or_else(|_| site.broke_on(id)) }
            };
            let pages = futures::stream::iter(from..=to).map(settle).buffered(WINDOW);
            let mut pages = std::pin::pin!(pages);
            while let Some(settled) = pages.next().await {
                // A receiver that is gone means that the session has ended.
                if sender.send((work, settled)).await.is_err() {
                    return;
                }
            }
        });
        if let Some(before) = self.tasks.insert(partition, task) {
            before.abort();
        }
    }

    /// Takes over what the tasks have settled.
    fn collect(&mut self) {
        while self.ledger.uncommitted() < MOST_UNCOMMITTED {
            let Ok((work, settled)) = self.receiver.try_recv() else {
                return;
            };
            self.ledger.settled(work, settled.id, News::Settled(settled));
        }
    }

    fn is_commit_due(&self) -> bool {
        let is_little = self.ledger.uncommitted() > 0 || self.ledger.has_passed();
        let is_time = is_little && self.last_commit.elapsed() >= INTERVAL;
        let is_much = self.ledger.uncommitted() >= CHUNK;
        (is_time || is_much || self.ledger.has_finished()) && Instant::now() >= self.not_before
    }

    /// Commits all news. When the transaction is aborted, they stay for the next one.
    fn commit(&mut self, consumer: &GroupConsumer) -> Result<(), Error> {
        let snapshot = self.ledger.snapshot();
        if snapshot.partitions.is_empty() {
            return Ok(());
        }
        let Some(member) = consumer.member() else {
            return Ok(());
        };
        let partitions = snapshot.partitions.iter();
        let metadata = partitions.clone().map(|at| at.progress.map(Progress::to_json));
        let metadata = metadata.map(Option::unwrap_or_default).collect::<Vec<_>>();
        let offsets = partitions.clone().zip(&metadata);
        let offsets = consumer.offsets(offsets.map(|(at, metadata)| (at.partition, at.offset, &**metadata)));
        let progress = partitions.filter_map(|at| {
            let progress = at.progress?;
            Some(head_topic::progress_record(
                &self.config.frontier,
                at.partition,
                progress,
            ))
        });
        let settled = snapshot.settled.iter();
        let records = settled
            .filter_map(|news| news.to_record(&self.config.output))
            .chain(progress);
        let position = Position { offsets, member };
        match self.producer.commit(records, Some(position)) {
            Ok(()) => {}
            Err(transaction::Error::Aborted { reason }) => {
                warn!(%reason, "committing again");
                self.context
                    .health
                    .waiting_for(format!("Kafka to accept a transaction: {reason}"));
                self.metrics.aborted.inc();
                self.not_before = Instant::now() + self.backoff.next_delay();
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        for news in snapshot.settled {
            if let News::Settled(settled) = news {
                self.metrics.count_page(&settled.outcome);
            }
        }
        self.backoff.reset();
        self.context.health.ready();
        self.last_commit = Instant::now();
        for partition in self.ledger.committed() {
            self.take_up_next(consumer, partition)?;
        }
        Ok(())
    }
}

impl Drop for Fetcher<'_> {
    fn drop(&mut self) {
        self.tasks.drain().for_each(|(_, task)| task.abort());
    }
}
