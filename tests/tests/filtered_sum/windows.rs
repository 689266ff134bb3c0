//! Sums in windows of time: every total that was ever visible is right for its offset, by a reckoning of its own, and what is over
//! goes.

#![allow(clippy::unwrap_used, reason = "a module of tests")]

#[path = "windows/truth.rs"]
mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema};
use jiff::Timestamp;
use naru_contract::{Reset, Window};
use naru_tests::filtered_sum::worker::{Worker, block_on};
use naru_tests::filtered_sum::{DEAD, INPUT, OUTPUT};
use naru_tests::fragile_registry::FragileRegistry;
use naru_tests::loopback::eventually;
use naru_worker_core::avro::{registry, wire};
use naru_worker_core::kafka::topic;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use self::truth::{Figures, State, Truth, is_gone, text};
use crate::WITHIN;
use crate::world::World;

const ITEM: &str = r#"{"type": "record", "name": "Timed", "fields": [
    {"name": "price", "type": "long"}, {"name": "region", "type": "string"},
    {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]}]}"#;
const REGIONS: [&str; 3] = ["Seoul", "Busan", "Jeju"];
const PARTITIONS: [i32; 3] = [0, 1, 2];
const DAY: i64 = 86_400_000;
/// Where yesterday began: neither so long ago that Kafka deletes what was written then, nor still to come.
static START: LazyLock<i64> = LazyLock::new(|| {
    let now = Timestamp::now().as_millisecond();
    now - now.rem_euclid(DAY) - DAY
});

/// Writes items with times. The key of each says what it is.
struct Timed {
    producer: BaseProducer,
    schema_id: u32,
}

impl Timed {
    fn new(world: &World) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", world.kafka.address())
            .set("enable.idempotence", "true")
            .create()
            .unwrap();
        let schema_id = block_on(async {
            let registry = registry::Registry::new(&world.config.registry).unwrap();
            registry.register("timed", ITEM).await.unwrap()
        });
        Self { producer, schema_id }
    }

    /// One item with this time in it, ms, and in Kafka.
    fn item(&self, partition: i32, at: Option<i64>, written: i64, region: &str, price: i64) {
        let schema = Schema::parse_str(ITEM).unwrap();
        let time = at.map_or_else(
            || Value::Union(0, Box::new(Value::Null)),
            |at| Value::Union(1, Box::new(Value::TimestampMicros(at * 1000 + 999))),
        );
        let fields = [
            ("price", Value::Long(price)),
            ("region", Value::String(region.to_owned())),
            ("at", time),
        ];
        let record = Value::Record(fields.map(|(name, value)| (name.to_owned(), value)).into());
        let datum = GenericDatumWriter::builder(&schema).build().unwrap();
        let value = wire::encode(self.schema_id, &datum.write_value_to_vec(record).unwrap());
        let at = at.map_or_else(|| "none".to_owned(), |at| at.to_string());
        let key = format!("{at} {written} {region} {price}");
        let record = BaseRecord::to(INPUT).partition(partition).timestamp(written);
        let sent = self.producer.send(record.key(&key).payload(&value));
        sent.map_err(|(error, _)| error).unwrap();
    }

    fn flush(&self) {
        self.producer.flush(WITHIN).unwrap();
    }
}

/// A record of the output topic.
struct Row {
    id: String,
    at: (i32, i64),
    fields: BTreeMap<String, Value>,
}

impl Row {
    fn value(&self, name: &str) -> Value {
        match &self.fields[name] {
            Value::Union(_, value) => (**value).clone(),
            value => value.clone(),
        }
    }

    fn long(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Value::Long(value) | Value::TimestampMillis(value) => Some(value),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    fn sum(&self, name: &str) -> Option<i128> {
        let Value::Decimal(sum) = self.value(name) else {
            return None;
        };
        let bytes = <Vec<u8>>::try_from(&sum as &Decimal).unwrap();
        Some(i128::from_be_bytes(bytes.try_into().unwrap()))
    }

    fn figures(&self) -> Figures {
        Figures {
            count: self.long("count").unwrap(),
            late: self.long("late").unwrap(),
            dead: self.long("dead").unwrap(),
            sum: self.sum("sum").unwrap(),
        }
    }

    /// Next offsets, of a partition or of all.
    fn offsets(&self) -> BTreeMap<i32, i64> {
        if let Some(next) = self.long("nextOffset") {
            return BTreeMap::from([(self.at.0, next)]);
        }
        let offsets = self.text("offsets").unwrap();
        let pairs = offsets.split(',').map(|pair| pair.split_once(':').unwrap());
        pairs
            .map(|(partition, next)| (partition.parse().unwrap(), next.parse().unwrap()))
            .collect()
    }
}

/// All that was ever visible in the output topic, and what is left of it.
fn output(world: &World) -> (Vec<Row>, BTreeMap<String, usize>) {
    let schema_of = |id| {
        block_on(async {
            let registry = registry::Registry::new(&world.config.registry).unwrap();
            registry.schema(id).await.unwrap()
        })
    };
    let mut schemas = BTreeMap::new();
    let (mut rows, mut left) = (Vec::new(), BTreeMap::new());
    let mut records = world.kafka.read_committed(OUTPUT);
    records.sort_by_key(|record| (record.partition, record.offset));
    for record in records {
        let id = String::from_utf8(record.key.unwrap()).unwrap();
        let Some(value) = record.value else {
            assert!(
                left.remove(&id).is_some(),
                "a tombstone of {id}, which is not there"
            );
            continue;
        };
        let (schema_id, datum) = wire::decode(&value).unwrap();
        let schema = schemas.entry(schema_id).or_insert_with(|| schema_of(schema_id));
        let reader = GenericDatumReader::builder(schema).build().unwrap();
        let Value::Record(fields) = reader.read_value(&mut &*datum).unwrap() else {
            unreachable!("a total is a record")
        };
        left.insert(id.clone(), rows.len());
        rows.push(Row {
            id,
            at: (record.partition, record.offset),
            fields: fields.into_iter().collect(),
        });
    }
    (rows, left)
}

/// What a row should say.
fn check(truth: &Truth, row: &Row) {
    let offsets = row.offsets();
    let states = || {
        offsets
            .iter()
            .map(|(partition, offset)| truth.at(*partition, *offset))
    };
    let watermark = states().map(|state| state.watermark).max().unwrap();
    let mut id = match row.long("nextOffset") {
        Some(_) => format!("partition-{}", row.at.0),
        None => "total".to_owned(),
    };
    let start = row.long("windowStart");
    let held = |state: &State| match start {
        None => state.all,
        Some(start) => {
            let region = row.text("grouping").unwrap();
            state.windows.get(&(start, region)).copied().unwrap_or_default()
        }
    };
    assert_eq!(
        row.figures(),
        states().map(held).fold(Figures::default(), Figures::plus),
        "{} at {offsets:?}",
        row.id
    );
    if let Some(start) = start {
        id = format!("{id}/{}/{}", text(start), row.text("grouping").unwrap());
        let size = i64::try_from(truth.window.size_ms).unwrap();
        assert_eq!(row.long("windowEnd"), Some(start + size));
        assert!(!is_gone(&truth.window, start, watermark), "{id} is over");
    } else {
        assert_eq!(row.long("watermark"), watermark);
    }
    if row.id.starts_with("partition-") && start.is_none() {
        let state = truth.at(row.at.0, offsets[&row.at.0]);
        let gone = state.windows.iter();
        let gone = gone.filter(|((start, _), _)| is_gone(&truth.window, *start, watermark));
        let gone = gone.fold(Figures::default(), |sum, (_, held)| sum.plus(*held));
        let told = (row.long("expiredCount"), row.sum("expiredSum"));
        assert_eq!(told, (Some(gone.count), Some(gone.sum)), "{id}");
    }
    assert_eq!(row.id, id);
}

/// Waits until all is summed, and checks which totals are left, and that they are right. And all that were ever visible.
fn settled(world: &World) -> (Truth, Vec<Row>) {
    let window = world.config.window.as_ref().unwrap();
    let truth = Truth::of(window, &world.kafka.read_committed(INPUT));
    let ends = truth.ends();
    let size = i64::try_from(window.size_ms).unwrap();
    let is_of_other_windows = |row: &Row| {
        let start = row.fields.get("windowStart").map(|_| row.long("windowStart"));
        start.is_none_or(|start| start.is_some_and(|start| row.long("windowEnd") != Some(start + size)))
    };
    eventually(
        Duration::from_secs(90),
        "the overall total covers the input",
        || {
            let (rows, left) = output(world);
            let total = left.get("total").is_some_and(|at| rows[*at].offsets() == ends);
            total && !left.values().any(|at| is_of_other_windows(&rows[*at]))
        },
    );
    let (rows, left) = output(world);
    left.values().for_each(|at| check(&truth, &rows[*at]));
    assert_eq!(left.into_keys().collect::<BTreeSet<_>>(), truth.ids());
    assert_eq!(world.committed(), ends);
    (truth, rows)
}

fn reasons(world: &World) -> Vec<String> {
    let mut reasons = Vec::new();
    let within = Duration::from_secs(30);
    topic::read_to_end(&world.kafka.contract(), DEAD, within, |message| {
        let mut headers = message.headers().into_iter().flat_map(Headers::iter);
        let reason = headers.find(|header| header.key == "reason").unwrap();
        reasons.push(String::from_utf8(reason.value.unwrap().to_vec()).unwrap());
    })
    .unwrap();
    reasons
}

fn end(worker: &Worker) {
    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));
}

#[test]
fn windows_are_right_at_every_moment_and_go_when_they_are_over_while_workers_are_killed() {
    let given = std::env::var("NARU_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u32>).into();
    println!("NARU_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new(&FragileRegistry::start(), &["region"]);
    world.config.window = Some(Window {
        size_ms: 10_000,
        time: Some("at".to_owned()),
        grace_ms: 4_000,
        retention_ms: 60_000,
    });
    let timed = Timed::new(&world);
    let mut workers = [0, 1].map(|index| world.worker(&format!("sum-{index}")));
    let (mut now, mut kills) = (*START, 0);
    let mut write = |random: &mut StdRng, records: i32| {
        for _ in 0..records {
            now += random.random_range(0..400);
            let at = match random.random_range(0..10) {
                0 => now - random.random_range(0..120_000),
                1 => now + random.random_range(0..9_000),
                _ => now - random.random_range(0..6_000),
            };
            // The third partition has a few records, of another time: its windows stay.
            let (partition, at) = match random.random_range(0..50) {
                0 => (2, *START + at % 30_000),
                other => (other % 2, at),
            };
            let region = REGIONS[random.random_range(0..REGIONS.len())];
            let price = random.random_range(-5..1_000_000);
            timed.item(partition, Some(at), *START + DAY, region, price);
        }
        timed.flush();
    };
    for round in 0..10 {
        let before = world.written();
        eventually(WITHIN, "the workers commit something", || {
            write(&mut random, 40);
            world.written() > before
        });
        let index = random.random_range(0..workers.len());
        workers[index].process.kill();
        kills += 1;
        write(&mut random, 200);
        workers[index] = world.worker(&format!("sum-{index}"));
        if round == 5 {
            println!("{:?} in the middle", settled(&world).0.ends());
        }
    }
    timed.item(0, None, *START, "Seoul", 1);
    timed.item(1, Some(*START + DAY + 1), *START, "Seoul", 1);
    timed.flush();
    let (truth, rows) = settled(&world);
    rows.iter().for_each(|row| check(&truth, row));
    let last = |partition: i32| truth.states[&partition].last().unwrap();
    let late = PARTITIONS.map(|partition| last(partition).all.late);
    let windows = PARTITIONS.map(|partition| last(partition).windows.len());
    let left = truth.ids().len();
    println!("{kills} kills, {late:?} late, {windows:?} windows of groups, {left} totals are left");
    assert!(late[0] > 0 && late[1] > 0);
    assert!(left * 2 < windows.iter().sum::<usize>(), "most have gone");
    let mut reasons = reasons(&world);
    reasons.sort();
    assert!(
        reasons[0].contains("which is more than 24 h after the record was written"),
        "{reasons:?}"
    );
    assert!(reasons[1].contains("is null, expected a timestamp or a date") && reasons.len() == 2);
    workers.iter().for_each(end);

    // Whoever has summed nothing since counts nothing as late anew.
    let worker = world.worker("sum-9");
    eventually(WITHIN, "the worker is ready", || worker.is_ready());
    timed.item(0, Some(*START), *START, "Seoul", 7);
    timed.flush();
    settled(&world);
    assert_eq!(worker.metric("late_total"), Some(1.0));
    end(&worker);
}

#[test]
fn a_sum_goes_over_to_windows_by_kafkas_time_and_to_others_at_once() {
    let mut world = World::new(&FragileRegistry::start(), &["region"]);
    world.config.computation = 1;
    let timed = Timed::new(&world);
    let hour = 3_600_000;
    let write = |hours: std::ops::Range<i64>| {
        for of in hours {
            for (partition, at) in PARTITIONS
                .into_iter()
                .flat_map(|partition| [(partition, 0), (partition, hour - 1)])
            {
                let region = REGIONS[usize::try_from(of).unwrap() % 3];
                timed.item(partition, None, *START + of * hour + at, region, of);
            }
        }
        timed.flush();
    };
    write(0..20);
    let worker = world.worker("sum-0");
    eventually(WITHIN, "all is summed without windows", || {
        world.total("total").is_some_and(|row| row.figures.count == 120)
    });
    end(&worker);

    world.config.reset = Some(Reset::FromEarliest);
    for (computation, size_ms) in [(2, 2 * 3_600_000), (3, 3_600_000)] {
        world.config.computation = computation;
        world.config.window = Some(Window {
            size_ms,
            time: None,
            grace_ms: 0,
            retention_ms: 6 * 3_600_000,
        });
        let worker = world.worker(&format!("sum-{computation}"));
        // Those of the other size are gone, with all groups without a window.
        settled(&world);
        end(&worker);
    }
    let worker = world.worker("sum-9");
    write(20..23);
    settled(&world);
    end(&worker);
}
