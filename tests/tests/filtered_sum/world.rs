//! Kafka, a registry, a topic of items and workers that sum their prices.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a module of tests")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, types::Value};
use naru_contract::FilteredSumWorker;
use naru_tests::fragile_registry::FragileRegistry;
use naru_tests::loopback::{Kafka, Process, Registry, eventually, free_port};
use naru_worker_core::avro::{registry, wire};
use naru_worker_core::kafka::topic;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use crate::verify::{Fact, Row, Truth, check};

pub const INPUT: &str = "items";
pub const OUTPUT: &str = "items.total";
pub const DEAD: &str = "items.total.dead";
pub const GROUP: &str = "sum";
pub const LIMIT: i64 = 1_000_000;

const ITEM: &str = r#"{"type": "record", "name": "Item", "fields": [
    {"name": "id", "type": "long"},
    {"name": "price", "type": ["null", "long"], "default": null},
    {"name": "region", "type": "string"}]}"#;
const WITHOUT_PRICE: &str = r#"{"type": "record", "name": "Item", "fields": [
    {"name": "id", "type": "long"}, {"name": "region", "type": "string"}]}"#;
const FRACTIONAL: &str = r#"{"type": "record", "name": "Item", "fields": [
    {"name": "id", "type": "long"}, {"name": "price", "type": "double"}, {"name": "region", "type": "string"}]}"#;

pub struct World {
    pub kafka: Kafka,
    _registry: Option<Registry>,
    pub config: FilteredSumWorker,
    folder: TempDir,
}

/// A worker process and where it can be asked how it is.
pub struct Worker {
    pub name: String,
    pub process: Process,
    port: u16,
}

impl Worker {
    /// Status and body of GET `path`; `None` when nothing answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(2))
            .build()
            .unwrap();
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        block_on(async {
            let response = client.get(url).send().await.ok()?;
            Some((response.status().as_u16(), response.text().await.ok()?))
        })
    }

    /// The value of a metric, without its prefix.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics")?;
        let name = format!("naru_filtered_sum_{name} ");
        text.lines()
            .find_map(|line| line.strip_prefix(&name))?
            .parse()
            .ok()
    }

    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|(status, _)| status == 200)
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

impl World {
    /// With a registry of our own, which starts at once.
    pub fn new(registry: &FragileRegistry, group_by: &[&str]) -> Self {
        Self::with(Kafka::start(), registry.contract(), group_by)
    }

    pub fn with_real_registry(group_by: &[&str]) -> Self {
        let kafka = Kafka::start();
        let registry = Registry::start(&kafka);
        let contract = registry.contract();
        Self {
            _registry: Some(registry),
            ..Self::with(kafka, contract, group_by)
        }
    }

    fn with(kafka: Kafka, registry: naru_contract::Registry, group_by: &[&str]) -> Self {
        kafka.create_topic(INPUT, 3);
        kafka.create_compacted_topic(OUTPUT, 3);
        kafka.create_topic(DEAD, 1);
        let config = FilteredSumWorker {
            name: "default/items-total".to_owned(),
            kafka: kafka.contract(),
            registry,
            group: GROUP.to_owned(),
            input_topic: INPUT.to_owned(),
            filter: Some(format!("price == null || price <= {LIMIT}")),
            field: "price".to_owned(),
            group_by: group_by.iter().map(|field| (*field).to_owned()).collect(),
            output_topic: OUTPUT.to_owned(),
            dead_letter_topic: DEAD.to_owned(),
            commit_interval_ms: 20,
        };
        Self {
            kafka,
            _registry: None,
            config,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn worker(&self, instance: &str) -> Worker {
        let path = self.folder.path().join(format!("{instance}.json"));
        std::fs::write(&path, serde_json::to_vec(&self.config).unwrap()).unwrap();
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let path = path.to_string_lossy();
        let arguments = ["--config", &path, "--instance", instance, "--listen", &listen];
        Worker {
            name: instance.to_owned(),
            process: Process::worker("naru-filtered-sum", &arguments),
            port,
        }
    }

    /// How many records the output topic has, markers of transactions included.
    pub fn written(&self) -> i64 {
        let consumer = topic::reader(&self.kafka.contract()).unwrap();
        let partitions = [0, 1, 2];
        topic::stable_ends(&consumer, OUTPUT, &partitions)
            .unwrap()
            .into_iter()
            .sum()
    }

    /// How far the group is behind the last stable offsets.
    pub fn lag(&self) -> i64 {
        let consumer = topic::reader(&self.kafka.contract()).unwrap();
        let ends: i64 = topic::stable_ends(&consumer, INPUT, &[0, 1, 2])
            .unwrap()
            .into_iter()
            .sum();
        ends - self.committed().values().sum::<i64>()
    }

    pub fn rows(&self) -> Vec<Row> {
        let schema = Schema::parse_str(include_str!("../../../workers/filtered-sum/src/total.avsc")).unwrap();
        self.kafka
            .read_committed(OUTPUT)
            .iter()
            .map(|record| Row::read(&schema, record))
            .collect()
    }

    /// The newest record of an id.
    pub fn total(&self, id: &str) -> Option<Row> {
        self.rows().into_iter().rfind(|row| row.id == id)
    }

    pub fn truth(&self) -> Truth {
        Truth::of(
            &self.kafka.read_committed(INPUT),
            !self.config.group_by.is_empty(),
        )
    }

    pub fn committed(&self) -> BTreeMap<i32, i64> {
        let partitions = 0..3;
        partitions
            .filter_map(|p| Some((p, self.kafka.committed(GROUP, INPUT, p)?.0)))
            .collect()
    }

    /// How long after each record of `partition` was written the first overall total was that covers it, ms.
    pub fn delays(&self, partition: i32) -> Vec<i64> {
        let times = |topic: &str| {
            let mut times = BTreeMap::new();
            topic::read_to_end(
                &self.kafka.contract(),
                topic,
                Duration::from_secs(30),
                |message| {
                    times.insert(
                        (message.partition(), message.offset()),
                        message.timestamp().to_millis().unwrap(),
                    );
                },
            )
            .unwrap();
            times
        };
        let (input, output, rows) = (times(INPUT), times(OUTPUT), self.rows());
        let mut delays = Vec::new();
        for ((_, offset), written) in input.iter().filter(|((found, _), _)| *found == partition) {
            let covers = |row: &&Row| {
                row.offsets
                    .as_ref()
                    .is_some_and(|offsets| offsets[&partition] > *offset)
            };
            delays.extend(rows.iter().find(covers).map(|row| output[&row.at] - written));
        }
        delays
    }

    /// Waits until the overall total covers the whole input, and checks all that was ever written.
    pub fn check(&self, within: Duration) -> (Truth, usize) {
        let truth = self.truth();
        eventually(within, "the overall total covers the whole input", || {
            let offsets = self
                .total("total")
                .and_then(|row| row.offsets)
                .unwrap_or_default();
            truth
                .ends
                .iter()
                .all(|(partition, end)| offsets.get(partition) >= Some(end))
        });
        let rows = self.rows();
        if let Err(wrong) = check(&truth, &rows, &self.committed()) {
            unreachable!("{wrong}");
        }
        self.check_dead_letters(&truth);
        (truth, rows.len())
    }

    /// Every record that cannot be summed is there once, as it was, and says why.
    fn check_dead_letters(&self, truth: &Truth) {
        let mut letters = Vec::new();
        topic::read_to_end(&self.kafka.contract(), DEAD, Duration::from_secs(30), |message| {
            let header = |name: &str| {
                let mut headers = message.headers().into_iter().flat_map(Headers::iter);
                let value = headers
                    .find(|header| header.key == name)
                    .and_then(|header| header.value);
                String::from_utf8(value.unwrap().to_vec()).unwrap()
            };
            assert_eq!(header("topic"), INPUT);
            assert!(!header("reason").is_empty());
            let at = (
                header("partition").parse::<i32>().unwrap(),
                header("offset").parse::<i64>().unwrap(),
            );
            letters.push((at, message.payload().map(<[u8]>::to_vec)));
        })
        .unwrap();
        letters.sort();
        let found = letters.iter().map(|(at, _)| *at).collect::<Vec<_>>();
        assert_eq!(
            found,
            truth.dead.iter().copied().collect::<Vec<_>>(),
            "each dead letter once"
        );
        let input = self.kafka.read_committed(INPUT);
        let values = input
            .iter()
            .map(|record| ((record.partition, record.offset), &record.value));
        let values = values.collect::<BTreeMap<_, _>>();
        assert!(
            letters.iter().all(|(at, value)| values[at] == value),
            "dead letters are as they were"
        );
    }

    /// Sets an offset of the group, which must have no members, as an administrator would.
    pub fn set_offset(&self, partition: i32, offset: i64) {
        self.kafka.commit(GROUP, INPUT, partition, (offset, ""));
    }

    /// Writes a total into the second partition of the output as the sum of another group does.
    pub fn write_total_of(&self, group: &str) {
        let written = self.kafka.read_committed(OUTPUT);
        let total = written.iter().find(|record| record.partition == 0).unwrap();
        let sum = format!(
            r#"v1 {{"group":"{group}","inputTopic":"{INPUT}","filter":null,"field":"price","groupBy":[]}}"#
        );
        let headers = OwnedHeaders::new().insert(Header {
            key: "sum",
            value: Some(&sum),
        });
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.kafka.address())
            .create()
            .unwrap();
        let record = BaseRecord::to(OUTPUT).partition(1).headers(headers);
        let (key, value) = (total.key.as_ref().unwrap(), total.value.as_ref().unwrap());
        producer.send(record.key(key).payload(value)).unwrap();
        producer.flush(Duration::from_secs(20)).unwrap();
    }

    pub fn feed(&self, seed: u64) -> Feed {
        Feed::new(self, seed)
    }
}

/// Writes items and poison, in transactions of which some are aborted.
pub struct Feed {
    producer: BaseProducer,
    schemas: BTreeMap<&'static str, (u32, Schema)>,
    random: StdRng,
    next: i64,
}

impl Feed {
    fn new(world: &World, seed: u64) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", world.kafka.address())
            .set("transactional.id", format!("feed-{seed}"))
            .set("linger.ms", "0")
            .create()
            .unwrap();
        producer.init_transactions(Duration::from_secs(20)).unwrap();
        let registry = block_on(async { registry::Registry::new(&world.config.registry).unwrap() });
        let schemas = [ITEM, WITHOUT_PRICE, FRACTIONAL]
            .into_iter()
            .enumerate()
            .map(|(index, text)| {
                let id = block_on(registry.register(&format!("items-{index}"), text)).unwrap();
                (text, (id, Schema::parse_str(text).unwrap()))
            });
        Self {
            producer,
            schemas: schemas.collect(),
            random: StdRng::seed_from_u64(seed),
            next: 0,
        }
    }

    /// One transaction with some records for each of `partitions`.
    pub fn batch(&mut self, partitions: &[i32], records: usize) {
        self.producer.begin_transaction().unwrap();
        for _ in 0..records {
            let partition = partitions[self.random.random_range(0..partitions.len())];
            let (fact, value) = self.item();
            self.send(partition, &fact, value.as_deref());
        }
        let is_aborted = self.random.random_ratio(1, 10);
        self.end(is_aborted);
    }

    /// One committed item.
    pub fn price(&mut self, partition: i32, price: i64) {
        let region = "Seoul".to_owned();
        let value = self.encode(ITEM, Some(Value::Union(1, Box::new(Value::Long(price)))), &region);
        let fact = if price <= LIMIT {
            Fact::Sum {
                group: region,
                value: price,
            }
        } else {
            Fact::Drop
        };
        self.one(partition, &fact, &value);
    }

    /// One committed item whose schema has no price.
    pub fn without_price(&mut self, partition: i32) {
        let value = self.encode(WITHOUT_PRICE, None, "Seoul");
        self.one(partition, &Fact::Dead, &value);
    }

    fn one(&mut self, partition: i32, fact: &Fact, value: &[u8]) {
        self.producer.begin_transaction().unwrap();
        self.send(partition, fact, Some(value));
        self.end(false);
    }

    fn send(&self, partition: i32, fact: &Fact, value: Option<&[u8]>) {
        let key = fact.to_key();
        let mut record = BaseRecord::<str, [u8]>::to(INPUT).key(&key).partition(partition);
        record.payload = value;
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    fn end(&self, is_aborted: bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.producer.in_flight_count() > 0 {
            assert!(Instant::now() < deadline, "the feed is not delivered");
            self.producer.poll(Duration::from_millis(1));
        }
        let timeout = Duration::from_secs(10);
        if is_aborted {
            self.producer.abort_transaction(timeout).unwrap();
        } else {
            self.producer.commit_transaction(timeout).unwrap();
        }
    }

    /// What is to be expected of it, and a value: mostly items, sometimes something else.
    fn item(&mut self) -> (Fact, Option<Vec<u8>>) {
        let region = ["Seoul", "Busan", "Jeju", "Daegu"][self.random.random_range(0..4)].to_owned();
        let long = |price| Some(Value::Union(1, Box::new(Value::Long(price))));
        match self.random.random_range(0..200) {
            0 => (Fact::Dead, Some(b"{\"price\": 5}".to_vec())),
            1 => (Fact::Dead, Some(wire::encode(4_000_000, &[2, 0]))),
            2 => {
                let whole = self.encode(ITEM, long(1), &region);
                (Fact::Dead, Some(whole[..whole.len() - 1].to_vec()))
            }
            3 => (Fact::Dead, Some(self.encode(WITHOUT_PRICE, None, &region))),
            4 => (
                Fact::Dead,
                Some(self.encode(FRACTIONAL, Some(Value::Double(5.5)), &region)),
            ),
            5 => (Fact::Drop, None),
            6..10 => {
                let null = Some(Value::Union(0, Box::new(Value::Null)));
                (
                    Fact::Null {
                        group: region.clone(),
                    },
                    Some(self.encode(ITEM, null, &region)),
                )
            }
            _ => {
                let price = self.random.random_range(-10..3 * LIMIT);
                let value = self.encode(ITEM, long(price), &region);
                let fact = if price <= LIMIT {
                    Fact::Sum {
                        group: region,
                        value: price,
                    }
                } else {
                    Fact::Drop
                };
                (fact, Some(value))
            }
        }
    }

    fn encode(&mut self, text: &'static str, price: Option<Value>, region: &str) -> Vec<u8> {
        self.next += 1;
        let (id, schema) = &self.schemas[text];
        let mut fields = vec![("id".to_owned(), Value::Long(self.next))];
        fields.extend(price.map(|price| ("price".to_owned(), price)));
        fields.push(("region".to_owned(), Value::String(region.to_owned())));
        let datum = GenericDatumWriter::builder(schema).build().unwrap();
        wire::encode(*id, &datum.write_value_to_vec(Value::Record(fields)).unwrap())
    }
}
