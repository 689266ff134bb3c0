//! What scalars decide, against CEL and against exact arithmetic.

use super::*;

/// What the filter says of the fields that it reads, as scalars.
fn holds(filter: &Filter, record: &Value) -> Option<bool> {
    let Value::Record(fields) = record else {
        panic!("{record:?}")
    };
    let row = filter.fields().iter().map(|name| {
        let field = fields.iter().find(|(field, _)| field == name);
        field.map_or(Scalar::Other, |(_, value)| Scalar::of(value))
    });
    filter.holds(&row.collect::<Vec<_>>())
}

#[test]
fn most_filters_are_decided_by_scalars() {
    for (expression, expected) in [
        ("price <= 1000000", Some(true)),
        ("1000000 < price", Some(false)),
        ("price <= 1000000.5 && weight < 1", Some(true)),
        ("price > -5 && -0.5 < weight", Some(true)),
        ("!(price < 1000000) && !sold", Some(true)),
        ("discount == null || discount < 5", Some(true)),
        ("discount < 5 && discount != null", Some(false)),
        ("state in ['NEW', 'USED'] && discount in [null]", Some(true)),
        (
            "title.contains('26') && title.startsWith('자') && !title.endsWith('자')",
            Some(true),
        ),
        ("note == 'as new' && state != note", Some(true)),
        ("sortDate > 1600000000000 && day == 19000", Some(true)),
        ("true", Some(true)),
        // An unknown part does not matter where another one decides.
        ("price < 0 && count + 1 == 4", Some(false)),
        ("count + 1 == 4 || price > 0", Some(true)),
        ("count + 1 == 4 && price > 0", None),
        ("!(count + 1 == 4)", None),
        // Errors, for which CEL has the words.
        ("discount < 5", None),
        ("price", None),
        ("price < 'a'", None),
        ("!price", None),
        ("missing == 1 || true", None),
        ("cost == 1 || true", None),
        // More than scalars.
        ("'bikes' in category || true", None),
        ("image == b'a'", None),
        ("price < 5u", None),
        ("int == 7", None),
    ] {
        assert_eq!(holds(&filter(expression), &product()), expected, "{expression}");
    }
}

#[test]
fn a_uuid_is_text_to_cel_only() {
    let id = Value::Uuid(apache_avro::Uuid::from_u64_pair(1, 2));
    let record = Value::Record(vec![("id".to_owned(), id)]);
    let filter = filter("id == '00000000-0000-0001-0000-000000000002'");
    assert_eq!(
        (holds(&filter, &record), filter.matches(&record, &[])),
        (None, Ok(true))
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        (-3..3).prop_map(Value::Int),
        prop_oneof![
            -3..3_i64,
            any::<i64>(),
            Just(1 << 53),
            Just((1 << 53) + 1),
            Just(i64::MAX),
            Just(i64::MIN)
        ]
        .prop_map(Value::Long),
        prop_oneof![
            any::<f64>(),
            -3.0..3.0,
            Just(1.0),
            Just(-0.0),
            Just(f64::NAN),
            Just(9007199254740992.0),
            Just(9223372036854775808.0)
        ]
        .prop_map(Value::Double),
        any::<f32>().prop_map(Value::Float),
        "[ab]{0,2}".prop_map(Value::String),
        Just(Value::Enum(0, "a".to_owned())),
        (-3..3_i64).prop_map(Value::TimestampMillis),
        (-3..3).prop_map(Value::Date),
        Just(Value::Uuid(apache_avro::Uuid::from_u64_pair(1, 2))),
        Just(Value::Bytes(vec![b'a'])),
        Just(Value::Array(vec![Value::Int(1)])),
        Just(Value::Decimal(Decimal::from(vec![1]))),
    ];
    (scalar, any::<bool>()).prop_map(|(value, in_union)| if in_union { union(value) } else { value })
}

fn any_expression() -> impl Strategy<Value = String> {
    let operand = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "a",
        "b",
        "c",
        ".a",
        "none",
        "null",
        "true",
        "false",
        "0",
        "1",
        "-1",
        "- 1",
        "1.0",
        "-0.5",
        "9007199254740993",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808.0",
        "1u",
        "''",
        "'a'",
        "'ab'",
        "b'a'",
        "(a + 1)",
        "[1]",
        "int",
        "type(a)",
        "(a == b)",
    ]);
    let operand = || operand.clone();
    let operator = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        6 => (operand(), operator, operand()).prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
        2 => (operand(), prop::collection::vec(operand(), 0..3)).prop_map(|(operand, list)| format!("{operand} in [{}]", list.join(", "))),
        2 => (operand(), prop::sample::select(vec!["contains", "startsWith", "endsWith"]), operand())
            .prop_map(|(text, test, part)| format!("{text}.{test}({part})")),
        1 => operand().prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 16, 2, |part| {
        prop_oneof![
            (part.clone(), part.clone()).prop_map(|(left, right)| format!("({left}) && ({right})")),
            (part.clone(), part.clone()).prop_map(|(left, right)| format!("({left}) || ({right})")),
            part.clone().prop_map(|part| format!("!({part})")),
            (part.clone(), part.clone(), part)
                .prop_map(|(one, two, three)| format!("({one}) ? ({two}) : ({three})")),
        ]
    })
}

/// A value, or a decimal as its digits and its scale.
type Held = Result<Value, (i128, u8)>;

/// What a filter says of these fields, quickly and as a whole.
fn judged(filter: &Filter, values: &[(&str, Held)]) -> (Option<bool>, Result<bool, EvaluateError>) {
    let held = |value: &Held| match value {
        Ok(value) => value.clone(),
        Err((digits, _)) => Value::Decimal(Decimal::from(digits.to_be_bytes())),
    };
    let record = values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), held(value)))
        .collect();
    let row = filter
        .fields()
        .iter()
        .map(|name| match values.iter().find(|(field, _)| field == name) {
            Some((_, Ok(value))) => Scalar::of(value),
            Some((_, Err((digits, scale)))) => Scalar::decimal(*digits, *scale),
            None => Scalar::Other,
        });
    let row = row.collect::<Vec<_>>();
    (filter.holds(&row), filter.matches(&Value::Record(record), &row))
}

#[test]
fn a_decimal_is_compared_to_the_last_digit_in_both_ways() {
    let cents = |cents: i128| Err((cents, 2));
    let huge = 10_i128.pow(37);
    for (expression, price, expected) in [
        ("price <= 1000000", cents(99_999_999), true),
        ("price <= 1000000", cents(100_000_000), true),
        ("price <= 1000000", cents(100_000_001), false),
        ("1000000 >= price", cents(100_000_001), false),
        ("price <= 999999.99", cents(99_999_999), true),
        ("price < 999999.99", cents(99_999_999), false),
        ("price == 1000000.01", cents(100_000_001), true),
        ("1000000.01 == price", cents(100_000_001), true),
        ("price == 1000000.01", cents(100_000_000), false),
        ("1000000 == price", Err((1_000_000, 0)), true),
        ("price in [1, 999999.99, null]", cents(99_999_999), true),
        ("price in [1, null]", cents(99_999_999), false),
        ("price != null && price > -0.01", cents(0), true),
        ("price > -0.01", cents(-1), false),
        ("price == 'a' || price == true", cents(0), false),
        // What a double has no room for.
        (
            "price > 9007199254740992.0",
            Err((9_007_199_254_740_993, 0)),
            true,
        ),
        ("price > 9007199254740992", Err((90_071_992_547_409_921, 1)), true),
        (
            "price > 9223372036854775807",
            Err((i128::from(i64::MAX) * 10 + 1, 1)),
            true,
        ),
        ("price > 9.99999999999999e36", Err((huge, 0)), true),
        ("price == 1e37", Err((huge, 0)), true),
        ("price == 1.0e37", Err((huge, 0)), true),
        ("price == 0.1", Err((10_i128.pow(36), 37)), true),
        (
            "price > other && other < price && price != other",
            Err((101, 2)),
            true,
        ),
        // With what only CEL can tell.
        (
            "size(category) == 1 && price <= 1000000",
            cents(100_000_000),
            true,
        ),
        (
            "size(category) == 1 && price <= 1000000",
            cents(100_000_001),
            false,
        ),
        (
            "(price > 5 ? category.exists(price, price == 'x') : false)",
            cents(501),
            true,
        ),
        ("int(other) == 1 && (price >= 5) == true", cents(500), true),
    ] {
        let category = Ok(Value::Array(vec![text("x")]));
        let filter = filter(expression);
        let (quick, whole) = judged(
            &filter,
            &[
                ("category", category),
                ("other", Ok(Value::Long(1))),
                ("price", price),
            ],
        );
        assert_eq!(whole, Ok(expected), "{expression}");
        assert_eq!(quick.unwrap_or(expected), expected, "{expression}");
        let is_plain = !expression.contains("category") && !expression.contains("int(");
        assert_eq!(quick.is_some(), is_plain, "{expression}");
    }
}

#[test]
fn a_decimal_can_be_used_for_nothing_else() {
    let decimal = EvaluateError::Decimal {
        field: "price".to_owned(),
    };
    for (expression, expected) in [
        ("price + 1 > 5", Err(decimal.clone())),
        ("5 == price * 2", Err(decimal.clone())),
        ("price == 1u", Err(decimal.clone())),
        ("type(price) == int", Err(decimal.clone())),
        ("double(price) > 5.0", Err(decimal.clone())),
        ("[1, 5].exists(one, one == price)", Err(decimal.clone())),
        ("price", Err(decimal.clone())),
        ("price < 'a'", Err(decimal)),
        (
            "price < other",
            Err(EvaluateError::Null {
                fields: vec!["other".to_owned()],
            }),
        ),
        ("true || price + 1 > 5", Ok(true)),
        ("price + 1 > 5 && price > 5", Ok(false)),
        ("other + 1 > 5 || price == 5", Ok(true)),
    ] {
        let (quick, whole) = judged(
            &filter(expression),
            &[("other", Ok(Value::Null)), ("price", Err((500, 2)))],
        );
        assert_eq!(whole, expected, "{expression}");
        assert!(quick.is_none_or(|holds| expected == Ok(holds)), "{expression}");
    }
    let nested = vec![("cost".to_owned(), Value::Decimal(Decimal::from(vec![1])))];
    let (_, whole) = judged(
        &filter("item.cost > 5 && price > 1"),
        &[("item", Ok(Value::Record(nested))), ("price", Err((500, 2)))],
    );
    assert_eq!(
        whole.unwrap_err().to_string(),
        "field \"item\" holds decimal, which a filter cannot read"
    );
}

fn any_decimal() -> impl Strategy<Value = (i128, u8)> {
    prop_oneof![
        (any::<i128>(), 0..40_u8),
        (-300..300_i128, 0..4_u8),
        (-3..3_i128, 0..3_u8).prop_map(|(whole, scale)| (whole * 10_i128.pow(scale.into()), scale))
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn what_scalars_decide_is_what_the_whole_says_also_of_decimals(expression in any_expression(), values in prop::collection::vec((any_decimal(), any_value(), any_decimal()), 4)) {
        let Ok(filter) = compile(&expression) else { return Ok(()) };
        for (a, b, c) in values {
            let (quick, whole) = judged(&filter, &[("a", Err(a)), ("b", Ok(b.clone())), ("c", Err(c))]);
            if let Some(holds) = quick {
                prop_assert_eq!(whole, Ok(holds), "{} {:?} {:?} {:?}", expression, a, b, c);
            }
        }
    }

    /// CEL is right by definition where it has a type for the number.
    #[test]
    fn a_decimal_without_a_fraction_passes_where_a_long_does(expression in any_expression(), values in prop::collection::vec((-3..3_i64, any_value(), 0..9_u8), 4)) {
        let Ok(filter) = compile(&expression) else { return Ok(()) };
        for (a, b, scale) in values {
            let long = || Ok(Value::Long(a));
            let decimal = || Err((i128::from(a) * 10_i128.pow(scale.into()), scale));
            let (quick_expected, expected) = judged(&filter, &[("a", long()), ("b", Ok(b.clone())), ("c", long())]);
            let (quick, found) = judged(&filter, &[("a", decimal()), ("b", Ok(b.clone())), ("c", decimal())]);
            prop_assert_eq!(quick, quick_expected, "{} {} {:?}", expression, a, b);
            // What does more with a decimal than to compare it has no result.
            if let Ok(found) = found {
                prop_assert_eq!(Ok(found), expected, "{} {} {:?}", expression, a, b);
            }
        }
    }

    #[test]
    fn what_scalars_decide_is_what_cel_says(expression in any_expression(), values in prop::collection::vec((any_value(), any_value(), any_value()), 4)) {
        let Ok(filter) = compile(&expression) else { return Ok(()) };
        for (a, b, c) in values {
            let record = Value::Record([("a", a), ("b", b), ("c", c)].map(|(name, value)| (name.to_owned(), value)).into());
            if let Some(holds) = holds(&filter, &record) {
                prop_assert_eq!(filter.matches(&record, &[]), Ok(holds), "{} {:?}", expression, record);
            }
        }
    }
}
