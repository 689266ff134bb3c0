//! Questions about a topic, and reading one to its end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use naru_contract::Kafka;
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use super::{Quiet, config};

/// Deadline of one question to a broker.
const ASK: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("unable to create a Kafka consumer"))]
    Create { source: KafkaError },
    #[snafu(display("unable to ask Kafka about topic {topic:?}"))]
    Ask { source: KafkaError, topic: String },
    #[snafu(display("topic {topic:?} does not exist"))]
    Missing { topic: String },
    #[snafu(display("unable to read topic {topic:?}"))]
    Read { source: KafkaError, topic: String },
    #[snafu(display("topic {topic:?} was not read to its end within {} s", within.as_secs()))]
    TooSlow { topic: String, within: Duration },
    #[snafu(display("topic {topic:?} has a transaction that was not over within {} s", within.as_secs()))]
    Unsettled { topic: String, within: Duration },
    #[snafu(display("the worker is to stop"))]
    Stopping,
}

/// How many partitions `topic` has.
pub fn partition_count<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str) -> Result<i32, Error> {
    count(consumer.client(), topic)
}

pub(super) fn count<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<i32, Error> {
    let metadata = client
        .fetch_metadata(Some(topic), ASK)
        .context(AskSnafu { topic })?;
    let partitions = metadata
        .topics()
        .first()
        .map_or(0, |found| found.partitions().len());
    ensure!(partitions > 0, MissingSnafu { topic });
    i32::try_from(partitions).ok().context(MissingSnafu { topic })
}

/// First offset that each of `partitions` still has.
pub fn log_starts<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
) -> Result<Vec<i64>, Error> {
    offsets(consumer, topic, partitions, Offset::Beginning)
}

/// Last stable offset of each of `partitions`: where a `read_committed` reader ends.
pub fn stable_ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
) -> Result<Vec<i64>, Error> {
    offsets(consumer, topic, partitions, Offset::End)
}

/// Offset of the first record of `partition` whose timestamp is `millis` since the epoch or later; `None` if there
/// is none.
pub fn first_since<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    millis: i64,
) -> Result<Option<i64>, Error> {
    let mut asked = TopicPartitionList::new();
    asked
        .add_partition_offset(topic, partition, Offset::Offset(millis))
        .context(AskSnafu { topic })?;
    let answered = consumer
        .offsets_for_times(asked, ASK)
        .context(AskSnafu { topic })?;
    let found = answered
        .find_partition(topic, partition)
        .context(MissingSnafu { topic })?;
    found.error().context(AskSnafu { topic })?;
    match found.offset() {
        Offset::Offset(offset) => Ok(Some(offset)),
        _ => Ok(None),
    }
}

/// A consumer in no group, for the questions above.
pub fn reader(kafka: &Kafka) -> Result<BaseConsumer<Quiet>, Error> {
    config::reader(kafka)
        .create_with_context(Quiet)
        .context(CreateSnafu)
}

/// Shows `visit` every committed record of `topic`, in order within each partition, up to the last stable offsets
/// of the moment; `within` bounds the whole.
pub fn read_to_end(
    kafka: &Kafka,
    topic: &str,
    within: Duration,
    visit: impl FnMut(&BorrowedMessage<'_>),
) -> Result<(), Error> {
    let consumer = reader(kafka)?;
    let partitions = partitions(&consumer, topic)?;
    read(&consumer, topic, &partitions, within, || true, visit)
}

/// As [`read_to_end`], but not before the transactions that are under way now are over: one that is open hides what
/// was committed behind its first record. `goes_on` is asked several times a second; false ends it.
#[expect(
    clippy::disallowed_methods,
    reason = "a pause between two questions, within a deadline"
)]
pub fn read_settled(
    kafka: &Kafka,
    topic: &str,
    within: Duration,
    mut goes_on: impl FnMut() -> bool,
    visit: impl FnMut(&BorrowedMessage<'_>),
) -> Result<(), Error> {
    let started = Instant::now();
    let consumer = reader(kafka)?;
    let partitions = partitions(&consumer, topic)?;
    let all: BaseConsumer<Quiet> = config::reader(kafka)
        .set("isolation.level", "read_uncommitted")
        .create_with_context(Quiet)
        .context(CreateSnafu)?;
    let ends = offsets(&all, topic, &partitions, Offset::End)?;
    while stable_ends(&consumer, topic, &partitions)?
        .iter()
        .zip(&ends)
        .any(|(stable, end)| stable < end)
    {
        ensure!(goes_on(), StoppingSnafu);
        ensure!(started.elapsed() < within, UnsettledSnafu { topic, within });
        std::thread::sleep(PAUSE);
    }
    let left = within.saturating_sub(started.elapsed());
    read(&consumer, topic, &partitions, left, goes_on, visit)
}

fn partitions<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str) -> Result<Vec<i32>, Error> {
    Ok((0..partition_count(consumer, topic)?).collect())
}

fn read(
    consumer: &BaseConsumer<Quiet>,
    topic: &str,
    partitions: &[i32],
    within: Duration,
    mut goes_on: impl FnMut() -> bool,
    mut visit: impl FnMut(&BorrowedMessage<'_>),
) -> Result<(), Error> {
    let deadline = Instant::now() + within;
    let mut assignment = TopicPartitionList::new();
    for (partition, start) in partitions.iter().zip(log_starts(consumer, topic, partitions)?) {
        assignment
            .add_partition_offset(topic, *partition, Offset::Offset(start))
            .context(ReadSnafu { topic })?;
    }
    consumer.assign(&assignment).context(ReadSnafu { topic })?;
    let mut unfinished = partitions.iter().copied().collect::<BTreeSet<_>>();
    while !unfinished.is_empty() {
        ensure!(goes_on(), StoppingSnafu);
        ensure!(Instant::now() < deadline, TooSlowSnafu { topic, within });
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => visit(&message),
            // The end of a partition is its last stable offset, since the consumer is read_committed.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unfinished.remove(&partition);
            }
            Some(Err(source @ KafkaError::MessageConsumptionFatal(_))) => {
                return Err(source).context(ReadSnafu { topic });
            }
            Some(Err(error)) => tracing::debug!(topic, %error, "waiting for Kafka"),
        }
    }
    Ok(())
}

/// Asks until the deadline: a broker that has just come back knows its partitions' leaders only after a while.
#[expect(
    clippy::disallowed_methods,
    reason = "a pause between two questions, within a deadline"
)]
fn offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    which: Offset,
) -> Result<Vec<i64>, Error> {
    let deadline = Instant::now() + ASK;
    loop {
        match ask_offsets(consumer, topic, partitions, which) {
            Err(error) if Instant::now() < deadline => {
                tracing::debug!(topic, error = %crate::run::chain(&error), "asking again for offsets");
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

fn ask_offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    which: Offset,
) -> Result<Vec<i64>, Error> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked
            .add_partition_offset(topic, *partition, which)
            .context(AskSnafu { topic })?;
    }
    let answered = consumer
        .offsets_for_times(asked, ASK)
        .context(AskSnafu { topic })?;
    partitions
        .iter()
        .map(|partition| {
            let found = answered
                .find_partition(topic, *partition)
                .context(MissingSnafu { topic })?;
            found.error().context(AskSnafu { topic })?;
            match found.offset() {
                Offset::Offset(offset) => Ok(offset),
                _ => MissingSnafu { topic }.fail(),
            }
        })
        .collect()
}
