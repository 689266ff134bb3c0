//! Totals as bytes.

mod windows;

use naru_rules::decimal::MAX_SCALE;
use proptest::prelude::*;

use super::*;

#[test]
fn a_total_is_read_by_the_schema_of_its_scale_and_its_bytes_are_those_of_any_other() {
    let forms = [Form::Plain, Form::Windows, Form::Retracted];
    for (scale, form) in (0..=MAX_SCALE).flat_map(|scale| forms.map(|form| (scale, form))) {
        let writer = Schema::parse_str(&schema(scale, form)).unwrap();
        let Schema::Record(record) = &writer else {
            panic!("{writer:?} is a record")
        };
        let of_sum = &record.fields[record.lookup["sum"]].schema;
        assert!(
            matches!(of_sum, Schema::Decimal(sum) if (sum.precision, sum.scale) == (38, scale.into())),
            "{of_sum:?}"
        );
        let total = Total {
            scope: Scope::Partition {
                partition: 1,
                next_offset: 7,
            },
            group: None,
            accumulator: Accumulator {
                retracted: i64::from(form == Form::Retracted),
                ..Accumulator::summed(Some(-MAX_SUM))
            },
            windowed: match form {
                Form::Plain | Form::Retracted => Windowed::No,
                Form::Windows => Windowed::All(Progress {
                    watermark: None,
                    expired: Some(Accumulator::summed(Some(MAX_SUM))),
                }),
            },
        };
        let value = total.encode(7, form).unwrap();
        let (_, datum) = wire::decode(&value).unwrap();
        assert_eq!(Total::decode(&writer, datum).unwrap(), total);
    }
}

fn round_trip(total: &Total, form: Form) -> Total {
    let value = total.encode(7, form).unwrap();
    let (schema_id, datum) = wire::decode(&value).unwrap();
    assert_eq!(schema_id, 7);
    let writer = Schema::parse_str(&schema(0, form)).unwrap();
    Total::decode(&writer, datum).unwrap()
}

fn any_total() -> impl Strategy<Value = Total> {
    let offsets = prop::collection::btree_map(0..5_i32, 0..i64::MAX, 0..4);
    let scope = prop_oneof![
        (0..i32::MAX, 0..i64::MAX).prop_map(|(partition, next_offset)| Scope::Partition {
            partition,
            next_offset
        }),
        offsets.prop_map(|offsets| Scope::Overall { offsets }),
    ];
    let counts = (0..=i64::MAX, 0..=i64::MAX, 0..=i64::MAX, 0..=i64::MAX);
    let sum = prop_oneof![-MAX_SUM..=MAX_SUM, -300..300_i128];
    (scope, any::<Option<String>>(), counts, sum).prop_map(
        |(scope, group, (count, dropped, dead, retracted), sum)| Total {
            scope,
            group,
            accumulator: Accumulator {
                count,
                dropped,
                dead,
                late: 0,
                retracted,
                sum,
            },
            windowed: Windowed::No,
        },
    )
}

proptest! {
    #[test]
    fn what_was_written_is_read(total in any_total()) {
        prop_assert_eq!(round_trip(&total, Form::Retracted), total);
    }

    #[test]
    fn no_bytes_are_read_otherwise_than_as_a_total_or_an_error(bytes: Vec<u8>) {
        let _ = Total::decode(&PLAIN, &bytes);
    }
}

#[test]
fn a_total_of_a_sum_of_which_each_record_counts_has_taken_none_back_and_does_not_speak_of_it() {
    let total = Total {
        scope: Scope::Partition {
            partition: 1,
            next_offset: 7,
        },
        windowed: Windowed::No,
        group: None,
        accumulator: Accumulator::summed(Some(5)),
    };
    assert_eq!(round_trip(&total, Form::Plain), total);
    let names = |schema: &Schema| match schema {
        Schema::Record(record) => {
            let names = record.fields.iter().map(|field| field.name.clone());
            names.collect::<Vec<_>>()
        }
        other => panic!("{other:?} is a record"),
    };
    let plain = names(&PLAIN);
    assert_eq!(plain.len(), 10, "its tables get no column more: {plain:?}");
    // In the order of columns that tables have already.
    assert_eq!(
        names(&WITH_RETRACTED),
        [plain, vec!["retracted".to_owned()]].concat()
    );
}

#[test]
fn ids_name_scope_and_group() {
    let total = |scope: &Scope, group: Option<&str>| Total {
        scope: scope.clone(),
        group: group.map(str::to_owned),
        accumulator: Accumulator::default(),
        windowed: Windowed::No,
    };
    let partition = Scope::Partition {
        partition: 3,
        next_offset: 9,
    };
    let overall = Scope::Overall {
        offsets: Offsets::from([(0, 123), (1, 456)]),
    };
    assert_eq!(total(&partition, None).id(), "partition-3");
    assert_eq!(total(&partition, Some("Seoul|\\N")).id(), "partition-3/Seoul|\\N");
    assert_eq!(total(&overall, None).id(), "total");
    assert_eq!(total(&overall, Some("")).id(), "total/");
    let Scope::Overall { offsets } = overall else {
        unreachable!()
    };
    assert_eq!(format_offsets(&offsets), "0:123,1:456");
}

#[test]
fn the_total_of_a_group_may_go_and_no_other() {
    let removed = |partition, group: &str| {
        let group = group.to_owned();
        Some(Removed { partition, group })
    };
    for (id, expected) in [
        ("partition-3/Seoul|a/b", removed(Some(3), "Seoul|a/b")),
        ("total/", removed(None, "")),
        ("partition-3", None),
        ("total", None),
        ("partition-x/a", None),
        ("others/a", None),
    ] {
        assert_eq!(Removed::parse(id.as_bytes()), expected, "{id}");
    }
    assert_eq!(Removed::parse(&[b't', 0xff]), None);
}

#[test]
fn a_sum_out_of_range_is_not_a_total() {
    for bytes in [vec![0x7f; 16], [vec![1], vec![0; 16]].concat()] {
        assert_eq!(integer(&Value::Decimal(Decimal::from(bytes))), None);
    }
}
