//! What is wrong with a schema that a registry refuses. Pure.

use naru_api::condition::reason;
use serde_json::Value;

use super::ValidScrapeJob;
use crate::{
    controller::Error,
    registry::{Refusal, Schema},
};

/// Most fields that are named.
const MOST_FIELDS: usize = 5;

/// The refusal as a sentence that names the fields.
pub(super) fn incompatible(job: &ValidScrapeJob, refusal: &Refusal) -> Error {
    // Both were written as JSON objects. One that is none of a record has no fields to be named.
    let new = serde_json::from_str(&job.schema).unwrap_or_default();
    let mut differing = refusal
        .latest
        .as_deref()
        .map(|latest| differences(latest, &new))
        .unwrap_or_default();
    if differing.len() > MOST_FIELDS {
        let more = differing.len() - MOST_FIELDS;
        differing.truncate(MOST_FIELDS);
        differing.push(format!("{more} more"));
    }
    let mut sentence = format!(
        "extract.fields: the schema registry at {:?} does not take these fields for topic {:?} beside those of the records there",
        refusal.url, job.document.output.topic
    );
    if !differing.is_empty() {
        sentence = format!("{sentence}: {}", differing.join(", "));
    }
    if let Some(says) = &refusal.says {
        sentence = format!("{sentence}; it says {says:?}");
    }
    Error::incompatible(
        reason::SCHEMA_INCOMPATIBLE,
        format!(
            "{sentence}; make new fields optional and keep types as they are, or name another output.topic"
        ),
    )
}

/// The fields by which a schema differs from an older one, those that are always allowed left out.
fn differences(old: &Schema, new: &Schema) -> Vec<String> {
    let changed = new.fields.iter().filter_map(|field| {
        let (name, now) = (&field.name, &field.field_type);
        match old.fields.iter().find(|old| old.name == *name) {
            Some(old) if old.field_type == *now => None,
            Some(old) => Some(format!("field {name:?} is {now} instead of {}", old.field_type)),
            None if is_optional(now) => None,
            None => Some(format!("field {name:?} is new and required")),
        }
    });
    let gone = old.fields.iter().filter_map(|field| {
        let stays = new.fields.iter().any(|new| new.name == field.name);
        (!stays && !is_optional(&field.field_type)).then(|| format!("field {:?} is gone", field.name))
    });
    changed.chain(gone).collect()
}

fn is_optional(field_type: &Value) -> bool {
    field_type
        .as_array()
        .is_some_and(|union| union.iter().any(|branch| branch == "null"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(old: Value, new: Value) -> Vec<String> {
        let schema = |fields| serde_json::from_value(json!({ "fields": fields })).unwrap();
        differences(&schema(old), &schema(new))
    }

    #[test]
    fn fields_that_may_be_in_the_way_are_named_and_others_are_not() {
        let id = || json!({ "name": "id", "type": "long" });
        let price = |field_type: Value| json!({ "name": "price", "type": field_type });
        let cases = [
            ("the same", json!([id()]), json!([id()]), &[][..]),
            (
                "a new optional field",
                json!([id()]),
                json!([id(), price(json!(["null", "long"]))]),
                &[],
            ),
            (
                "an optional field goes",
                json!([id(), price(json!(["null", "long"]))]),
                json!([id()]),
                &[],
            ),
            (
                "a new required field",
                json!([id()]),
                json!([id(), price(json!("long"))]),
                &["field \"price\" is new and required"],
            ),
            (
                "another type",
                json!([id(), price(json!("long"))]),
                json!([id(), price(json!(["null", "string"]))]),
                &["field \"price\" is [\"null\",\"string\"] instead of \"long\""],
            ),
            (
                "a required field goes",
                json!([id(), price(json!("long"))]),
                json!([id()]),
                &["field \"price\" is gone"],
            ),
        ];
        for (case, old, new, expected) in cases {
            assert_eq!(named(old, new), expected, "{case}");
        }
    }
}
