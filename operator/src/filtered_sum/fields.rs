//! Whether the records of the input topic have the fields that a FilteredSum speaks of. Pure.

use naru_api::condition::reason;
use serde_json::Value;

use super::ValidFilteredSum;
use crate::{
    controller::Error,
    registry::{Field, Schema},
};

/// Compares the spec with the newest schema of the input topic. Not a fault of the spec alone: another schema may
/// come, hence a dependency.
pub(super) fn check(sum: &ValidFilteredSum, schema: &Schema) -> Result<(), Error> {
    let document = &sum.document;
    let summed = find(schema, "sum.field", &document.field, &document.input_topic)?;
    if !is_summable(&summed.field_type, document.round_floats) {
        let (expected, advice) = match document.round_floats {
            true => ("int, long, decimal, float or double", ""),
            false if is_summable(&summed.field_type, true) => (
                "int, long or decimal",
                "; sum.roundFloats sums it, each value rounded to sum.scale digits behind the point",
            ),
            false => ("int, long or decimal", ""),
        };
        return Err(Error::dependency(
            reason::FIELD_NOT_SUMMABLE,
            format!(
                "sum.field: field {:?} of topic {:?} has type {}, expected {expected}, which may be null{advice}",
                document.field, document.input_topic, summed.field_type
            ),
        ));
    }
    for name in &document.group_by {
        find(schema, "sum.groupBy", name, &document.input_topic)?;
    }
    if let Some(name) = document.window.as_ref().and_then(|window| window.time.as_ref()) {
        let time = find(schema, "sum.window.time", name, &document.input_topic)?;
        if !has_date(&time.field_type) {
            return Err(Error::dependency(
                reason::FIELD_NO_TIME,
                format!(
                    "sum.window.time: field {name:?} of topic {:?} has type {}, expected one of Avro's timestamps or a date",
                    document.input_topic, time.field_type
                ),
            ));
        }
    }
    for name in &sum.filter_fields {
        find(schema, "filter", name, &document.input_topic)?;
    }
    Ok(())
}

fn find<'a>(schema: &'a Schema, place: &str, name: &str, topic: &str) -> Result<&'a Field, Error> {
    schema
        .fields
        .iter()
        .find(|field| field.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = schema.fields.iter().map(|field| field.name.as_str()).collect();
            let names = names.join(", ");
            Error::dependency(
                reason::FIELD_MISSING,
                format!("{place}: records of topic {topic:?} have no field {name:?}, only {names}"),
            )
        })
}

/// `int`, `long` or a decimal, or `float` or `double` if these are too, alone or in a union with null.
fn is_summable(field_type: &Value, with_floats: bool) -> bool {
    match field_type {
        Value::String(name) => match name.as_str() {
            "int" | "long" => true,
            "float" | "double" => with_floats,
            _ => false,
        },
        Value::Array(union) => {
            let others: Vec<_> = union.iter().filter(|branch| *branch != "null").collect();
            !others.is_empty() && others.into_iter().all(|branch| is_summable(branch, with_floats))
        }
        // What has a logical type, such as a timestamp, is no number of something.
        Value::Object(object) => match object.get("logicalType").and_then(Value::as_str) {
            Some("decimal") => true,
            Some(logical) if is_time(logical) => false,
            _ => object
                .get("type")
                .is_some_and(|inner| is_summable(inner, with_floats)),
        },
        _ => false,
    }
}

/// A timestamp or a date, alone or in a union with null.
fn has_date(field_type: &Value) -> bool {
    match field_type {
        Value::Array(union) => {
            let mut others = union.iter().filter(|branch| *branch != "null").peekable();
            others.peek().is_some() && others.all(has_date)
        }
        Value::Object(object) => match object.get("logicalType").and_then(Value::as_str) {
            Some(logical) => logical == "date" || logical.contains("timestamp-"),
            None => object.get("type").is_some_and(has_date),
        },
        _ => false,
    }
}

/// Whether it is one of Avro's logical types over int and long.
fn is_time(logical_type: &str) -> bool {
    logical_type == "date" || logical_type.contains("time")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::{filtered_sum::validate, settings::Settings};

    fn checked(filter: &str, field: &str, group_by: &[&str]) -> Result<(), String> {
        checked_by(filter, &json!({ "field": field, "groupBy": group_by }))
    }

    #[test]
    fn fields_of_floats_are_summed_if_that_is_wanted() {
        let sum = |round| json!({ "field": "weight", "scale": 2, "roundFloats": round });
        assert_eq!(checked_by("price < 3", &sum(true)), Ok(()));
        assert!(checked_by("price < 3", &sum(false)).is_err());
    }

    fn checked_by(filter: &str, how: &Value) -> Result<(), String> {
        let settings = Settings::try_parse_from([
            "naru-operator",
            "--worker-image=naru/workers:1",
            "--kafka-bootstrap-servers=kafka:9092",
            "--registry-url=http://registry:8081",
        ])
        .unwrap();
        let sum = serde_json::from_value(json!({
            "metadata": { "name": "total", "namespace": "shop" },
            "spec": {
                "input": { "topic": "items" }, "filter": filter,
                "sum": how, "output": { "topic": "total" },
            },
        }))
        .unwrap();
        let schema = serde_json::from_value(json!({ "type": "record", "name": "Item", "fields": [
            { "name": "price", "type": "long" },
            { "name": "fee", "type": ["null", "int"] },
            { "name": "weight", "type": "double" },
            { "name": "title", "type": "string" },
            { "name": "cost", "type": ["null", { "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2 }] },
            { "name": "tax", "type": { "type": "fixed", "name": "T", "size": 8, "logicalType": "decimal", "precision": 9, "scale": 2 } },
            { "name": "soldAt", "type": { "type": "long", "logicalType": "timestamp-millis" } },
            { "name": "day", "type": ["null", { "type": "int", "logicalType": "date" }] },
            { "name": "clock", "type": { "type": "long", "logicalType": "time-micros" } },
        ]}))
        .unwrap();
        check(&validate(&settings, &sum).unwrap(), &schema).map_err(|error| error.to_string())
    }

    #[test]
    fn a_window_needs_a_field_with_a_date() {
        let by = |time| {
            let sum = json!({ "field": "price", "window": { "size": "1h", "time": time } });
            checked_by("price < 3", &sum)
        };
        assert_eq!((by("soldAt"), by("day")), (Ok(()), Ok(())));
        for (time, expected) in [
            (
                "soldOn",
                "sum.window.time: records of topic \"items\" have no field \"soldOn\", only price,",
            ),
            (
                "price",
                "sum.window.time: field \"price\" of topic \"items\" has type \"long\", expected one of Avro's timestamps or a date",
            ),
            ("clock", "sum.window.time: field \"clock\" of topic"),
        ] {
            let refusal = by(time).unwrap_err();
            assert!(refusal.starts_with(expected), "{refusal}");
        }
        let of_kafka = json!({ "field": "price", "window": { "size": "1h" } });
        assert_eq!(checked_by("price < 3", &of_kafka), Ok(()));
    }

    #[test]
    fn fields_that_are_there_will_do() {
        for field in ["price", "fee", "cost", "tax"] {
            assert_eq!(
                checked("price < 3 && title != \"\"", field, &["title"]),
                Ok(()),
                "{field}"
            );
        }
    }

    #[test]
    fn a_field_that_is_not_there_is_named_with_those_that_are() {
        let cases = [
            (
                "price < 3",
                "prce",
                &[][..],
                "sum.field: records of topic \"items\" have no field \"prce\", only price,",
            ),
            (
                "rebate < 3",
                "price",
                &[],
                "filter: records of topic \"items\" have no field \"rebate\"",
            ),
            (
                "price < 3",
                "price",
                &["category"],
                "sum.groupBy: records of topic \"items\" have no field \"category\"",
            ),
            (
                "price < 3",
                "weight",
                &[],
                "sum.field: field \"weight\" of topic \"items\" has type \"double\", expected int, long or decimal, which may be null; \
                 sum.roundFloats sums it",
            ),
            (
                "price < 3",
                "soldAt",
                &[],
                "sum.field: field \"soldAt\" of topic \"items\" has type {",
            ),
        ];
        for (filter, field, group_by, expected) in cases {
            let refusal = checked(filter, field, group_by).unwrap_err();
            assert!(refusal.starts_with(expected), "{refusal}");
        }
    }
}
