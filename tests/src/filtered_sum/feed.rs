//! Writes items, poison and tombstones, with schemas that change, in transactions of which some are aborted.

#![allow(clippy::unwrap_used, reason = "a module of tests")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, types::Value};
use naru_contract::{Kafka, Registry};
use naru_worker_core::avro::{registry, wire};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::check::Fact;
use super::worker::block_on;
use super::{INPUT, LIMIT};
use crate::loopback::Consumed;

const WITHIN: Duration = Duration::from_secs(10);

const ITEM: &str = r#"{"type": "record", "name": "Item", "fields": [
    {"name": "id", "type": "long"},
    {"name": "price", "type": ["null", "long"], "default": null},
    {"name": "region", "type": "string"}]}"#;
/// As a later version has it: fields that moved, and one that is new.
const MOVED: &str = r#"{"type": "record", "name": "Item", "fields": [
    {"name": "region", "type": "string"},
    {"name": "note", "type": "string", "default": ""},
    {"name": "price", "type": "long"},
    {"name": "id", "type": "long"}]}"#;
const WITHOUT_PRICE: &str = r#"{"type": "record", "name": "Item", "fields": [
    {"name": "id", "type": "long"}, {"name": "region", "type": "string"}]}"#;
const FRACTIONAL: &str = r#"{"type": "record", "name": "Item", "fields": [
    {"name": "id", "type": "long"}, {"name": "price", "type": "double"}, {"name": "region", "type": "string"}]}"#;

/// Prices with digits behind the point, as three kinds of producers write them.
const DECIMAL: &str = r#"{"type": "record", "name": "Item", "fields": [
    {"name": "id", "type": "long"},
    {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}]},
    {"name": "region", "type": "string"}]}"#;
const FIXED: &str = r#"{"type": "record", "name": "Item", "fields": [
    {"name": "id", "type": "long"},
    {"name": "price", "type": {"type": "fixed", "name": "Price", "size": 12, "logicalType": "decimal", "precision": 24, "scale": 4}},
    {"name": "region", "type": "string"}]}"#;

const REGIONS: [&str; 4] = ["Seoul", "Busan", "Jeju", "Daegu"];
/// At the limit and around it, and where 64 bits end.
const EDGES: [i64; 6] = [LIMIT, LIMIT + 1, LIMIT - 1, 0, i64::MIN, i64::MAX];

pub struct Feed {
    config: ClientConfig,
    producer: BaseProducer,
    schemas: BTreeMap<&'static str, (u32, Schema)>,
    random: StdRng,
    next: i64,
}

impl Feed {
    pub fn new(kafka: &Kafka, registry: &Registry, seed: u64) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &kafka.bootstrap_servers)
            .set("transactional.id", format!("feed-{seed}"))
            .set("linger.ms", "0");
        let registry = block_on(async { registry::Registry::new(registry).unwrap() });
        let schemas = [ITEM, MOVED, WITHOUT_PRICE, FRACTIONAL, DECIMAL, FIXED]
            .into_iter()
            .enumerate()
            .map(|(index, text)| {
                let id = block_on(registry.register(&format!("items-{index}"), text)).unwrap();
                (text, (id, Schema::parse_str(text).unwrap()))
            });
        Self {
            producer: open(&config).unwrap(),
            config,
            schemas: schemas.collect(),
            random: StdRng::seed_from_u64(seed),
            next: 0,
        }
    }

    /// After an error: whether what was last written is committed is known only from the topic.
    pub fn reopen(&mut self) -> KafkaResult<()> {
        self.producer = open(&self.config)?;
        Ok(())
    }

    /// One transaction with some records for each of `partitions`.
    pub fn batch(&mut self, partitions: &[i32], records: usize) {
        self.try_batch(partitions, records).unwrap();
    }

    /// The same; how many records were committed, which is none when the transaction was to be aborted.
    pub fn try_batch(&mut self, partitions: &[i32], records: usize) -> KafkaResult<usize> {
        self.producer.begin_transaction()?;
        for _ in 0..records {
            let partition = partitions[self.random.random_range(0..partitions.len())];
            let (fact, value) = self.item();
            self.send(partition, &fact, value.as_deref())?;
        }
        let is_aborted = self.random.random_ratio(1, 10);
        self.end(is_aborted)?;
        Ok(if is_aborted { 0 } else { records })
    }

    /// One transaction, perhaps an aborted one, of records with one of so many keys, of which each has its partition: items,
    /// tombstones, and now and then something that cannot be summed, or no key, or one that is too long.
    pub fn keyed_batch(&mut self, keys: u32, records: usize) {
        self.producer.begin_transaction().unwrap();
        for _ in 0..records {
            let key = self.random.random_range(0..keys);
            let partition = i32::try_from(key % 3).unwrap();
            let (_, value) = self.item();
            let value = value.filter(|_| self.random.random_ratio(4, 5));
            let key = match self.random.random_range(0..100) {
                0 => None,
                1 => Some(vec![b'x'; 1025]),
                _ => Some(format!("key {key}").into_bytes()),
            };
            self.put(partition, key.as_deref(), value.as_deref()).unwrap();
        }
        let is_aborted = self.random.random_ratio(1, 10);
        self.end(is_aborted).unwrap();
    }

    /// One committed item for each of so many keys, all in one partition.
    pub fn keyed_prices(&mut self, partition: i32, keys: u32, price: i64) {
        self.producer.begin_transaction().unwrap();
        for key in 0..keys {
            let value = self.encode(ITEM, &nullable(price), REGIONS[0]);
            let key = format!("price {key}").into_bytes();
            self.put(partition, Some(&key), Some(&value)).unwrap();
        }
        self.end(false).unwrap();
    }

    /// What a record with a key is to a sum with this limit, by reading it as a whole.
    pub fn fact(&self, record: &Consumed, limit: i64) -> Fact {
        if record.key.as_ref().is_none_or(|key| key.len() > 1024) {
            return Fact::Dead;
        }
        let Some(value) = &record.value else {
            return Fact::Drop;
        };
        let Some(Value::Record(fields)) = self.read(value) else {
            return Fact::Dead;
        };
        let field = |name: &str| {
            let (_, value) = fields.iter().find(|(field, _)| field == name)?;
            match value {
                Value::Union(_, value) => Some(&**value),
                value => Some(value),
            }
        };
        // A text that ends too early is null to the library, though it cannot be.
        let Some(Value::String(group)) = field("region").cloned() else {
            return Fact::Dead;
        };
        match field("price") {
            Some(Value::Null) => Fact::Null { group },
            Some(Value::Long(value)) if *value > limit => Fact::Drop,
            Some(Value::Long(value)) => Fact::Sum { group, value: *value },
            _ => Fact::Dead,
        }
    }

    fn read(&self, value: &[u8]) -> Option<Value> {
        let (found, mut datum) = wire::decode(value).ok()?;
        let (_, schema) = self.schemas.values().find(|(id, _)| *id == found)?;
        let reader = GenericDatumReader::builder(schema).build().unwrap();
        let read = reader.read_value(&mut datum).ok()?;
        datum.is_empty().then_some(read)
    }

    /// One committed item.
    pub fn price(&mut self, partition: i32, price: i64) {
        self.price_in(REGIONS[0], partition, price);
    }

    /// One committed item of a region.
    pub fn price_in(&mut self, region: &str, partition: i32, price: i64) {
        let value = self.encode(ITEM, &nullable(price), region);
        self.one(partition, &judge(price, region), &value).unwrap();
    }

    /// One committed item with a price in cents, as a decimal of two digits behind the point or of four, by a sum with two.
    pub fn cents(&mut self, partition: i32, cents: i64, has_four_digits: bool) {
        let fact = match cents <= 100 * LIMIT {
            true => Fact::Sum {
                group: REGIONS[0].to_owned(),
                value: cents,
            },
            false => Fact::Drop,
        };
        self.hundredths(partition, &fact, i128::from(cents) * 100, has_four_digits);
    }

    /// One committed item with a price in hundredths of a cent that do not make a cent, which such a sum has no room for.
    pub fn less_than_a_cent(&mut self, partition: i32, hundredths: i64) {
        self.hundredths(partition, &Fact::Dead, i128::from(hundredths), true);
    }

    fn hundredths(&mut self, partition: i32, fact: &Fact, hundredths: i128, has_four_digits: bool) {
        let value = if has_four_digits {
            let bytes = &hundredths.to_be_bytes()[4..];
            self.encode(FIXED, &Value::Decimal(bytes.into()), REGIONS[0])
        } else {
            let number = Value::Decimal((hundredths / 100).to_be_bytes().into());
            self.encode(DECIMAL, &Value::Union(1, Box::new(number)), REGIONS[0])
        };
        self.one(partition, fact, &value).unwrap();
    }

    /// One committed item with a price that is a double, and so many cents to a sum that rounds floats.
    pub fn double(&mut self, partition: i32, price: f64, cents: i64) {
        let group = REGIONS[0].to_owned();
        let fact = Fact::Sum { group, value: cents };
        let value = self.encode(FRACTIONAL, &Value::Double(price), REGIONS[0]);
        self.one(partition, &fact, &value).unwrap();
    }

    /// One committed item whose schema is registered later than it: the answer does so.
    pub fn price_ahead_of_its_schema(
        &mut self,
        partition: i32,
        price: i64,
        registry: &Registry,
    ) -> impl FnOnce() + use<> {
        let registry = block_on(async { registry::Registry::new(registry).unwrap() });
        let before = ITEM.replace("\"Item\"", "\"Before\"");
        let next_id = 1 + block_on(registry.register("before", &before)).unwrap();
        let mut value = self.encode(ITEM, &nullable(price), REGIONS[0]);
        value[1..5].copy_from_slice(&next_id.to_be_bytes());
        self.one(partition, &judge(price, REGIONS[0]), &value).unwrap();
        move || {
            let later = ITEM.replace("\"Item\"", "\"Later\"");
            let registered = block_on(registry.register("later", &later)).unwrap();
            assert_eq!(registered, next_id);
        }
    }

    /// One committed item whose schema has no price.
    pub fn without_price(&mut self, partition: i32) {
        let value = self.encode(WITHOUT_PRICE, &Value::Null, REGIONS[0]);
        self.one(partition, &Fact::Dead, &value).unwrap();
    }

    fn one(&mut self, partition: i32, fact: &Fact, value: &[u8]) -> KafkaResult<()> {
        self.producer.begin_transaction()?;
        self.send(partition, fact, Some(value))?;
        self.end(false)
    }

    fn send(&self, partition: i32, fact: &Fact, value: Option<&[u8]>) -> KafkaResult<()> {
        self.put(partition, Some(fact.to_key().as_bytes()), value)
    }

    fn put(&self, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> KafkaResult<()> {
        let mut record = BaseRecord::<[u8], [u8]>::to(INPUT).partition(partition);
        (record.key, record.payload) = (key, value);
        self.producer.send(record).map_err(|(error, _)| error)
    }

    fn end(&self, is_aborted: bool) -> KafkaResult<()> {
        let deadline = Instant::now() + WITHIN;
        // The library's own flush takes 100 ms.
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            self.producer.poll(Duration::from_millis(1));
        }
        if is_aborted {
            self.producer.abort_transaction(WITHIN)
        } else {
            self.producer.commit_transaction(WITHIN)
        }
    }

    /// What is to be expected of it, and a value: mostly items, sometimes something else.
    fn item(&mut self) -> (Fact, Option<Vec<u8>>) {
        let region = REGIONS[self.random.random_range(0..REGIONS.len())];
        match self.random.random_range(0..200) {
            0 => (Fact::Dead, Some(b"{\"price\": 5}".to_vec())),
            1 => (Fact::Dead, Some(wire::encode(4_000_000, &[2, 0]))),
            2 => {
                let whole = self.encode(ITEM, &nullable(1), region);
                (Fact::Dead, Some(whole[..whole.len() - 1].to_vec()))
            }
            3 => (Fact::Dead, Some(self.encode(WITHOUT_PRICE, &Value::Null, region))),
            4 => (
                Fact::Dead,
                Some(self.encode(FRACTIONAL, &Value::Double(5.5), region)),
            ),
            5 => (Fact::Drop, None),
            6..10 => {
                let null = Value::Union(0, Box::new(Value::Null));
                let group = region.to_owned();
                (Fact::Null { group }, Some(self.encode(ITEM, &null, region)))
            }
            10..20 => {
                let price = EDGES[self.random.random_range(0..EDGES.len())];
                (
                    judge(price, region),
                    Some(self.encode(ITEM, &nullable(price), region)),
                )
            }
            20..60 => {
                let price = self.random.random_range(-10..3 * LIMIT);
                (
                    judge(price, region),
                    Some(self.encode(MOVED, &Value::Long(price), region)),
                )
            }
            _ => {
                let price = self.random.random_range(-10..3 * LIMIT);
                (
                    judge(price, region),
                    Some(self.encode(ITEM, &nullable(price), region)),
                )
            }
        }
    }

    fn encode(&mut self, text: &'static str, price: &Value, region: &str) -> Vec<u8> {
        self.next += 1;
        let (id, schema) = &self.schemas[text];
        let Schema::Record(record) = schema else {
            unreachable!()
        };
        let fields = record.fields.iter().map(|field| {
            let value = match field.name.as_str() {
                "id" => Value::Long(self.next),
                "price" => price.clone(),
                "region" => Value::String(region.to_owned()),
                _ => Value::String(String::new()),
            };
            (field.name.clone(), value)
        });
        let datum = GenericDatumWriter::builder(schema).build().unwrap();
        wire::encode(
            *id,
            &datum.write_value_to_vec(Value::Record(fields.collect())).unwrap(),
        )
    }
}

fn open(config: &ClientConfig) -> KafkaResult<BaseProducer> {
    let producer: BaseProducer = config.create()?;
    producer.init_transactions(2 * WITHIN)?;
    Ok(producer)
}

fn nullable(price: i64) -> Value {
    Value::Union(1, Box::new(Value::Long(price)))
}

fn judge(price: i64, region: &str) -> Fact {
    if price <= LIMIT {
        let group = region.to_owned();
        Fact::Sum { group, value: price }
    } else {
        Fact::Drop
    }
}
