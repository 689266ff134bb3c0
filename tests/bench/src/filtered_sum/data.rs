//! The records that all programs of a run read, and what their sums are.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};
use rdkafka::{
    ClientConfig,
    error::RDKafkaErrorCode,
    producer::{BaseProducer, BaseRecord, Producer},
};
use snafu::ResultExt;

use super::error::Error;

pub(crate) const PARTITIONS: i32 = 3;
/// Records with a higher price are dropped: two of three.
pub(crate) const LIMIT: i64 = 1_000_000;
const HIGHEST: i64 = 3_000_000;
const WITHIN: Duration = Duration::from_secs(60);

pub(crate) const SCHEMA: &str = r#"{"type": "record", "name": "Item", "namespace": "dev.naru.bench", "fields": [
    {"name": "productSeq", "type": "long"},
    {"name": "title", "type": "string"},
    {"name": "price", "type": "long"},
    {"name": "category", "type": {"type": "array", "items": "string"}},
    {"name": "sortDate", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;

/// What a partition's sum must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) count: i64,
    pub(crate) sum: i128,
}

/// Items in Confluent's framing, by number. Always the same ones.
pub(crate) struct Items {
    schema_id: u32,
    random: StdRng,
    next: i64,
    /// One title for each product, or one of so many.
    titles: Option<i64>,
}

impl Items {
    pub(crate) fn new(schema_id: u32) -> Self {
        Self {
            schema_id,
            random: StdRng::seed_from_u64(1),
            next: 0,
            titles: None,
        }
    }

    /// The same with so many different titles, of which each is in one partition only.
    pub(crate) fn with_titles(self, titles: i64) -> Self {
        Self {
            titles: Some(titles),
            ..self
        }
    }

    /// Writes the next item over `bytes`; its price.
    pub(crate) fn next(&mut self, bytes: &mut Vec<u8>) -> i64 {
        let price = self.random.random_range(0..HIGHEST);
        let number = self.next;
        self.next += 1;
        let title = self.titles.map_or(number, |titles| number % titles);
        bytes.clear();
        bytes.push(0);
        bytes.extend(self.schema_id.to_be_bytes());
        long(bytes, 100_000_000 + number);
        string(bytes, &format!("a road bicycle, hardly used, number {title}"));
        long(bytes, price);
        long(bytes, 4);
        for category in ["sports", "bicycle", "road", "used"] {
            string(bytes, category);
        }
        long(bytes, 0);
        long(bytes, 1_790_000_000_000 + number);
        price
    }
}

fn long(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned();
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap_or(0));
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    long(bytes, i64::try_from(text.len()).unwrap_or(0));
    bytes.extend(text.as_bytes());
}

/// Writes `records` items in turn to the partitions of `topic`; the sum of each.
pub(crate) fn write(
    servers: &str,
    topic: &str,
    mut items: Items,
    records: u64,
) -> Result<[Sum; PARTITIONS as usize], Error> {
    let producer = producer(servers, 50)?;
    let mut sums = [Sum::default(); PARTITIONS as usize];
    let mut value = Vec::new();
    for partition in (0..PARTITIONS)
        .cycle()
        .take(usize::try_from(records).unwrap_or(usize::MAX))
    {
        let price = items.next(&mut value);
        let deadline = Instant::now() + WITHIN;
        let mut record = BaseRecord::<[u8], [u8]>::to(topic)
            .partition(partition)
            .payload(&value);
        while let Err((error, refused)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) || Instant::now() > deadline {
                return Err(error).whatever_context("unable to write the records");
            }
            record = refused;
            producer.poll(Duration::from_millis(10));
        }
        if price <= LIMIT {
            let sum = &mut sums[usize::try_from(partition).unwrap_or(0)];
            sum.count += 1;
            sum.sum += i128::from(price);
        }
    }
    producer
        .flush(WITHIN)
        .whatever_context("unable to write the records")?;
    Ok(sums)
}

/// A producer of batches of up to a thousand records.
pub(crate) fn producer(servers: &str, linger_ms: u64) -> Result<BaseProducer, Error> {
    ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("linger.ms", linger_ms.to_string())
        .set("batch.num.messages", "1000")
        .set("queue.buffering.max.messages", "200000")
        .set("enable.idempotence", "true")
        .create()
        .whatever_context("unable to create a producer")
}

#[cfg(test)]
mod tests {
    use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};

    use super::*;

    #[test]
    fn an_item_is_a_record_of_its_schema_and_has_its_price() {
        let schema = Schema::parse_str(SCHEMA).unwrap();
        let mut items = Items::new(7);
        let mut bytes = Vec::new();
        for number in 0..1000 {
            let price = items.next(&mut bytes);
            assert_eq!(bytes[..5], [0, 0, 0, 0, 7]);
            let mut datum = &bytes[5..];
            let reader = GenericDatumReader::builder(&schema).build().unwrap();
            let Value::Record(fields) = reader.read_value(&mut datum).unwrap() else {
                panic!("no record");
            };
            assert!(datum.is_empty());
            assert_eq!(fields[0].1, Value::Long(100_000_000 + number));
            assert_eq!(fields[2].1, Value::Long(price));
            assert!((80..110).contains(&bytes.len()), "{}", bytes.len());
        }
    }
}
