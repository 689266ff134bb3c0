//! What a few bytes could do to whoever reads them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apache_avro::Schema;
use naru_worker_core::avro::wire;

use super::super::{Decoder, MAX_DEPTH, MAX_EMPTY};
use super::random::long;

fn decoder(schema: &str) -> Decoder {
    let mut decoder = Decoder::new(&["f0".to_owned()]);
    decoder.learn(
        3,
        Schema::parse_str(schema)
            .map(Arc::new)
            .map_err(|error| error.to_string()),
    );
    decoder
}

fn record(field: &str) -> String {
    format!(r#"{{"type": "record", "name": "Item", "fields": [{{"name": "f0", "type": {field}}}]}}"#)
}

/// Decodes on a stack of three quarters of the size that the worker has.
fn reason(schema: String, datum: Vec<u8>) -> Option<String> {
    let decode = move || {
        let decoded = decoder(&schema).decode(&wire::encode(3, &datum));
        decoded.err().map(|error| error.to_string())
    };
    let thread = std::thread::Builder::new().stack_size(3 << 19);
    thread.spawn(decode).unwrap().join().unwrap()
}

/// So many records of a type that holds itself, each in the one before.
fn list(length: usize) -> (String, Vec<u8>) {
    let mut datum = vec![2; length - 1];
    datum.push(0);
    (record(r#"["null", "Item"]"#), datum)
}

#[test]
fn a_type_that_holds_itself_is_read_down_to_a_depth_that_the_stack_has_room_for() {
    let too_deep = Some(format!(
        "more than {MAX_DEPTH} values are within each other in the record, which has schema 3"
    ));
    // Each record is in a union.
    let (schema, datum) = list(MAX_DEPTH / 2);
    assert_eq!(reason(schema, datum), None);
    for length in [MAX_DEPTH / 2 + 1, 1_000_000] {
        let (schema, datum) = list(length);
        assert_eq!(reason(schema, datum), too_deep, "{length}");
    }
    // Without a byte, and without an end.
    assert_eq!(reason(record(r#""Item""#), vec![]), too_deep);
}

#[test]
fn the_deepest_record_of_all_fits_on_the_stack() {
    // Each a reference to a record, which is what takes most of the stack.
    let mut fields =
        vec![r#"{"name": "f0", "type": {"type": "record", "name": "r0", "fields": []}}"#.to_owned()];
    for index in 1..=MAX_DEPTH {
        let before = index - 1;
        fields.push(format!(
            r#"{{"name": "f{index}", "type": ["null", {{"type": "record", "name": "r{index}", "fields": [
                {{"name": "f", "type": "r{before}"}}]}}]}}"#
        ));
    }
    let schema = format!(
        r#"{{"type": "record", "name": "Item", "fields": [{}]}}"#,
        fields.join(",")
    );
    let mut datum = vec![0; MAX_DEPTH];
    datum[MAX_DEPTH - 3] = 2;
    assert_eq!(reason(schema.clone(), datum), None);
    let mut datum = vec![0; MAX_DEPTH];
    datum[MAX_DEPTH - 1] = 2;
    assert!(reason(schema, datum).is_some_and(|reason| reason.contains("within each other")));
}

#[test]
fn items_without_bytes_are_bounded_in_all_of_a_record() {
    let nulls = r#"{"type": "array", "items": "null"}"#;
    let count = |count: usize| {
        let mut datum = Vec::new();
        long(count as i64, &mut datum);
        datum.push(0);
        datum
    };
    assert_eq!(reason(record(nulls), count(MAX_EMPTY)), None);
    let too_many = |schema: String, datum: Vec<u8>| {
        let started = Instant::now();
        let reason = reason(schema, datum).unwrap();
        assert!(
            reason.contains("more items than it can have bytes for"),
            "{reason}"
        );
        assert!(started.elapsed() < Duration::from_secs(5));
    };
    too_many(record(nulls), count(MAX_EMPTY + 2));
    too_many(record(nulls), count(1 << 62));
    // Many arrays, each of which would be small enough.
    let mut datum = count(100);
    datum.pop();
    datum.extend(count(MAX_EMPTY / 10).repeat(100));
    datum.push(0);
    too_many(
        record(&format!(r#"{{"type": "array", "items": {nulls}}}"#)),
        datum,
    );
    // Twice as many records in each as in the one before, and not one byte.
    let mut fields =
        vec![r#"{"name": "f0", "type": {"type": "record", "name": "r0", "fields": []}}"#.to_owned()];
    for index in 1..40 {
        let before = index - 1;
        fields.push(format!(
            r#"{{"name": "f{index}", "type": {{"type": "record", "name": "r{index}", "fields": [
                {{"name": "f", "type": "r{before}"}}, {{"name": "g", "type": "r{before}"}}]}}}}"#
        ));
    }
    too_many(
        format!(
            r#"{{"type": "record", "name": "Item", "fields": [{}]}}"#,
            fields.join(",")
        ),
        vec![],
    );
}

#[test]
fn bytes_that_are_not_there_are_not_waited_for_in_memory() {
    for field in [
        r#"{"type": "array", "items": "string"}"#,
        r#"{"type": "map", "values": "long"}"#,
    ] {
        // One that no memory holds, and one that it would be taken for.
        for count in [1 << 40, 1 << 19] {
            let mut datum = Vec::new();
            long(count, &mut datum);
            let reason = reason(record(field), datum).unwrap();
            assert!(
                reason.contains("more items than it can have bytes for"),
                "{reason}"
            );
        }
        let mut datum = Vec::new();
        long(i64::MIN, &mut datum);
        long(0, &mut datum);
        assert!(reason(record(field), datum).is_some());
    }
    let mut datum = Vec::new();
    long(1 << 40, &mut datum);
    assert_eq!(
        reason(record(r#""string""#), datum).unwrap(),
        "the value does not fit schema 3"
    );
    assert_eq!(
        reason(
            record(r#"{"type": "fixed", "name": "F", "size": 4611686018427387904}"#),
            vec![0]
        )
        .unwrap(),
        "the schema's type \"F\" has 4611686018427387904 bytes, expected at most 67108864"
    );
}

#[test]
fn what_is_no_record_is_walked_over_and_left_to_apache_avro() {
    let array = r#"{"type": "array", "items": "null"}"#;
    for (schema, datum, expected) in [
        (r#""string""#, &[2, b'a'][..], None),
        (r#""string""#, &[2], Some("the value does not fit schema 3")),
        (
            array,
            &[0x80, 0x80, 0x80, 0x08, 0],
            Some("more items than it can have bytes for"),
        ),
    ] {
        let decoder = decoder(schema);
        let message = wire::encode(3, datum);
        match expected {
            None => {
                assert!(!decoder.project(&message, &mut []).unwrap());
                assert!(decoder.decode(&message).is_ok());
            }
            Some(expected) => {
                let reason = decoder.decode(&message).unwrap_err().to_string();
                assert!(reason.contains(expected), "{reason}");
            }
        }
    }
}
