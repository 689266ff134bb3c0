//! Kafka, a registry, a topic of items and workers that sum their prices.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a module of tests")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use naru_contract::FilteredSumWorker;
use naru_tests::filtered_sum::check::{self, Row, Truth, check, check_each};
use naru_tests::filtered_sum::feed::Feed;
use naru_tests::filtered_sum::worker::Worker;
use naru_tests::filtered_sum::{DEAD, GROUP, INPUT, OUTPUT, config};
use naru_tests::fragile_registry::FragileRegistry;
use naru_tests::loopback::{Kafka, Registry, eventually, program};
use naru_worker_core::kafka::topic;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

pub struct World {
    pub kafka: Kafka,
    _registry: Option<Registry>,
    pub config: FilteredSumWorker,
    folder: TempDir,
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
        Self {
            config: config(kafka.contract(), registry, group_by),
            kafka,
            _registry: None,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn worker(&self, instance: &str) -> Worker {
        Worker::start(
            &program("naru-filtered-sum"),
            self.folder.path(),
            &self.config,
            instance,
        )
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
        let schema = check::schema_of_totals(self.config.keys_topic.is_some());
        self.kafka
            .read_committed(OUTPUT)
            .iter()
            .filter(|record| record.value.is_some())
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
            unreachable!("{wrong:?}");
        }
        self.check_dead_letters(&truth, false);
        (truth, rows.len())
    }

    /// The same for totals of which some were written without a transaction.
    pub fn check_upserts(&self, within: Duration) -> (Truth, usize) {
        let truth = self.truth();
        let started = Instant::now();
        loop {
            let rows = self.rows();
            let seen = match check_each(&truth, &rows) {
                Ok(seen) => seen,
                Err(wrong) => unreachable!("{wrong:?}"),
            };
            match seen.check_end(&truth, &self.committed()) {
                Ok(()) => {
                    self.check_dead_letters(&truth, true);
                    return (truth, rows.len());
                }
                Err(wrong) => assert!(started.elapsed() < within, "{wrong:?}"),
            }
        }
    }

    /// Every record that cannot be summed is there, once or at least once, as it was, and says why.
    pub fn check_dead_letters(&self, truth: &Truth, may_come_again: bool) {
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
        if may_come_again {
            letters.dedup();
        }
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

    /// Writes the first totals again that are in partition 0 of the output, as somebody would who had lost the partition
    /// before he could.
    pub fn write_late(&self) {
        let written = self
            .rows()
            .into_iter()
            .filter(|row| row.at.0 == 0 && row.partition == Some(0));
        let mut first = BTreeMap::new();
        for row in written {
            first.entry(row.key).or_insert(row.at);
        }
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.kafka.address())
            .create()
            .unwrap();
        topic::read_to_end(
            &self.kafka.contract(),
            OUTPUT,
            Duration::from_secs(30),
            |message| {
                if first
                    .values()
                    .any(|at| *at == (message.partition(), message.offset()))
                {
                    let record = BaseRecord::to(OUTPUT)
                        .partition(0)
                        .headers(message.headers().unwrap().detach())
                        .key(message.key().unwrap())
                        .payload(message.payload().unwrap());
                    producer.send(record).map_err(|(error, _)| error).unwrap();
                }
            },
        )
        .unwrap();
        producer.flush(Duration::from_secs(20)).unwrap();
        assert!(
            first.len() > 2,
            "the total of the partition and those of groups: {first:?}"
        );
    }

    pub fn feed(&self, seed: u64) -> Feed {
        Feed::new(&self.config.kafka, &self.config.registry, seed)
    }
}
