//! The two ways of judging a message say the same, and the usual ones are judged the quick way.

mod numbers;

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use naru_contract::FilteredSumWorker;
use naru_worker_core::avro::wire;
use proptest::prelude::*;

use super::*;

const SCHEMA: &str = r#"{"type": "record", "name": "Item", "fields": [
    {"name": "price", "type": ["null", "long", "string"]},
    {"name": "title", "type": "string"},
    {"name": "sold", "type": "boolean"},
    {"name": "weight", "type": "double"},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "USED"]}},
    {"name": "category", "type": {"type": "array", "items": "string"}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}}]}"#;

fn judge(filter: Option<&str>, group_by: &[&str]) -> Judge {
    let mut judge = Judge::new(Rules::compile(&config(filter, group_by)).unwrap());
    judge
        .decoder
        .learn(3, Ok(Arc::new(Schema::parse_str(SCHEMA).unwrap())));
    judge
}

fn config(filter: Option<&str>, group_by: &[&str]) -> FilteredSumWorker {
    serde_json::from_value(serde_json::json!({
        "name": "default/total", "kafka": {"bootstrapServers": "kafka:9092"}, "registry": {"url": "http://registry"},
        "group": "total", "inputTopic": "items", "filter": filter, "field": "price", "groupBy": group_by,
        "outputTopic": "total", "deadLetterTopic": "dead", "commitIntervalMs": 100,
    }))
    .unwrap()
}

fn message(price: Value, title: &str, sold: bool, weight: f64, state: u32) -> Vec<u8> {
    let schema = Schema::parse_str(SCHEMA).unwrap();
    let price = match price {
        Value::Null => Value::Union(0, Box::new(Value::Null)),
        Value::Long(_) => Value::Union(1, Box::new(price)),
        _ => Value::Union(2, Box::new(price)),
    };
    let fields = [
        ("price", price),
        ("title", Value::String(title.to_owned())),
        ("sold", Value::Boolean(sold)),
        ("weight", Value::Double(weight)),
        (
            "state",
            Value::Enum(state, ["NEW", "USED"][state as usize].to_owned()),
        ),
        ("category", Value::Array(vec![Value::String("bikes".to_owned())])),
        ("at", Value::TimestampMillis(1_700_000_000_000)),
        ("cost", Value::Decimal(vec![1, 2].into())),
    ];
    let record = Value::Record(fields.map(|(name, value)| (name.to_owned(), value)).into());
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    wire::encode(3, &writer.write_value_to_vec(record).unwrap())
}

/// What the whole record gives: the verdict and the group, or the reason.
fn whole(judge: &mut Judge, message: &[u8]) -> Result<(Verdict, String), String> {
    judge.group.clear();
    let verdict = judge.decode(message)?;
    Ok((verdict, judge.group.clone()))
}

fn quick(judge: &mut Judge, message: &[u8]) -> Result<Option<(Verdict, String)>, String> {
    judge.group.clear();
    let verdict = judge.project(message)?;
    Ok(verdict.map(|verdict| (verdict, judge.group.clone())))
}

/// The outcome, how it came about (whether quickly) and that of the whole record.
fn both(judge: &mut Judge, message: &[u8]) -> (Result<(Verdict, String), String>, bool) {
    let whole = whole(judge, message);
    let quick = quick(judge, message);
    let is_quick = matches!(quick, Ok(Some(_)));
    if is_quick {
        assert_eq!(quick.unwrap(), whole.clone().ok());
    }
    let outcome = judge.judge(message).map(|outcome| match outcome {
        Outcome::Summed { group, value } => (Verdict::Summed(value), group.unwrap_or_default().to_owned()),
        Outcome::Dropped => (Verdict::Dropped, String::new()),
        Outcome::Dead | Outcome::Windowed { .. } => panic!("who judges does not say so"),
    });
    // A text that is left over says nothing.
    let whole = whole.map(|(verdict, group)| match verdict {
        Verdict::Dropped => (verdict, String::new()),
        Verdict::Summed(_) => (verdict, group),
    });
    assert_eq!(outcome, whole);
    (whole, is_quick)
}

#[test]
fn the_usual_rules_are_decided_without_the_whole_record() {
    let item = |price| message(price, "a|b", true, 0.5, 1);
    for (filter, group_by, expected) in [
        (None, &[][..], (Verdict::Summed(Some(700)), "")),
        (Some("price <= 1000000"), &[], (Verdict::Summed(Some(700)), "")),
        (Some("price > 1000000"), &[], (Verdict::Dropped, "")),
        (
            Some("price != null && price < 701.5"),
            &["state"],
            (Verdict::Summed(Some(700)), "USED"),
        ),
        (
            Some("sold && !(weight >= 1) && state == 'USED'"),
            &["title", "sold"],
            (Verdict::Summed(Some(700)), "a\\|b|true"),
        ),
        (
            Some("state in ['NEW', 'OLD'] || title.startsWith('b')"),
            &[],
            (Verdict::Dropped, ""),
        ),
        (
            Some("at > 1600000000000"),
            &["at", "price"],
            (Verdict::Summed(Some(700)), "1700000000000|700"),
        ),
        (
            Some("-5 < price || 'a' in category"),
            &[],
            (Verdict::Summed(Some(700)), ""),
        ),
    ] {
        let (verdict, group) = expected;
        // One that also reads a list takes the whole record.
        let is_quick = !filter.is_some_and(|filter| filter.contains("category"));
        assert_eq!(
            both(&mut judge(filter, group_by), &item(Value::Long(700))),
            (Ok((verdict, group.to_owned())), is_quick),
            "{filter:?}"
        );
    }
    let many = ["title", "sold", "state", "at", "title", "sold", "state", "at"];
    let (outcome, is_quick) = both(
        &mut judge(Some("price < 9 && weight < 9"), &many),
        &item(Value::Long(1)),
    );
    assert_eq!(
        outcome.unwrap().1,
        "a\\|b|true|USED|1700000000000|a\\|b|true|USED|1700000000000"
    );
    assert!(is_quick);
}

#[test]
fn what_is_wrong_with_a_record_is_said_as_of_the_whole_of_it() {
    let dead = |filter, group_by: &[&str], price| {
        let (outcome, is_quick) = both(&mut judge(filter, group_by), &message(price, "", true, 0.5, 0));
        assert!(!is_quick);
        outcome.unwrap_err()
    };
    for (filter, group_by, price, reason) in [
        (
            Some("price < 5"),
            &[][..],
            Value::Null,
            "the filter computes with null; of the fields that it reads, null are: price",
        ),
        (
            Some("brand == ''"),
            &[],
            Value::Long(1),
            "the record has no field \"brand\", which the filter reads",
        ),
        (
            Some("!sold || cost * 2 > 5"),
            &[],
            Value::Long(1),
            "field \"cost\" holds a decimal, which a filter can compare with numbers and do nothing else with",
        ),
        (
            None,
            &[],
            Value::String("free".to_owned()),
            "field \"price\", which is to be summed, is a string, expected an int, a long, a decimal or null",
        ),
        (
            None,
            &["brand"],
            Value::Long(1),
            "the record has no field \"brand\", by which it is to be grouped",
        ),
        (
            None,
            &["weight"],
            Value::Long(1),
            "field \"weight\", by which the record is to be grouped, is neither a number",
        ),
    ] {
        let found = dead(filter, group_by, price);
        assert!(found.starts_with(reason), "{found}");
    }
    let mut judge = judge(None, &[]);
    let whole = message(Value::Long(1), "", true, 0.5, 0);
    let cut = judge.judge(&whole[..whole.len() - 1]).unwrap_err();
    assert!(cut.starts_with("the value does not fit schema 3: "), "{cut}");
    let longer = judge.judge(&[&whole[..], &[0]].concat()).unwrap_err();
    assert_eq!(longer, "1 bytes are left after the record, which has schema 3");
}

#[test]
fn a_filter_may_read_the_deepest_record_that_there_can_be() {
    let judged = || {
        let schema = r#"{"type": "record", "name": "Item", "fields": [
            {"name": "price", "type": "long"}, {"name": "next", "type": ["null", "Item"]}]}"#;
        let mut judge = Judge::new(Rules::compile(&config(Some("next.next.price == 1"), &[])).unwrap());
        judge
            .decoder
            .learn(3, Ok(Arc::new(Schema::parse_str(schema).unwrap())));
        let datum = [&[2, 2].repeat(127)[..], &[2, 0]].concat();
        let outcome = judge.judge(&wire::encode(3, &datum));
        assert_eq!(
            outcome,
            Ok(Outcome::Summed {
                group: None,
                value: Some(1)
            })
        );
        let deeper = [&[2, 2], &datum[..]].concat();
        assert!(
            judge
                .judge(&wire::encode(3, &deeper))
                .unwrap_err()
                .contains("within each other")
        );
    };
    // Three quarters of the stack that the worker has.
    let thread = std::thread::Builder::new().stack_size(3 << 19);
    thread.spawn(judged).unwrap().join().unwrap();
}

proptest! {
    #[test]
    fn both_ways_say_the_same(
        price in prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::Long), (-9..9_i64).prop_map(Value::Long), "[0-9]".prop_map(Value::String)],
        title in "[ab|\\\\자]{0,5}", sold: bool, weight in prop_oneof![any::<f64>(), -2.0..2.0], state in 0..2_u32,
        filter in prop::option::of(prop::sample::select(vec![
            "price <= 5", "price == null || price > 0", "sold", "!sold && weight < 0.5", "state == 'NEW' || price < 0", "title == 'a'",
            "title.contains('b')", "size(category) == 1 && sold", "cost == 1", "cost <= 2.58", "sold || cost + 1 > 5",
            "size(category) == 1 && cost >= 2.58", "price > cost", "price + 1 > 3", "weight != price", "at == 1700000000000",
        ])),
        group_by in prop::sample::subsequence(vec!["title", "state", "sold", "at", "price", "weight", "category"], 0..3),
        damage in prop::option::weighted(0.3, any::<(prop::sample::Index, u8)>()),
    ) {
        let mut message = message(price, &title, sold, weight, state);
        if let Some((place, byte)) = damage {
            let place = place.index(message.len());
            message[place] = byte;
        }
        let _ = both(&mut judge(filter, &group_by), &message);
    }
}
