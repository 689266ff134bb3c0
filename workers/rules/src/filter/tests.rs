//! What expressions compile to, and what they say of a record.

mod scalars;

use std::collections::HashMap;

use apache_avro::{Decimal, types::Value};
use proptest::prelude::*;

use super::{EvaluateError, Filter, FilterError, MAX_LENGTH, Scalar, compile};

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn union(value: Value) -> Value {
    Value::Union(1, Box::new(value))
}

fn product() -> Value {
    let seller = vec![
        ("name".to_owned(), text("kim")),
        ("rating".to_owned(), Value::Float(4.5)),
    ];
    Value::Record(vec![
        ("price".to_owned(), Value::Long(1_000_000)),
        ("count".to_owned(), Value::Int(3)),
        ("weight".to_owned(), Value::Double(0.5)),
        ("title".to_owned(), text("자전거 26\"")),
        ("sold".to_owned(), Value::Boolean(false)),
        ("state".to_owned(), Value::Enum(1, "USED".to_owned())),
        ("note".to_owned(), union(text("as new"))),
        ("discount".to_owned(), Value::Union(0, Box::new(Value::Null))),
        (
            "category".to_owned(),
            Value::Array(vec![text("sports"), text("bikes")]),
        ),
        ("seller".to_owned(), Value::Record(seller)),
        (
            "tags".to_owned(),
            Value::Map(HashMap::from([("a".to_owned(), Value::Int(1))])),
        ),
        ("image".to_owned(), Value::Bytes(b"\xff".to_vec())),
        ("sortDate".to_owned(), Value::TimestampMillis(1_700_000_000_000)),
        ("day".to_owned(), Value::Date(19_000)),
        ("cost".to_owned(), Value::Decimal(Decimal::from(vec![1]))),
        ("int".to_owned(), Value::Int(7)),
    ])
}

fn filter(expression: &str) -> Filter {
    compile(expression).unwrap_or_else(|error| panic!("{error}"))
}

fn matches(expression: &str) -> Result<bool, EvaluateError> {
    filter(expression).matches(&product(), &[])
}

#[test]
fn a_filter_reads_every_type_that_has_a_counterpart() {
    for expression in [
        "price <= 1000000",
        "!(price < 1000000)",
        "price <= 1000000.5 && weight < 1",
        "count == 3 && count % 2 == 1",
        "weight * 2.0 == 1.0",
        "title.startsWith('자전거') && title.contains('26')",
        "title.matches('^[^a-z]+$')",
        "!sold",
        "state == 'USED' && state in ['NEW', 'USED']",
        "note == 'as new'",
        "'bikes' in category && size(category) == 2 && category[0] == 'sports'",
        "category.exists(name, name == 'bikes')",
        "category.filter(name, name.size() > 5).size() == 1",
        "category.all(price, price != '')",
        "seller.name == 'kim' && seller.rating > 4.0 && has(seller.rating)",
        "!has(seller.age)",
        "tags.a == 1 && tags['a'] == 1",
        "image == b'\\xff'",
        "sortDate > 1600000000000 && day == 19000",
        "type(price) == int",
        "sold ? price > 5 : true",
        "true",
    ] {
        assert_eq!(matches(expression), Ok(true), "{expression}");
    }
}

#[test]
fn null_is_equal_to_null_only_and_nothing_is_computed_with_it() {
    let null = EvaluateError::Null {
        fields: vec!["discount".to_owned()],
    };
    for (expression, expected) in [
        ("discount == null", Ok(true)),
        ("discount != 5", Ok(true)),
        ("type(discount) == null_type", Ok(true)),
        ("discount != null", Ok(false)),
        ("discount == 5", Ok(false)),
        ("discount in [1, 2]", Ok(false)),
        ("discount != null && discount < 5", Ok(false)),
        ("discount < 5 && discount != null", Ok(false)),
        ("discount == null || discount < 5", Ok(true)),
        ("discount < 5", Err(null)),
    ] {
        assert_eq!(matches(expression), expected, "{expression}");
    }
    for expression in [
        "discount <= 5",
        "5 > discount",
        "discount + 1 == 2",
        "1 - discount == 2",
        "-discount == 1",
        "!discount",
        "discount.amount == 1",
        "discount[0] == 1",
        "discount.contains('a')",
        "size(discount) == 1",
        "'a' in discount",
    ] {
        assert!(
            matches!(matches(expression), Err(EvaluateError::Null { .. })),
            "{expression}: {:?}",
            matches(expression)
        );
    }
}

#[test]
fn what_has_no_result_is_a_typed_error() {
    let not_bool = |found: &str| EvaluateError::NotBool {
        found: found.to_owned(),
    };
    for (expression, expected) in [
        ("price", not_bool("int")),
        ("title", not_bool("string")),
        ("sold ? sold : title", not_bool("string")),
        (
            "missing > 5",
            EvaluateError::MissingField {
                field: "missing".to_owned(),
            },
        ),
        // Even where the evaluation would not reach it: whether a record fails does not depend on its values.
        (
            "true || missing > 5",
            EvaluateError::MissingField {
                field: "missing".to_owned(),
            },
        ),
        (
            "cost > 5",
            EvaluateError::UnsupportedType {
                field: "cost".to_owned(),
                found: "decimal",
            },
        ),
    ] {
        assert_eq!(matches(expression), Err(expected), "{expression}");
    }
    for expression in [
        "price < 'a'",
        "price / 0 == 1",
        "price * 9223372036854775807 > 0",
        "category[7] == ''",
        "seller.age > 3",
    ] {
        assert!(
            matches!(matches(expression), Err(EvaluateError::Failed { .. })),
            "{expression}: {:?}",
            matches(expression)
        );
    }
    assert_eq!(
        filter("true").matches(&Value::Long(1), &[]),
        Err(EvaluateError::NotARecord { found: "long" })
    );
}

#[test]
fn the_fields_are_the_names_that_nothing_binds() {
    for (expression, fields) in [
        ("price <= 1000000", vec!["price"]),
        (
            "price > 1 && price < 5 || seller.name == title",
            vec!["price", "seller", "title"],
        ),
        ("category.exists(name, name == title)", vec!["category", "title"]),
        (
            "category.exists(name, true) && name == ''",
            vec!["category", "name"],
        ),
        ("category.all(price, .price == 1)", vec!["category", "price"]),
        ("has(seller.age)", vec!["seller"]),
        (
            "{'a': price}[title] == [count][0]",
            vec!["count", "price", "title"],
        ),
        ("type(price) == int", vec!["price"]),
        ("true", vec![]),
    ] {
        assert_eq!(
            filter(expression)
                .fields()
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
            fields,
            "{expression}"
        );
    }
}

#[test]
fn what_cannot_be_a_filter_is_refused_with_the_place_and_the_reason() {
    for (expression, message) in [
        (
            "  ",
            "the filter is empty, expected an expression such as \"price <= 1000000\"",
        ),
        (
            "price <=",
            "filter \"price <=\" does not parse: line 1, column 9: it ends too early",
        ),
        (
            "price = 5",
            "filter \"price = 5\" does not parse: line 1, column 7: token recognition error",
        ),
        ("a &&\n b b", "does not parse: line 2, column 4: unexpected 'b'"),
        (
            "price + 1",
            "filter \"price + 1\" cannot be used: column 7: its result is not a bool, expected a condition",
        ),
        ("sold ? 1 : true", "column 8: its result is not a bool"),
        ("'a'", "column 1: its result is not a bool"),
        ("category.map(c, c)", "its result is not a bool"),
        (
            "cheap(price)",
            "column 6: there is no function \"cheap\", expected one of bool, contains,",
        ),
        ("optional.of(price) == 1", "there is no function \"of\""),
        ("a.?b == 1", "unsupported syntax"),
        (
            "timestamp(a) < timestamp(b)",
            "there is no function \"timestamp\"",
        ),
        ("title.matches('(')", "\"(\" is not a regular expression"),
        ("title.matches(pattern)", "\"matches\" takes a pattern in quotes"),
        ("title.matches('(a{1000}){1000}')", "is not a regular expression"),
        ("Product{price: 1} == 1", "there is no type \"Product\" to build"),
        (
            "a.exists(x, b.exists(y, x == y))",
            "a macro over a list cannot stand inside another one",
        ),
    ] {
        let error = compile(expression).expect_err(expression).to_string();
        assert!(error.contains(message), "{expression}\n{error}\n{message}");
    }
}

#[test]
fn macros_may_follow_each_other() {
    assert_eq!(
        matches(
            "category.map(c, c + '!').exists(c, c == 'bikes!') && category.exists(c, c == title) == false"
        ),
        Ok(true)
    );
}

#[test]
fn an_expression_is_bounded_in_length_and_depth() {
    let nested =
        |open: &str, close: &str, times: usize| format!("{}x{}", open.repeat(times), close.repeat(times));
    for expression in [
        nested("(", ")", 1500),
        nested("[", "]", 1500),
        format!("x{} == 1", " + 1".repeat(900)),
        format!("x{}", "[0]".repeat(1300)),
        format!("x{}", ".size()".repeat(500)),
        format!("x{}", ".a".repeat(2000)),
        format!("{}true", "x?x:".repeat(1000)),
        "(".repeat(4000),
    ] {
        assert!(compile(&expression).is_err(), "{expression}");
    }
    assert!(
        compile(&format!("x{}", " || y".repeat(800))).is_ok(),
        "a long list of alternatives is not deep"
    );
    let longest = format!("x == '{}'", "a".repeat(MAX_LENGTH - 7));
    assert!(compile(&longest).is_ok());
    let too_long = format!("{longest} ");
    assert!(matches!(compile(&too_long), Err(FilterError::TooLong { length }) if length == MAX_LENGTH + 1));
}

#[test]
fn a_filter_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    shared(&filter("true"));
}

proptest! {
    #[test]
    fn a_comparison_is_the_one_of_rust(price: i64, bound: i64) {
        let record = Value::Record(vec![("price".to_owned(), union(Value::Long(price)))]);
        for (operator, expected) in [("<=", price <= bound), ("<", price < bound), ("==", price == bound), (">", price > bound)] {
            let filter = filter(&format!("price {operator} {bound}"));
            prop_assert_eq!(filter.matches(&record, &[]), Ok(expected));
        }
    }

    #[test]
    fn no_text_makes_the_compiler_fail_otherwise_than_with_an_error(text in "[a-c0-9 .(),'\"<>=!&|?:+*/%{}\\[\\]\\\\-]{0,60}") {
        if let Ok(filter) = compile(&text) {
            let _ = filter.matches(&product(), &[]);
        }
    }
}
