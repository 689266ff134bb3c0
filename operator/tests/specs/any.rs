//! Resources by chance, after the schema of their kind: mostly what it asks for, and now and then anything.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select, string::string_regex};
use serde_json::{Map, Number, Value};

/// Texts that rules, patterns, selectors and expressions are made of, and some that have broken programs before.
const PIECES: [&str; 28] = [
    "id",
    "price",
    "goods",
    "{id}",
    "https://example.org/{id}",
    "http://",
    "kafka:9092",
    "(",
    r"(\d+)",
    "[",
    ">>",
    "$..a",
    "$[",
    "price < 1",
    "a.b.c",
    "'",
    "\"",
    "\\",
    "30s",
    "99999999999h",
    "latest",
    "naru.",
    "",
    "\u{0}",
    "\u{feff}",
    "가격",
    "🦀",
    "((((((((((",
];

/// A value after a schema. One in `wild` values is anything instead.
pub(crate) fn value(schema: &Value, wild: u32) -> BoxedStrategy<Value> {
    let fits = fitting(schema, wild);
    if wild == 0 {
        return fits;
    }
    prop_oneof![wild => fits, 1 => anything()].boxed()
}

fn fitting(schema: &Value, wild: u32) -> BoxedStrategy<Value> {
    if let Some(values) = schema["enum"].as_array() {
        return select(values.clone()).boxed();
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return prop_oneof![any::<i64>().prop_map(Value::from), text(schema)].boxed();
    }
    match schema["type"].as_str() {
        Some("object") => object(schema, wild),
        Some("array") => {
            let bound = |name: &str, default| {
                schema[name]
                    .as_u64()
                    .map_or(default, |bound| usize::try_from(bound).unwrap())
            };
            let least = bound("minItems", 0);
            vec(
                value(&schema["items"], wild),
                least..=bound("maxItems", 4).min(least + 3),
            )
            .prop_map(Value::Array)
            .boxed()
        }
        Some("integer") => {
            let bound = |name: &str, default| schema[name].as_f64().map_or(default, |bound| bound as i64);
            (bound("minimum", i64::MIN)..=bound("maximum", i64::MAX))
                .prop_map(Value::from)
                .boxed()
        }
        Some("number") => any::<f64>()
            .prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number))
            .boxed(),
        Some("boolean") => any::<bool>().prop_map(Value::Bool).boxed(),
        Some("string") => text(schema),
        _ => anything(),
    }
}

fn object(schema: &Value, wild: u32) -> BoxedStrategy<Value> {
    if let Some(values) = schema.get("additionalProperties") {
        let entries = proptest::collection::btree_map(words(), value(values, wild), 0..4);
        return entries.prop_map(|entries| entries.into_iter().collect()).boxed();
    }
    let required: Vec<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut fields = Just(Map::new()).boxed();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let name = name.clone();
        let present = if required.contains(&name.as_str()) {
            0.98
        } else {
            0.5
        };
        fields = (fields, option::weighted(present, value(schema, wild)))
            .prop_map(move |(mut fields, value)| {
                fields.extend(value.map(|value| (name.clone(), value)));
                fields
            })
            .boxed();
    }
    fields.prop_map(Value::Object).boxed()
}

/// After the pattern where there is one, which may be longer than what is allowed.
fn text(schema: &Value) -> BoxedStrategy<Value> {
    let free = words();
    match schema["pattern"].as_str() {
        Some(pattern) => {
            // A generator knows no anchors.
            let inner = pattern.trim_start_matches('^').trim_end_matches('$');
            prop_oneof![4 => string_regex(inner).unwrap(), 1 => free]
                .prop_map(Value::String)
                .boxed()
        }
        None => free.prop_map(Value::String).boxed(),
    }
}

fn words() -> BoxedStrategy<String> {
    prop_oneof![
        4 => select(PIECES.to_vec()).prop_map(str::to_owned),
        2 => vec(select(PIECES.to_vec()), 0..6).prop_map(|pieces| pieces.concat()),
        1 => ".{0,40}",
        1 => select(PIECES.to_vec()).prop_map(|piece| piece.repeat(500)),
    ]
    .boxed()
}

fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        words().prop_map(Value::String),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(words(), inner, 0..4)
                .prop_map(|fields: BTreeMap<_, _>| fields.into_iter().collect()),
        ]
    })
    .boxed()
}
