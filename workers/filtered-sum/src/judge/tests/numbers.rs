//! What is summed of which number, and why another one is a dead letter.

use super::*;

/// A field `price` of this type, in which there is also what only the whole record can tell.
fn judge_of(field_type: &str, filter: Option<&str>, scale: u8, round_floats: bool) -> (Judge, Schema) {
    let text = format!(
        r#"{{"type": "record", "name": "Item", "fields": [
            {{"name": "price", "type": {field_type}}}, {{"name": "tags", "type": {{"type": "array", "items": "int"}}}}]}}"#
    );
    let schema = Schema::parse_str(&text).unwrap();
    let config = FilteredSumWorker {
        scale,
        round_floats,
        ..config(filter, &[])
    };
    let mut judge = Judge::new(Rules::compile(&config).unwrap());
    judge.decoder.learn(3, Ok(Arc::new(schema.clone())));
    (judge, schema)
}

fn item(schema: &Schema, price: Value) -> Vec<u8> {
    let fields = vec![
        ("price".to_owned(), price),
        ("tags".to_owned(), Value::Array(vec![])),
    ];
    let writer = GenericDatumWriter::builder(schema).build().unwrap();
    wire::encode(3, &writer.write_value_to_vec(Value::Record(fields)).unwrap())
}

/// What becomes of it, however it is looked at.
fn outcome(judge: &mut Judge, message: &[u8]) -> Result<Verdict, String> {
    let (outcome, is_quick) = both(judge, message);
    assert_eq!(is_quick, outcome.is_ok(), "{outcome:?}");
    outcome.map(|(verdict, _)| verdict)
}

fn decimal(digits: i128) -> Value {
    Value::Decimal(digits.to_be_bytes().into())
}

const CENTS: &str = r#"{"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}"#;
const FIXED: &str =
    r#"{"type": "fixed", "name": "F", "size": 16, "logicalType": "decimal", "precision": 38, "scale": 2}"#;
const LARGE: &str = "has more than 38 digits, of which sum.scale puts";

#[test]
fn integers_and_decimals_are_summed_to_their_last_digit_or_not_at_all() {
    let largest = 10_i128.pow(38) - 1;
    let nullable = format!(r#"["null", {CENTS}]"#);
    let in_union = |value| Value::Union(1, Box::new(value));
    for (field_type, scale, price, expected) in [
        (r#""long""#, 0, Value::Long(i64::MIN), Ok(i128::from(i64::MIN))),
        (
            r#""long""#,
            18,
            Value::Long(i64::MAX),
            Ok(i128::from(i64::MAX) * 10_i128.pow(18)),
        ),
        (r#""int""#, 2, Value::Int(-3), Ok(-300)),
        (CENTS, 2, decimal(99_999_999), Ok(99_999_999)),
        (CENTS, 4, decimal(-5), Ok(-500)),
        (FIXED, 2, decimal(-99_999_999), Ok(-99_999_999)),
        (FIXED, 0, decimal(500), Ok(5)),
        (
            CENTS,
            0,
            decimal(501),
            Err("has more than 0 digits behind the point"),
        ),
        (
            FIXED,
            1,
            decimal(-1),
            Err("has more than 1 digits behind the point"),
        ),
        (CENTS, 2, decimal(largest), Ok(largest)),
        (FIXED, 2, decimal(-largest), Ok(-largest)),
        (CENTS, 2, decimal(largest + 1), Err(LARGE)),
        (CENTS, 3, decimal(largest), Err(LARGE)),
        (FIXED, 2, decimal(i128::MIN), Err(LARGE)),
        (CENTS, 2, Value::Decimal(vec![1; 17].into()), Err(LARGE)),
        (&nullable, 2, in_union(decimal(7)), Ok(7)),
    ] {
        let (mut judge, schema) = judge_of(field_type, None, scale, false);
        let found = outcome(&mut judge, &item(&schema, price));
        match expected {
            Ok(expected) => assert_eq!(found, Ok(Verdict::Summed(Some(expected))), "{field_type} {scale}"),
            Err(reason) => {
                let found = found.unwrap_err();
                assert!(
                    found.starts_with("field \"price\", which is to be summed, ") && found.contains(reason),
                    "{found}"
                );
            }
        }
    }
    let (mut judge, schema) = judge_of(&nullable, None, 2, false);
    let null = item(&schema, Value::Union(0, Box::new(Value::Null)));
    assert_eq!(outcome(&mut judge, &null), Ok(Verdict::Summed(None)));
}

#[test]
fn floats_are_summed_only_if_that_is_wanted_and_each_as_the_decimal_that_a_person_would_write() {
    for (field_type, price, expected) in [
        (r#""double""#, Value::Double(0.1), Ok(10)),
        (r#""double""#, Value::Double(1.005), Ok(100)),
        (r#""double""#, Value::Double(1.015), Ok(102)),
        (r#""double""#, Value::Double(-0.0), Ok(0)),
        (r#""float""#, Value::Float(0.125), Ok(12)),
        // The double that is equal to it would be 101.49999857 hundredths.
        (r#""float""#, Value::Float(1.015), Ok(102)),
        (r#""float""#, Value::Float(0.1), Ok(10)),
        (r#""long""#, Value::Long(3), Ok(300)),
        (r#""double""#, Value::Double(1e35), Ok(10_i128.pow(37))),
        (r#""double""#, Value::Double(1e36), Err(LARGE)),
        (
            r#""double""#,
            Value::Double(f64::NAN),
            Err("is NaN, expected a finite number"),
        ),
        (
            r#""double""#,
            Value::Double(f64::INFINITY),
            Err("is inf, expected a finite number"),
        ),
        (
            r#""float""#,
            Value::Float(f32::NEG_INFINITY),
            Err("is -inf, expected a finite number"),
        ),
        (
            r#""string""#,
            Value::String("5".to_owned()),
            Err("is a string, expected an int, a long, a decimal, a float, a double or null"),
        ),
    ] {
        let (mut judge, schema) = judge_of(field_type, None, 2, true);
        let message = item(&schema, price);
        match expected {
            Ok(expected) => {
                assert_eq!(
                    outcome(&mut judge, &message),
                    Ok(Verdict::Summed(Some(expected))),
                    "{field_type}"
                );
            }
            Err(reason) => {
                let found = outcome(&mut judge, &message).unwrap_err();
                assert!(found.contains(reason), "{found}");
            }
        }
        if !field_type.contains("long") {
            let (mut judge, _) = judge_of(field_type, None, 2, false);
            let found = outcome(&mut judge, &message).unwrap_err();
            assert!(
                found.contains("expected an int, a long, a decimal or null"),
                "{found}"
            );
        }
    }
}

#[test]
fn a_filter_over_decimals_says_the_same_by_the_wanted_fields_and_by_the_whole_record() {
    for (digits, passes) in [(99_999_999, true), (100_000_000, true), (100_000_001, false)] {
        for field_type in [CENTS, FIXED] {
            for (filter, is_quick) in [
                ("price <= 1000000", true),
                ("size(tags) == 0 && price <= 1000000", false),
            ] {
                let (mut judge, schema) = judge_of(field_type, Some(filter), 2, false);
                let expected = match passes {
                    true => Verdict::Summed(Some(digits)),
                    false => Verdict::Dropped,
                };
                let found = both(&mut judge, &item(&schema, decimal(digits)));
                assert_eq!(
                    found,
                    (Ok((expected, String::new())), is_quick),
                    "{filter} {digits}"
                );
            }
        }
    }
}

#[test]
fn a_scale_that_no_total_has_is_refused() {
    let config = FilteredSumWorker {
        scale: 19,
        ..config(None, &[])
    };
    assert_eq!(
        Rules::compile(&config).unwrap_err().to_string(),
        "the scale of the sum is 19, expected at most 18"
    );
}

#[test]
fn a_scalar_has_not_become_larger() {
    assert_eq!(size_of::<Scalar<'_>>(), 24);
}

proptest! {
    /// The sum of doubles is the sum of their decimals, in whatever order and however they are split.
    #[test]
    fn a_sum_of_doubles_does_not_depend_on_their_order(mut values in prop::collection::vec(-1e9..1e9_f64, 1..40), at in any::<prop::sample::Index>()) {
        let (mut judge, schema) = judge_of(r#""double""#, None, 2, true);
        let mut sum = |values: &[f64]| values.iter().map(|value| match outcome(&mut judge, &item(&schema, Value::Double(*value))) {
            Ok(Verdict::Summed(Some(value))) => value,
            other => panic!("{other:?}"),
        }).sum::<i128>();
        let straight = sum(&values);
        let (left, right) = values.split_at(at.index(values.len()));
        prop_assert_eq!(sum(left) + sum(right), straight);
        values.sort_by(f64::total_cmp);
        prop_assert_eq!(sum(&values), straight);
        for value in values {
            let cents = format!("{value:.2}").replace('.', "").parse::<i128>().unwrap();
            // `format!` rounds the exact double, not its shortest decimal: they differ at most where these lie on two sides of a half.
            prop_assert!((sum(&[value]) - cents).abs() <= 1);
        }
    }
}
