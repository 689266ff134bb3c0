//! How many messages a core judges in a second: frame, schema, walk, filter. Prints one line of JSON.
//!
//! `cargo bench --package naru-filtered-sum --bench decode`. The figure of merit is `decodeMillionPerS`: records of about 90
//! bytes, filtered with `price <= 1000000`, of which a third passes. The others say what more costs: adding to the totals, a
//! price that may be null, that is a decimal or a double, titles that are not ASCII, a group for each of some hundred titles (with the totals), and a filter
//! that takes the whole record.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use naru_filtered_sum::judge::Judge;
use naru_filtered_sum::partition::{Groups, Outcome, PartitionTotals};
use naru_filtered_sum::rules::Rules;
use naru_worker_core::avro::wire;
use serde_json::json;

const SCHEMA_ID: u32 = 3;
const DECIMAL: &str = r#"{"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}"#;
/// Enough that the processor cannot learn the prices by heart, and few enough for its caches.
const MESSAGES: i64 = 10_000;
/// How long each case is measured. The quickest pass over its messages counts: half a millisecond in which nobody else had
/// the core, if there was one.
const MEASURED: Duration = Duration::from_secs(1);

fn main() {
    let english = [
        "used bicycle of 26 inch",
        "camera",
        "winter coat, never worn, size M",
    ];
    let korean = ["중고 자전거 26인치", "카메라", "겨울 코트"];
    let filter = "price <= 1000000";
    let (long, nullable) = (r#""long""#, r#"["null", "long"]"#);
    let plain = Case::new(long, &english, filter, &[]);
    let figures = json!({
        "decodeMillionPerS": plain.million_per_s(false),
        "totalsMillionPerS": plain.million_per_s(true),
        "nullableMillionPerS": Case::new(nullable, &english, filter, &[]).million_per_s(false),
        "decimalMillionPerS": Case::new(DECIMAL, &english, filter, &[]).summing(2, false).million_per_s(false),
        "doubleMillionPerS": Case::new(r#""double""#, &english, filter, &[]).summing(2, true).million_per_s(false),
        "koreanMillionPerS": Case::new(long, &korean, filter, &[]).million_per_s(false),
        "groupsMillionPerS": Case::new(long, &english, filter, &["title"]).million_per_s(true),
        "wholeRecordMillionPerS": Case::new(long, &english, "price * 1 <= 1000000", &[]).million_per_s(false),
    });
    println!("{figures}");
}

/// Messages and the rules that they are judged by.
struct Case {
    schema: Arc<Schema>,
    messages: Vec<Vec<u8>>,
    config: serde_json::Value,
}

impl Case {
    fn new(price: &str, titles: &[&str], filter: &str, group_by: &[&str]) -> Self {
        let schema = schema(price);
        Self {
            messages: (0..MESSAGES)
                .map(|index| message(&schema, index, titles))
                .collect(),
            schema: Arc::new(schema),
            config: config(filter, group_by),
        }
    }

    /// The same with a sum that has so many digits behind the point.
    fn summing(mut self, scale: u8, round_floats: bool) -> Self {
        self.config["scale"] = scale.into();
        self.config["roundFloats"] = round_floats.into();
        self
    }

    /// Millions of messages a second that are judged, and added to the totals of a partition if so told.
    fn million_per_s(&self, to_totals: bool) -> f64 {
        let mut judge = Judge::new(rules(&self.config));
        judge.decoder.learn(SCHEMA_ID, Ok(Arc::clone(&self.schema)));
        let started = Instant::now();
        let mut best = Duration::MAX;
        while started.elapsed() < MEASURED {
            best = best.min(self.pass(&mut judge, to_totals));
        }
        let per_s = self.messages.len() as f64 / best.as_secs_f64();
        (per_s / 10_000.0).round() / 100.0
    }

    #[expect(clippy::panic, reason = "a measurement of what fails is none")]
    fn pass(&self, judge: &mut Judge, to_totals: bool) -> Duration {
        let mut totals = PartitionTotals::fresh(0, 0, Groups::new());
        let mut passed = 0_usize;
        let started = Instant::now();
        for (message, offset) in self.messages.iter().zip(0..) {
            // Where it is: to be moved would cost it as much as a string.
            match &judge.judge(black_box(message)) {
                Ok(outcome) if to_totals => {
                    totals
                        .apply(offset, *outcome)
                        .expect("the total has room for all of them");
                    passed += 1;
                }
                Ok(Outcome::Summed { .. }) => passed += 1,
                Ok(_) => {}
                Err(reason) => panic!("each message is a record: {reason}"),
            }
        }
        let elapsed = started.elapsed();
        assert!(passed > 0);
        assert_eq!(black_box(&totals).next_offset() > 0, to_totals);
        elapsed
    }
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
    let of_price = match schema {
        Schema::Record(record) => &record.fields[2].schema,
        other => other,
    };
    let price = match of_price {
        Schema::Union(_) => Value::Union(1, Box::new(Value::Long(price))),
        Schema::Decimal(_) => Value::Decimal((price * 100 + 99).to_be_bytes().into()),
        Schema::Double => Value::Double(price as f64 + 0.99),
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

fn config(filter: &str, group_by: &[&str]) -> serde_json::Value {
    json!({
        "name": "default/total", "kafka": {"bootstrapServers": "kafka:9092"}, "registry": {"url": "http://registry"},
        "group": "total", "inputTopic": "items", "filter": filter, "field": "price", "groupBy": group_by,
        "outputTopic": "total", "deadLetterTopic": "dead", "commitIntervalMs": 100,
    })
}

fn rules(config: &serde_json::Value) -> Rules {
    let config = serde_json::from_value(config.clone()).expect("it is a worker's document");
    Rules::compile(&config).expect("the filter is one")
}
