//! Both ways to the time of a record say the same, and each time that is none says why.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::writer::datum::GenericDatumWriter;
use naru_contract::FilteredSumWorker;
use naru_worker_core::avro::wire;

use super::*;
use crate::rules::Rules;

const HOUR: i64 = 3_600_000;
/// 2026-11-22T10:00:00Z
const TEN: i64 = 1_795_341_600_000;

fn config(time: Option<&str>, group_by: &[&str]) -> FilteredSumWorker {
    serde_json::from_value(serde_json::json!({
        "name": "default/total", "kafka": {"bootstrapServers": "kafka:9092"}, "registry": {"url": "http://registry"},
        "group": "total", "inputTopic": "items", "filter": "price < 100", "field": "price", "groupBy": group_by,
        "window": {"sizeMs": HOUR, "time": time, "retentionMs": 0},
        "outputTopic": "total", "deadLetterTopic": "dead", "commitIntervalMs": 100,
    }))
    .unwrap()
}

/// A judge, and a message with a price, a region and this field.
fn world(time: Option<&str>, group_by: &[&str], field_type: &str, at: Value) -> (Judge, Vec<u8>) {
    let text = format!(
        r#"{{"type": "record", "name": "Item", "fields": [
            {{"name": "price", "type": "long"}}, {{"name": "region", "type": "string"}}, {{"name": "at", "type": {field_type}}}]}}"#
    );
    let schema = Schema::parse_str(&text).unwrap();
    let fields = [
        ("price", Value::Long(5)),
        ("region", Value::String("Seoul".to_owned())),
        ("at", at),
    ];
    let record = Value::Record(fields.map(|(name, value)| (name.to_owned(), value)).into());
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    let message = wire::encode(3, &writer.write_value_to_vec(record).unwrap());
    let mut judge = Judge::new(Rules::compile(&config(time, group_by)).unwrap());
    judge.decoder.learn(3, Ok(Arc::new(schema)));
    (judge, message)
}

fn logical(of: &str, logical: &str) -> String {
    format!(r#"{{"type": "{of}", "logicalType": "{logical}"}}"#)
}

fn nullable(of: &str, branch: u32, value: Value) -> (String, Value) {
    (
        format!(r#"["null", {of}]"#),
        Value::Union(branch, Box::new(value)),
    )
}

#[test]
fn a_record_is_in_the_window_of_its_time_in_whatever_it_is_counted() {
    let at = TEN + HOUR - 1;
    for (is_quick, (field_type, value), time) in [
        (
            true,
            (logical("long", "timestamp-millis"), Value::TimestampMillis(at)),
            at,
        ),
        (
            true,
            (
                logical("long", "timestamp-micros"),
                Value::TimestampMicros(at * 1000 + 999),
            ),
            at,
        ),
        (
            true,
            (
                logical("long", "timestamp-nanos"),
                Value::TimestampNanos(at * 1_000_000 + 999_999),
            ),
            at,
        ),
        (
            true,
            (
                logical("long", "local-timestamp-millis"),
                Value::LocalTimestampMillis(TEN),
            ),
            TEN,
        ),
        (
            true,
            (
                logical("int", "date"),
                Value::Date(i32::try_from(TEN / 24 / HOUR).unwrap()),
            ),
            TEN - 10 * HOUR,
        ),
        (
            true,
            nullable(
                &logical("long", "timestamp-micros"),
                1,
                Value::TimestampMicros(at * 1000),
            ),
            at,
        ),
        (
            false,
            (
                format!(
                    "[{}, {}]",
                    logical("int", "date"),
                    logical("long", "timestamp-millis")
                ),
                Value::Union(1, Box::new(Value::TimestampMillis(at))),
            ),
            at,
        ),
    ] {
        let (mut judge, message) = world(Some("at"), &["region"], &field_type, value);
        let quick = judge.project_at(&message).unwrap();
        assert_eq!(quick.is_some(), is_quick, "{field_type}");
        let whole = judge.decode_at(&message).unwrap();
        assert_eq!(quick.unwrap_or(whole), whole);
        let start = time.div_euclid(HOUR) * HOUR;
        let name = window::name_of(start, Some("Seoul"));
        let (name, value) = (name.as_str(), Some(5));
        let expected = Outcome::Windowed {
            name,
            start,
            time,
            value,
        };
        assert_eq!(judge.judge_at(&message, Some(TEN)), Ok(expected));
    }
}

#[test]
fn without_a_field_the_time_is_that_of_kafka_and_names_follow_each_other() {
    let (mut judge, message) = world(None, &[], "\"int\"", Value::Int(1));
    for (written, name) in [
        (TEN, "2026-11-22T10:00:00Z"),
        (TEN + HOUR, "2026-11-22T11:00:00Z"),
        (TEN + 1, "2026-11-22T10:00:00Z"),
        (TEN + 2, "2026-11-22T10:00:00Z"),
    ] {
        let start = written.div_euclid(HOUR) * HOUR;
        let expected = Outcome::Windowed {
            name,
            start,
            time: written,
            value: Some(5),
        };
        assert_eq!(judge.judge_at(&message, Some(written)), Ok(expected));
    }
    assert_eq!(
        judge.judge_at(&message, None).unwrap_err(),
        "Kafka has no timestamp of the record, by which it is to be put into a window"
    );
}

#[test]
fn a_record_without_a_time_says_why() {
    let of = "by whose time the record is to be put into a window, is";
    let millis = || logical("long", "timestamp-millis");
    for (time, (field_type, value), reason) in [
        (
            "on",
            (millis(), Value::TimestampMillis(TEN)),
            "the record has no field \"on\", by whose time it is to be put into a window".to_owned(),
        ),
        ("at", nullable(&millis(), 0, Value::Null), format!("field \"at\", {of} null, expected a timestamp or a date")),
        ("at", ("\"long\"".to_owned(), Value::Long(TEN)), format!("field \"at\", {of} a long, expected a timestamp or a date")),
        (
            "at",
            (logical("long", "time-micros"), Value::TimeMicros(5)),
            format!("field \"at\", {of} a time, expected a timestamp or a date"),
        ),
        (
            "at",
            (millis(), Value::TimestampMillis(TEN + AHEAD + 1)),
            format!(
                "field \"at\", {of} 2026-11-23T10:00:00.001Z, which is more than 24 h after the record was written, at \
                 2026-11-22T10:00:00Z"
            ),
        ),
        (
            "at",
            (millis(), Value::TimestampMillis(i64::MIN)),
            "the time of the record, -9223372036854775808 ms since 1970, is in no window, expected one from the year 0 to 9999"
                .to_owned(),
        ),
        (
            "at",
            (millis(), Value::TimestampMillis(i64::MAX)),
            "the time of the record, 9223372036854775807 ms since 1970, is in no window, expected one from the year 0 to 9999"
                .to_owned(),
        ),
    ] {
        let (mut judge, message) = world(Some(time), &[], &field_type, value);
        assert_eq!(judge.judge_at(&message, Some(TEN)), Err(reason));
    }
    let (mut judge, message) = world(Some("at"), &[], &millis(), Value::TimestampMillis(TEN + AHEAD));
    assert!(judge.judge_at(&message, Some(TEN)).is_ok());
}

#[test]
fn windows_and_keys_are_refused_together() {
    let config = FilteredSumWorker {
        keys_topic: Some("total-keys".to_owned()),
        ..config(None, &[])
    };
    assert_eq!(
        Rules::compile(&config).unwrap_err().to_string(),
        "the sum has windows and keys, of which it can have one: what was added to a window that is closed cannot be taken back"
    );
}

#[test]
fn what_the_filter_drops_needs_no_time() {
    let (mut judge, message) = world(Some("at"), &[], "\"long\"", Value::Long(1));
    let config = FilteredSumWorker {
        filter: Some("price > 100".to_owned()),
        ..config(Some("at"), &[])
    };
    judge.rules = Rules::compile(&config).unwrap();
    assert_eq!(judge.judge_at(&message, None), Ok(Outcome::Dropped));
}
