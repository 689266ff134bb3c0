//! Idle partitions: moving the offset past the markers of transactions, and finding out whether the client hangs.
//!
//! A transaction ends with a marker that takes up an offset and is never shown to a consumer. So the offset after the
//! last record stays one short of the end, which looks like lag for ever, and like a lost record once retention has
//! deleted the marker.

use std::time::{Duration, Instant};

use naru_contract::Kafka;
use naru_worker_core::kafka::consumer::GroupConsumer;
use naru_worker_core::kafka::{Quiet, topic};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use snafu::ResultExt;

use super::Worker;
use super::error::{Error, ReadSnafu, StarvedSnafu};
use super::starved::Starved;

/// How long nothing must arrive from a partition before it is looked at.
const IDLE: Duration = Duration::from_secs(5);
/// Bound on a look, on the polling thread. What is not seen now is seen the next time.
const LOOK: Duration = Duration::from_secs(1);

/// Partitions, and where they end.
type Ends = Vec<(i32, i64)>;

/// When to look, and what nothing has arrived from since the last look.
pub(super) struct IdlePartitions {
    looked: Instant,
    seen: Vec<(i32, i64)>,
    starved: Starved,
    /// Reads nothing between two looks. Opened by the first look that needs it.
    reader: Option<BaseConsumer<Quiet>>,
}

impl IdlePartitions {
    pub(super) fn new() -> Self {
        Self {
            looked: Instant::now(),
            seen: Vec::new(),
            starved: Starved::default(),
            reader: None,
        }
    }

    fn reader(&mut self, kafka: &Kafka) -> Result<&BaseConsumer<Quiet>, topic::Error> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => topic::reader(kafka)?,
        };
        Ok(self.reader.insert(reader))
    }
}

impl Worker<'_> {
    /// Every few seconds.
    pub(super) fn skip_markers(&mut self, consumer: &GroupConsumer) -> Result<(), Error> {
        if self.idle.looked.elapsed() < IDLE {
            return Ok(());
        }
        let now = self
            .summed()
            .filter(|(partition, _)| !self.schemas.is_awaited_by(*partition));
        let now = now
            .map(|(partition, totals)| (partition, totals.next_offset()))
            .collect::<Vec<_>>();
        let idle = now
            .iter()
            .copied()
            .filter(|one| self.idle.seen.contains(one))
            .collect::<Vec<_>>();
        self.idle.looked = Instant::now();
        self.idle.seen = now;
        let (without, with) = self.records(consumer, &idle)?;
        if let Some((partition, next_offset)) = self.idle.starved.look(&with, Instant::now()) {
            return StarvedSnafu {
                topic: &self.config.input_topic,
                partition,
                next_offset,
            }
            .fail();
        }
        for (partition, end) in without {
            if let Some(totals) = self.totals_mut(partition) {
                totals.skip_to(end);
            }
            self.caught_up(partition);
        }
        Ok(())
    }

    /// Those of `partitions` (with the offset that is next) that have no record from there to the end, and that end; and
    /// those that have one. The end is asked for first: a reader that then reaches the end of the log without a record
    /// has passed it.
    fn records(
        &mut self,
        consumer: &GroupConsumer,
        partitions: &[(i32, i64)],
    ) -> Result<(Ends, Vec<(i32, i64)>), Error> {
        let topic = &self.config.input_topic;
        let numbers = partitions
            .iter()
            .map(|(partition, _)| *partition)
            .collect::<Vec<_>>();
        if numbers.is_empty() {
            return Ok(Default::default());
        }
        let ends = consumer.stable_ends(&numbers)?;
        let mut asked = TopicPartitionList::new();
        let mut unread = Vec::new();
        for ((partition, next_offset), end) in partitions.iter().zip(ends) {
            if end > *next_offset {
                asked
                    .add_partition_offset(topic, *partition, Offset::Offset(*next_offset))
                    .context(ReadSnafu { topic })?;
                unread.push((*partition, end));
            }
        }
        let (mut passed, mut met) = (Vec::new(), Vec::new());
        if unread.is_empty() {
            return Ok((passed, met));
        }
        let reader = self.idle.reader(&self.config.kafka)?;
        reader.assign(&asked).context(ReadSnafu { topic })?;
        let started = Instant::now();
        while !unread.is_empty() && started.elapsed() < LOOK {
            match reader.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => {
                    let read = rdkafka::Message::partition(&message);
                    met.extend(partitions.iter().filter(|(partition, _)| *partition == read));
                    unread.retain(|(partition, _)| *partition != read);
                }
                Some(Err(KafkaError::PartitionEOF(ended))) => {
                    passed.extend(unread.iter().filter(|(partition, _)| *partition == ended));
                    unread.retain(|(partition, _)| *partition != ended);
                }
                _ => {}
            }
        }
        reader.unassign().context(ReadSnafu { topic })?;
        met.sort_unstable();
        met.dedup();
        Ok((passed, met))
    }
}
