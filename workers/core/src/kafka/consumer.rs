//! Membership in a consumer group, owned by one thread.
//!
//! The thread that calls [`GroupConsumer::poll`] is the only one that knows which partitions are owned: a
//! rebalance reaches it as an [`Event`] between two batches of messages, never from another thread. A commit that it makes
//! between two polls, with [`GroupConsumer::member`] taken at that moment, therefore never speaks for
//! partitions that have gone to somebody else; and should the group have moved on without this thread knowing
//! yet, the broker refuses the commit because the generation is old.
//!
//! Partitions are assigned with explicit offsets: those of the last committed transaction, which arrive together
//! with the metadata that was committed beside them. Around a rebalance messages may arrive twice, and they are told
//! by their offsets; none of a partition arrives after its [`Event::Revoked`].

mod closing;
mod leaving;
mod rebalance;
mod unowned;

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use naru_contract::Kafka;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use snafu::{ResultExt, Snafu, ensure};
use tracing::{debug, info, warn};

use self::unowned::Unowned;
use super::{config, topic};
use crate::drain::Drain;
use crate::native::BatchConsumer;
pub use crate::native::{Batch, Message};
use closing::Closing;
use rebalance::{Rebalance, Rebalances};

const ASK: Duration = Duration::from_secs(10);
/// Most messages of one batch: some hundred microseconds of work, and the cost of a poll is spread over enough of them.
const BATCH: usize = 1000;
/// How long a question that nobody needs the answer of may take.
const WAKE: Duration = Duration::from_secs(1);
/// How long a rebalance may wait for a batch to be filled.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("unable to join group {group:?}"))]
    Join { source: KafkaError, group: String },
    #[snafu(display("unable to read the offsets that group {group:?} has committed"))]
    Committed { source: KafkaError, group: String },
    #[snafu(transparent)]
    Topic { source: topic::Error },
    #[snafu(display("unable to take over or give up partitions of topic {topic:?}"))]
    Assign { source: KafkaError, topic: String },
    #[snafu(display(
        "group {group:?} has committed offset {offset} of partition {partition} of topic {topic:?}, which ends at \
         {end}: the topic was deleted and made anew; delete the group's offsets too"
    ))]
    BeyondEnd {
        group: String,
        topic: String,
        partition: i32,
        offset: i64,
        end: i64,
    },
    /// Another process has joined under this name; or a broker restarted in the middle of joining, lost its answer and
    /// takes the member for its own twin. Either way this member is of no more use; joining anew settles it.
    #[snafu(display(
        "the place of {instance:?} in group {group:?} was taken by another member of that name"
    ))]
    Replaced { group: String, instance: String },
    #[snafu(display("unable to consume topic {topic:?}"))]
    Consume { source: KafkaError, topic: String },
    /// It would be lost if this was not the end of the session.
    #[snafu(display("a message of partition {partition} of topic {topic:?} arrived outside of a batch"))]
    Astray { topic: String, partition: i32 },
    #[snafu(display("nobody in group {group:?} had partitions {partitions:?}: joining anew"))]
    Unowned { group: String, partitions: Vec<i32> },
    #[snafu(display("the worker is to stop"))]
    Stopping,
}

/// What a call of [`GroupConsumer::poll`] brought.
pub enum Event<'a> {
    /// These partitions are owned from now on, and their messages will follow.
    Assigned(Vec<Assigned>),
    /// These partitions are about to be given up.
    Revoked(Revoked),
    /// At least one message, each of a partition that is owned.
    Messages(Batch<'a>),
    /// Nothing arrived in time.
    Idle,
}

/// A partition that has become ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub partition: i32,
    /// Offset of the first message that will arrive.
    pub position: i64,
    /// Where the log began at that moment.
    pub start: i64,
    /// How many offsets from the committed one on were deleted before they were read: records, or, when it is only
    /// a few, perhaps nothing but transaction markers.
    pub deleted: i64,
    /// What was committed beside the offset, empty if nothing was; `None` when the group has never committed this
    /// partition, in which case `position` is the start of the log.
    pub metadata: Option<String>,
}

/// Partitions that are no longer ours after the next call of [`GroupConsumer::poll`], which gives them up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    pub partitions: Vec<i32>,
    /// They are somebody else's already: drop their work. If not, their work may still be committed before the next
    /// call of `poll`.
    pub lost: bool,
}

/// A member of a consumer group that reads one topic.
pub struct GroupConsumer {
    consumer: Closing,
    at_once: usize,
    /// How long it had nothing to hand out, in all.
    waited: Cell<Duration>,
    group: String,
    instance: String,
    topic: String,
    releasing: RefCell<Option<TopicPartitionList>>,
    /// Librdkafka waits for its last assignment to be answered.
    unanswered: Cell<bool>,
    /// The group has counted it among its members at least once.
    has_joined: Cell<bool>,
    /// What is assigned from now on is not read.
    leaving: Cell<bool>,
    unowned: RefCell<Unowned>,
    last_error: RefCell<Option<KafkaError>>,
}

impl GroupConsumer {
    /// See [`config::member`] for `instance`.
    pub fn join(kafka: &Kafka, group: &str, instance: &str, topic: &str) -> Result<Self, Error> {
        Self::open(&config::member(kafka, group, instance), group, instance, topic)
    }

    /// As [`Self::join`], for offsets that are no more than a hint: see [`Self::follow`].
    pub fn join_following(kafka: &Kafka, group: &str, instance: &str, topic: &str) -> Result<Self, Error> {
        Self::open(
            &config::following_member(kafka, group, instance),
            group,
            instance,
            topic,
        )
    }

    fn open(config: &ClientConfig, group: &str, instance: &str, topic: &str) -> Result<Self, Error> {
        let consumer: BaseConsumer<Rebalances> = config
            .create_with_context(Rebalances::default())
            .context(JoinSnafu { group })?;
        consumer.subscribe(&[topic]).context(JoinSnafu { group })?;
        Ok(Self {
            consumer: Closing::new(BatchConsumer::new(consumer), group),
            at_once: BATCH,
            waited: Cell::default(),
            group: group.to_owned(),
            instance: instance.to_owned(),
            topic: topic.to_owned(),
            releasing: RefCell::default(),
            unanswered: Cell::new(false),
            has_joined: Cell::new(false),
            leaving: Cell::new(false),
            unowned: RefCell::new(Unowned::new()),
            last_error: RefCell::default(),
        })
    }

    /// The same, whose end takes no longer than that of the process allows.
    pub fn until(mut self, drain: &Drain) -> Self {
        self.consumer.drain = drain.clone();
        self
    }

    /// The same, which hands out no more than this many messages at once.
    pub fn at_once(mut self, messages: usize) -> Self {
        self.at_once = messages.max(1);
        self
    }

    /// Gives up what was revoked by the last call, then waits for something to happen. Messages are handed out when
    /// there are enough for a whole batch, when the time is up, and 20 ms after the first of them at the latest. After an
    /// error the session is over: whoever goes on may miss messages.
    /// Must be called more often than every `max.poll.interval.ms` (60 s).
    pub fn poll(&self, timeout: Duration) -> Result<Event<'_>, Error> {
        self.release()?;
        self.look_for_unowned()?;
        let deadline = Instant::now() + timeout;
        loop {
            // What concerns the whole client: all that batches do not bring.
            match self.consumer.poll(Duration::ZERO) {
                None => {}
                Some(Err(error)) => self.failed(error)?,
                Some(Ok(message)) => {
                    let partition = rdkafka::Message::partition(&message);
                    let topic = &self.topic;
                    return AstraySnafu { topic, partition }.fail();
                }
            }
            if let Some(rebalance) = self.consumer.context().take() {
                return self.rebalanced(rebalance);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = match self.consumer.has_events() {
                true => Duration::ZERO,
                false => left.min(LOOK),
            };
            let began = Instant::now();
            let batch = self.consumer.batch(self.at_once, wait);
            // One that is full was there, and taking it is work.
            if batch.len() < self.at_once {
                self.waited.set(self.waited.get() + began.elapsed());
            }
            if let Some(error) = batch.error() {
                return Err(error).context(ConsumeSnafu { topic: &self.topic });
            }
            if !batch.is_empty() {
                self.last_error.take();
                return Ok(Event::Messages(batch));
            }
            if left.is_zero() {
                return Ok(Event::Idle);
            }
        }
    }

    /// How long it has waited for messages in all: time in which its owner had nothing to do.
    pub fn waited(&self) -> Duration {
        self.waited.get()
    }

    /// The membership as of now, for [`super::transaction::Position`]; `None` if the partitions are lost.
    pub fn member(&self) -> Option<ConsumerGroupMetadata> {
        #[cfg(feature = "broken")]
        if super::broken::is("unfenced") {
            return super::broken::nobody(&self.group);
        }
        if self.consumer.assignment_lost() {
            None
        } else {
            self.consumer.group_metadata()
        }
    }

    /// A list of offsets to commit: partition, next offset to be read, and metadata of up to 4,000 characters.
    pub fn offsets<'a>(&self, offsets: impl IntoIterator<Item = (i32, i64, &'a str)>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, offset, metadata) in offsets {
            #[cfg(feature = "broken")]
            let offset = (offset - i64::from(super::broken::is("processed"))).max(0);
            let mut element = list.add_partition(&self.topic, partition);
            element
                .set_offset(Offset::Offset(offset))
                .expect("an offset from a message is valid");
            element.set_metadata(metadata);
        }
        list
    }

    /// Lets the group's offsets follow to these ones: they are committed in the background, before the partitions are
    /// given up at the latest, and again if that fails. Needs [`Self::join_following`].
    pub fn follow(&self, offsets: &TopicPartitionList) {
        if let Err(error) = self.consumer.store_offsets(offsets) {
            debug!(group = %self.group, %error, "the group's offsets do not follow");
        }
    }

    /// Stops the arrival of messages of `partition` with the batch at hand: what [`Self::resume`] continues after.
    pub fn pause(&self, partition: i32) -> Result<(), Error> {
        self.consumer
            .pause(&self.partition(partition))
            .context(AssignSnafu { topic: &self.topic })
    }

    /// Lets the messages of `partition` arrive again, from now on.
    pub fn resume(&self, partition: i32) -> Result<(), Error> {
        self.consumer
            .resume(&self.partition(partition))
            .context(AssignSnafu { topic: &self.topic })?;
        // Librdkafka 2.12 does not wake the thread that fetches (rd_kafka_toppar_pause_resume), which sleeps up to a second
        // when all its partitions were paused. A question to the leader of the partition does; the answer does not matter.
        if let Err(error) = self.consumer.fetch_watermarks(&self.topic, partition, WAKE) {
            debug!(topic = %self.topic, partition, %error, "a partition may go on a second late");
        }
        Ok(())
    }

    /// Lets the next message of `partition` be the one at `offset`, or the first one after it.
    #[expect(
        clippy::disallowed_methods,
        reason = "a pause between two attempts, within a deadline"
    )]
    pub fn seek(&self, partition: i32, offset: i64) -> Result<(), Error> {
        let deadline = Instant::now() + ASK;
        loop {
            let sought = self
                .consumer
                .seek(&self.topic, partition, Offset::Offset(offset), ASK);
            match sought {
                // Librdkafka refuses as long as it has not begun to fetch a partition that was just assigned.
                Err(error) if Instant::now() < deadline => {
                    debug!(topic = %self.topic, partition, %error, "seeking again");
                    std::thread::sleep(Duration::from_millis(20));
                }
                sought => return sought.context(AssignSnafu { topic: &self.topic }),
            }
        }
    }

    /// How many partitions the topic has.
    pub fn partition_count(&self) -> Result<i32, Error> {
        Ok(topic::partition_count(&self.consumer, &self.topic)?)
    }

    /// Last stable offset of each of `partitions`.
    pub fn stable_ends(&self, partitions: &[i32]) -> Result<Vec<i64>, Error> {
        Ok(topic::stable_ends(&self.consumer, &self.topic, partitions)?)
    }

    /// See [`topic::first_since`].
    pub fn first_since(&self, partition: i32, millis: i64) -> Result<Option<i64>, Error> {
        Ok(topic::first_since(
            &self.consumer,
            &self.topic,
            partition,
            millis,
        )?)
    }

    /// The consumer itself, for what is not offered here. Do not poll it or change its assignment.
    pub fn inner(&self) -> &BaseConsumer<impl ConsumerContext> {
        &self.consumer
    }

    fn partition(&self, partition: i32) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        list
    }

    fn rebalanced(&self, rebalance: Rebalance) -> Result<Event<'_>, Error> {
        match rebalance {
            Rebalance::Revoke { list, lost } => {
                let revoked = Revoked {
                    partitions: partitions(&list),
                    lost,
                };
                info!(group = %self.group, partitions = ?revoked.partitions, lost, "partitions are revoked");
                self.releasing.replace(Some(list));
                Ok(Event::Revoked(revoked))
            }
            Rebalance::Assign { list } => {
                self.unanswered.set(true);
                self.has_joined.set(true);
                if self.leaving.get() {
                    return self.decline(&list);
                }
                let assigned = self.positions(&partitions(&list))?;
                let mut explicit = TopicPartitionList::new();
                for Assigned {
                    partition, position, ..
                } in &assigned
                {
                    self.consumer
                        .bring(&self.topic, *partition)
                        .context(AssignSnafu { topic: &self.topic })?;
                    explicit
                        .add_partition_offset(&self.topic, *partition, Offset::Offset(*position))
                        .context(AssignSnafu { topic: &self.topic })?;
                }
                self.consumer
                    .incremental_assign(&explicit)
                    .context(AssignSnafu { topic: &self.topic })?;
                // Librdkafka remembers that a partition was paused by the application through a revocation and a
                // new assignment: what comes back would never bring a message again.
                self.consumer
                    .resume(&explicit)
                    .context(AssignSnafu { topic: &self.topic })?;
                self.unanswered.set(false);
                info!(group = %self.group, ?assigned, "partitions are assigned");
                Ok(Event::Assigned(assigned))
            }
        }
    }

    /// Where each of `partitions` continues.
    fn positions(&self, partitions: &[i32]) -> Result<Vec<Assigned>, Error> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked = TopicPartitionList::new();
        for partition in partitions {
            asked.add_partition(&self.topic, *partition);
        }
        let group = &self.group;
        let committed = self
            .consumer
            .committed_offsets(asked, ASK)
            .context(CommittedSnafu { group })?;
        // A Kafka that is slow is not asked on and on by a process that is to end.
        ensure!(!self.consumer.drain.has_begun(), StoppingSnafu);
        let starts = topic::log_starts(&self.consumer, &self.topic, partitions)?;
        ensure!(!self.consumer.drain.has_begun(), StoppingSnafu);
        let ends = topic::stable_ends(&self.consumer, &self.topic, partitions)?;
        let mut assigned = Vec::with_capacity(partitions.len());
        for ((&partition, start), end) in partitions.iter().zip(starts).zip(ends) {
            let found =
                committed
                    .find_partition(&self.topic, partition)
                    .ok_or_else(|| topic::Error::Missing {
                        topic: self.topic.clone(),
                    })?;
            found.error().context(CommittedSnafu { group })?;
            assigned.push(match found.offset() {
                Offset::Offset(offset) if offset > end => {
                    return BeyondEndSnafu {
                        group,
                        topic: &self.topic,
                        partition,
                        offset,
                        end,
                    }
                    .fail();
                }
                Offset::Offset(offset) => Assigned {
                    partition,
                    position: offset.max(start),
                    start,
                    deleted: start.saturating_sub(offset).max(0),
                    metadata: Some(found.metadata().to_owned()),
                },
                _ => Assigned {
                    partition,
                    position: start,
                    start,
                    deleted: 0,
                    metadata: None,
                },
            });
        }
        Ok(assigned)
    }

    fn release(&self) -> Result<(), Error> {
        match self.releasing.take() {
            None => Ok(()),
            Some(list) => self
                .consumer
                .incremental_unassign(&list)
                .context(AssignSnafu { topic: &self.topic }),
        }
    }

    /// Librdkafka recovers by itself from most of what it reports.
    fn failed(&self, error: KafkaError) -> Result<(), Error> {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::FencedInstanceId) {
            return ReplacedSnafu {
                group: &self.group,
                instance: &self.instance,
            }
            .fail();
        }
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            return Err(error).context(ConsumeSnafu { topic: &self.topic });
        }
        if self.last_error.borrow().as_ref() != Some(&error) {
            warn!(topic = %self.topic, %error, "waiting for Kafka");
            self.last_error.replace(Some(error));
        }
        Ok(())
    }
}

impl Drop for GroupConsumer {
    /// Answers what librdkafka waits for, so that the consumer can close.
    fn drop(&mut self) {
        self.consumer.context().close();
        let _ = self.release();
        if self.unanswered.get() {
            let _ = self.consumer.incremental_assign(&TopicPartitionList::new());
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<i32> {
    list.elements()
        .iter()
        .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
        .collect()
}
