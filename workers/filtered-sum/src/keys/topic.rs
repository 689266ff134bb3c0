//! Reading what each key adds from its topic, up to where the totals go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use naru_contract::Kafka;
use naru_worker_core::kafka::{Quiet, topic};
use naru_worker_core::run::Context;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use snafu::{ResultExt, Snafu, ensure};
use tracing::debug;

use super::Keys;
use super::record::{Mark, Record};

/// Bound on reading totals and keys of the partitions that were assigned, on the polling thread: less than the group waits for
/// a member.
const READ: Duration = Duration::from_secs(50);
/// How long keys that belong to totals and are not there yet are waited for: see [`crate::output`].
const SETTLE: Duration = Duration::from_secs(25);

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(transparent)]
    Topic { source: topic::Error },
    #[snafu(display("unable to read topic {topic:?}"))]
    Read { source: KafkaError, topic: String },
    #[snafu(display(
        "the record at offset {offset} of partition {partition} of topic {topic:?} does not say what a key adds; the topic \
         must hold nothing else"
    ))]
    Foreign {
        topic: String,
        partition: i32,
        offset: i64,
    },
    #[snafu(display(
        "topic {topic:?} has {found} partitions, expected one for each of the input topic's, which has partition {needed}"
    ))]
    TooFewPartitions { topic: String, found: i32, needed: i32 },
    #[snafu(display("what each key adds was not read from topic {topic:?} within {} s", READ.as_secs()))]
    TooSlow { topic: String },
    #[snafu(display("the worker is to stop"))]
    Stopping,
}

/// What the topic says about one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundKeys {
    pub keys: Keys,
    /// The newest one.
    pub mark: Option<Mark>,
}

/// What is needed to read the topic.
pub struct KeysTopic<'a> {
    pub kafka: &'a Kafka,
    pub topic: &'a str,
    pub context: &'a Context,
}

impl KeysTopic<'_> {
    /// What the keys of each of `partitions` add, up to the totals, which go up to this offset if there are any: one
    /// transaction's records become visible partition by partition.
    /// `started` is when the totals began to be read.
    pub fn restore(
        &self,
        partitions: &BTreeMap<i32, Option<i64>>,
        started: Instant,
    ) -> Result<BTreeMap<i32, FoundKeys>, Error> {
        let opened = Instant::now();
        let mut found = partitions
            .keys()
            .map(|partition| (*partition, FoundKeys::default()))
            .collect::<BTreeMap<_, _>>();
        if found.is_empty() {
            return Ok(found);
        }
        let consumer = topic::reader(self.kafka)?;
        let mut unread = self.open(&consumer, partitions)?;
        let topic = self.topic;
        loop {
            let is_behind = |(partition, found): (&i32, &FoundKeys)| {
                let covered = found.mark.map(|mark| mark.next_offset);
                covered < partitions[partition]
            };
            if unread.is_empty() && (opened.elapsed() > SETTLE || !found.iter().any(is_behind)) {
                return Ok(found);
            }
            ensure!(started.elapsed() < READ, TooSlowSnafu { topic });
            ensure!(!self.context.stop.is_cancelled(), StoppingSnafu);
            self.context.health.beat();
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                // The end of a partition is its last stable offset, since the consumer is read_committed.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    unread.remove(&partition);
                }
                Some(Err(source @ KafkaError::MessageConsumptionFatal(_))) => {
                    return Err(source).context(ReadSnafu { topic });
                }
                Some(Err(error)) => debug!(%topic, %error, "waiting for Kafka"),
                Some(Ok(message)) => {
                    let found = found.entry(message.partition()).or_default();
                    self.observe(&message, found)?;
                }
            }
        }
    }

    /// Lets `consumer` read `partitions` from their beginning on. Returns those that have something to read: the broker says
    /// only after a while that there is nothing.
    fn open(
        &self,
        consumer: &BaseConsumer<Quiet>,
        partitions: &BTreeMap<i32, Option<i64>>,
    ) -> Result<BTreeSet<i32>, Error> {
        let topic = self.topic;
        let found = topic::partition_count(consumer, topic)?;
        if let Some((&needed, _)) = partitions.last_key_value() {
            ensure!(needed < found, TooFewPartitionsSnafu { topic, found, needed });
        }
        let numbers = partitions.keys().copied().collect::<Vec<_>>();
        let starts = topic::log_starts(consumer, topic, &numbers)?;
        let ends = topic::stable_ends(consumer, topic, &numbers)?;
        let mut assignment = TopicPartitionList::new();
        for (partition, start) in numbers.iter().zip(&starts) {
            assignment
                .add_partition_offset(topic, *partition, Offset::Offset(*start))
                .context(ReadSnafu { topic })?;
        }
        consumer.assign(&assignment).context(ReadSnafu { topic })?;
        let spans = numbers.into_iter().zip(starts.into_iter().zip(ends));
        let filled = spans.filter(|(_, (start, end))| end > start);
        Ok(filled.map(|(partition, _)| partition).collect())
    }

    fn observe(&self, message: &BorrowedMessage<'_>, found: &mut FoundKeys) -> Result<(), Error> {
        match message
            .key()
            .and_then(|key| Record::parse(key, message.payload()))
        {
            Some(Record::Key(key, added)) => found.keys.observe(key, added),
            Some(Record::Mark(mark)) => found.mark = Some(mark),
            None => {
                return ForeignSnafu {
                    topic: self.topic,
                    partition: message.partition(),
                    offset: message.offset(),
                }
                .fail();
            }
        }
        Ok(())
    }
}
