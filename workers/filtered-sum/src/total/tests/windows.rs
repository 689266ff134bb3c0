//! Totals of sums with windows, which have fields of their own.

use super::*;

#[test]
fn a_sum_without_windows_has_the_schema_that_it_always_had() {
    assert_eq!(schema(0, Form::Plain), SCHEMA);
    let Schema::Record(record) = &*PLAIN else {
        panic!("{PLAIN:?} is a record")
    };
    assert!(!record.lookup.contains_key("late"), "{:?}", record.lookup);
}

/// `grouping`, and the times of its window.
fn written(total: &Total) -> (Value, Value, Value) {
    let value = total.encode(7, Form::Windows).unwrap();
    let (_, datum) = wire::decode(&value).unwrap();
    let reader = GenericDatumReader::builder(&WITH_WINDOWS).build().unwrap();
    let Value::Record(fields) = reader.read_value(&mut &*datum).unwrap() else {
        panic!("a total is a record")
    };
    let fields = fields.into_iter().collect::<BTreeMap<_, _>>();
    let field = |name: &str| plain(fields[name].clone());
    (field("grouping"), field("windowStart"), field("windowEnd"))
}

#[test]
fn a_window_is_told_apart_from_its_group_which_may_be_empty() {
    for (group, grouping) in [
        (None, Value::Null),
        (Some(""), Value::String(String::new())),
        (Some("a/b"), Value::String("a/b".to_owned())),
    ] {
        let total = Total {
            scope: Scope::Partition {
                partition: 3,
                next_offset: 9,
            },
            group: Some(window::name_of(-60_000, group)),
            accumulator: Accumulator::summed(Some(5)),
            windowed: Windowed::In {
                start: -60_000,
                end: 0,
            },
        };
        let times = (Value::TimestampMillis(-60_000), Value::TimestampMillis(0));
        assert_eq!(written(&total), (grouping, times.0, times.1));
        assert_eq!(round_trip(&total, Form::Windows), total);
        assert!(total.id().starts_with("partition-3/1969-12-31T23:59:00Z"));
    }
}

proptest! {
    #[test]
    fn what_was_written_of_windows_is_read(
        total in any_total(), late in 0..=i64::MAX, watermark: i64, expired in prop::option::of((0..=i64::MAX, -9..9_i128)),
    ) {
        let expired = expired.map(|(count, sum)| Accumulator { count, sum, ..Accumulator::default() });
        let total = Total {
            group: None,
            accumulator: Accumulator { late, retracted: 0, ..total.accumulator },
            windowed: Windowed::All(Progress { watermark: Some(watermark), expired }),
            ..total
        };
        prop_assert_eq!(round_trip(&total, Form::Windows), total);
    }
}
