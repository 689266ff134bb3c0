//! Totals as a reader sees them that reads what is committed, at the moment it sees them.

use std::time::{Duration, Instant};

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use snafu::{OptionExt, ResultExt};

use super::{
    data::{PARTITIONS, Sum},
    error::Error,
};

/// A fetch that finds nothing is repeated after this time at the latest, so a total is seen that much too late at most.
const FETCH_WAIT_MS: &str = "5";

/// Who wrote the totals.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    Naru,
    /// One of the others.
    Text,
}

/// A total of one input partition.
pub(crate) struct Total {
    pub(crate) partition: usize,
    pub(crate) sum: Sum,
    /// It covers the records before this offset, if it says so.
    pub(crate) next_offset: Option<i64>,
}

pub(crate) struct Totals {
    consumer: BaseConsumer,
    schema: Schema,
    format: Format,
}

impl Totals {
    /// From the start of a topic that nobody has written to yet.
    pub(crate) fn open(servers: &str, topic: &str, format: Format) -> Result<Self, Error> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("group.id", "naru-bench-totals")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", FETCH_WAIT_MS)
            .create()
            .whatever_context("unable to create a consumer")?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            assignment
                .add_partition_offset(topic, partition, Offset::Offset(0))
                .whatever_context("unable to read totals")?;
        }
        consumer
            .assign(&assignment)
            .whatever_context("unable to read totals")?;
        let schema = include_str!("../../../../workers/filtered-sum/src/total.avsc");
        let schema = Schema::parse_str(schema).whatever_context("the schema of totals is broken")?;
        Ok(Self {
            consumer,
            schema,
            format,
        })
    }

    /// The next total of an input partition as a whole, and when it was seen.
    pub(crate) fn next(&self, timeout: Duration) -> Result<Option<(Total, Instant)>, Error> {
        let Some(message) = self.consumer.poll(timeout) else {
            return Ok(None);
        };
        let seen = Instant::now();
        let message = message.whatever_context("unable to read totals")?;
        let value = message.payload().unwrap_or_default();
        let total = match self.format {
            Format::Naru => self.naru(value)?,
            Format::Text => text(message.key().unwrap_or_default(), value),
        };
        Ok(total.map(|total| (total, seen)))
    }

    /// `None` for totals of groups and the overall one.
    fn naru(&self, value: &[u8]) -> Result<Option<Total>, Error> {
        let mut datum = value.get(5..).whatever_context("a total is too short")?;
        let record = GenericDatumReader::builder(&self.schema)
            .build()
            .and_then(|reader| reader.read_value(&mut datum))
            .whatever_context("a total cannot be read")?;
        let Value::Record(fields) = record else {
            return Err(Error::new("a total is no record"));
        };
        let field = |name: &str| {
            let value = fields
                .iter()
                .find(|(field, _)| field == name)
                .map(|(_, value)| value);
            value.map(|value| match value {
                Value::Union(_, value) => value,
                value => value,
            })
        };
        let (Some(Value::Int(partition)), Some(Value::Null)) = (field("partition"), field("grouping")) else {
            return Ok(None);
        };
        let (Some(Value::Long(count)), Some(Value::Decimal(sum))) = (field("count"), field("sum")) else {
            return Err(Error::new("a total has no sum"));
        };
        let bytes = Vec::<u8>::try_from(sum).whatever_context("a sum is too large")?;
        let negative = bytes.first().is_some_and(|first| *first >= 0x80);
        let start = if negative { -1 } else { 0 };
        let sum = bytes
            .iter()
            .fold(start, |sum: i128, byte| (sum << 8) | i128::from(*byte));
        Ok(Some(Total {
            partition: usize::try_from(*partition).whatever_context("a partition is negative")?,
            sum: Sum { count: *count, sum },
            next_offset: match field("nextOffset") {
                Some(Value::Long(offset)) => Some(*offset),
                _ => None,
            },
        }))
    }
}

/// The key is "partition-N", the value "count,sum".
fn text(key: &[u8], value: &[u8]) -> Option<Total> {
    let partition = std::str::from_utf8(key).ok()?.strip_prefix("partition-")?;
    let (count, sum) = std::str::from_utf8(value).ok()?.split_once(',')?;
    Some(Total {
        partition: partition.parse().ok()?,
        sum: Sum {
            count: count.parse().ok()?,
            sum: sum.parse().ok()?,
        },
        next_offset: None,
    })
}
