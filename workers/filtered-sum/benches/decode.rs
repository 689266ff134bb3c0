//! How many messages a core judges in a second: frame, schema, walk, filter. Prints one line of JSON.
//!
//! `cargo bench --package naru-filtered-sum --bench decode`. The figure of merit is `decodeMillionPerS`: records of about 90
//! bytes, filtered with `price <= 1000000`, of which a third passes. The others say what else costs how much.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use naru_filtered_sum::judge::Judge;
use naru_filtered_sum::partition::{Outcome, PartitionTotals};
use naru_filtered_sum::rules::Rules;
use naru_worker_core::avro::wire;
use serde_json::json;

const SCHEMA_ID: u32 = 3;
/// Enough that the processor cannot learn the prices by heart, and few enough for its caches.
const MESSAGES: i64 = 10_000;
/// Each round takes this long; the best one counts, in which nobody else had the core.
const ROUND: Duration = Duration::from_millis(200);
const ROUNDS: usize = 15;

fn main() {
    let english = [
        "used bicycle of 26 inch",
        "camera",
        "winter coat, never worn, size M",
    ];
    let korean = ["중고 자전거 26인치", "카메라", "겨울 코트"];
    let filter = "price <= 1000000";
    let figures = json!({
        "decodeMillionPerS": million_per_s("\"long\"", &english, filter, &[]),
        "nullableMillionPerS": million_per_s(r#"["null", "long"]"#, &english, filter, &[]),
        "koreanMillionPerS": million_per_s("\"long\"", &korean, filter, &[]),
        "groupedMillionPerS": million_per_s("\"long\"", &english, filter, &["title"]),
        "wholeRecordMillionPerS": million_per_s("\"long\"", &english, "price * 1 <= 1000000", &[]),
    });
    println!("{figures}");
}

/// Millions of records a second that are judged and added to the totals of a partition.
fn million_per_s(price: &str, titles: &[&str], filter: &str, group_by: &[&str]) -> f64 {
    let schema = schema(price);
    let messages = (0..MESSAGES)
        .map(|index| message(&schema, index, titles))
        .collect::<Vec<_>>();
    let mut judge = Judge::new(rules(filter, group_by));
    judge.decoder.learn(SCHEMA_ID, Ok(Arc::new(schema)));
    let best = (0..ROUNDS)
        .map(|_| round(&mut judge, &messages))
        .fold(0.0, f64::max);
    (best / 10_000.0).round() / 100.0
}

/// Records a second of one round.
fn round(judge: &mut Judge, messages: &[Vec<u8>]) -> f64 {
    let mut totals = PartitionTotals::fresh(0, 0);
    let (mut offset, mut passed) = (0, 0_u64);
    let started = Instant::now();
    while started.elapsed() < ROUND {
        for message in messages {
            let outcome = judge.judge(black_box(message)).expect("each message is a record");
            passed += u64::from(outcome != Outcome::Dropped);
            totals
                .apply(offset, outcome)
                .expect("the total has room for all rounds");
            offset += 1;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    assert!(passed > 0 && black_box(&totals).next_offset() == offset);
    offset as f64 / seconds
}

fn schema(price: &str) -> Schema {
    let text = format!(
        r#"{{"type": "record", "name": "Item", "fields": [
            {{"name": "productSeq", "type": "long"}}, {{"name": "title", "type": "string"}}, {{"name": "price", "type": {price}}},
            {{"name": "category", "type": {{"type": "array", "items": "string"}}}},
            {{"name": "sortDate", "type": {{"type": "long", "logicalType": "timestamp-millis"}}}}]}}"#
    );
    Schema::parse_str(&text).expect("the schema is one")
}

fn message(schema: &Schema, index: i64, titles: &[&str]) -> Vec<u8> {
    // Uniform between 0 and 3,000,000, and in no order.
    let price = (index * 7_919_369 + 1_234_567) % 3_000_000;
    let title = format!("{} {}", titles[index as usize % titles.len()], index % 100);
    let categories = [
        "sports",
        "bicycles",
        "mountain bikes",
        "used",
        "cameras",
        "clothes",
    ];
    let category = (0..4).map(|level| categories[(index + level) as usize * 5 % 6].to_owned());
    let price = match schema {
        Schema::Record(record) if matches!(record.fields[2].schema, Schema::Union(_)) => {
            Value::Union(1, Box::new(Value::Long(price)))
        }
        _ => Value::Long(price),
    };
    let fields = [
        ("productSeq", Value::Long(180_000_000 + index)),
        ("title", Value::String(title)),
        ("price", price),
        ("category", Value::Array(category.map(Value::String).collect())),
        (
            "sortDate",
            Value::TimestampMillis(1_763_000_000_000 + index * 1000),
        ),
    ];
    let record = Value::Record(fields.map(|(name, value)| (name.to_owned(), value)).into());
    let writer = GenericDatumWriter::builder(schema)
        .build()
        .expect("the schema is whole");
    wire::encode(
        SCHEMA_ID,
        &writer.write_value_to_vec(record).expect("the record fits"),
    )
}

fn rules(filter: &str, group_by: &[&str]) -> Rules {
    let config = json!({
        "name": "default/total", "kafka": {"bootstrapServers": "kafka:9092"}, "registry": {"url": "http://registry"},
        "group": "total", "inputTopic": "items", "filter": filter, "field": "price", "groupBy": group_by,
        "outputTopic": "total", "deadLetterTopic": "dead", "commitIntervalMs": 100,
    });
    let config = serde_json::from_value(config).expect("it is a worker's document");
    Rules::compile(&config).expect("the filter is one")
}
