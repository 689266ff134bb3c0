//! The part of OpenAPI that our schemas are written in, judged and worded as the API server does. A keyword that is not
//! known here fails the test: it would go unchecked.

use regex::Regex;
use serde_json::{Map, Value};

use super::Refusal;

/// Keywords that say nothing about a value, or are looked at together with another.
const SILENT: [&str; 8] = [
    "title",
    "description",
    "default",
    "nullable",
    // The smallest and largest numbers are said by `minimum` and `maximum` where they matter.
    "format",
    "x-kubernetes-validations",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-int-or-string",
];

fn refuse(refusals: &mut Vec<Refusal>, path: &str, what: String) {
    refusals.push(Refusal {
        place: path.trim_start_matches('.').to_owned(),
        problem: String::new(),
        what,
        rule: None,
    });
}

/// Fields that the schema does not have. `kubectl` asks for their refusal; they would be dropped otherwise.
pub(super) fn unknown_fields(schema: &Value, value: &Value, path: &str, refusals: &mut Vec<Refusal>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let known = schema["properties"]
                    .get(name)
                    .or_else(|| schema.get("additionalProperties"));
                let place = format!("{path}.{name}");
                match known {
                    Some(schema) => unknown_fields(schema, value, &place, refusals),
                    // Of the resource itself, `metadata` and its like are not the definition's to describe.
                    None if path.is_empty() || path == ".metadata" => {}
                    None => {
                        let place = place.trim_start_matches('.');
                        refuse(
                            refusals,
                            "",
                            format!("strict decoding error: unknown field \"{place}\""),
                        );
                    }
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                unknown_fields(&schema["items"], item, &format!("{path}[{index}]"), refusals);
            }
        }
        _ => {}
    }
}

/// Drops the nulls of fields that are not nullable, as the API server does before it fills in defaults.
pub(super) fn drop_nulls(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let kept = |name: &String, value: &mut Value| {
                let field = &schema["properties"][name];
                !value.is_null() || field.is_null() || field["nullable"] == true
            };
            fields.retain(kept);
            for (name, value) in fields {
                drop_nulls(&schema["properties"][name], value);
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| drop_nulls(&schema["items"], item)),
        _ => {}
    }
}

/// Compares a value with its schema.
pub(super) fn validate(schema: &Value, value: &Value, path: &str, refusals: &mut Vec<Refusal>) {
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    let keywords = schema.as_object().expect("a schema is a map");
    let place = path.trim_start_matches('.');
    if schema["x-kubernetes-int-or-string"] == true && !(value.is_i64() || value.is_string()) {
        let wrong = format!(
            "Invalid value: \"{}\": {place} in body must be of type integer,string: \"{}\"",
            name(value),
            name(value)
        );
        return refuse(refusals, path, wrong);
    }
    if let Some(expected) = schema["type"].as_str().filter(|expected| !is(value, expected)) {
        let found = name(value);
        return refuse(
            refusals,
            path,
            format!("Invalid value: \"{found}\": {place} in body must be of type {expected}: \"{found}\""),
        );
    }
    for (keyword, limit) in keywords {
        let problem = match keyword.as_str() {
            "type" => None,
            "properties" | "required" | "additionalProperties" | "items" => None,
            silent if SILENT.contains(&silent) => None,
            "x-kubernetes-list-type" => None,
            bound => check(bound, limit, value, place),
        };
        if let Some(problem) = problem {
            refuse(refusals, path, problem);
        }
    }
    match value {
        Value::Object(fields) => object(schema, fields, path, refusals),
        Value::Array(items) => list(schema, items, path, refusals),
        _ => {}
    }
}

fn object(schema: &Value, fields: &Map<String, Value>, path: &str, refusals: &mut Vec<Refusal>) {
    for required in schema["required"].as_array().into_iter().flatten() {
        let required = required.as_str().unwrap();
        if !fields.contains_key(required) {
            refuse(
                refusals,
                &format!("{path}.{required}"),
                "Required value".to_owned(),
            );
        }
    }
    for (name, value) in fields {
        let known = schema["properties"]
            .get(name)
            .or_else(|| schema.get("additionalProperties"));
        if let Some(schema) = known {
            validate(schema, value, &format!("{path}.{name}"), refusals);
        }
    }
}

fn list(schema: &Value, items: &[Value], path: &str, refusals: &mut Vec<Refusal>) {
    for (index, item) in items.iter().enumerate() {
        validate(&schema["items"], item, &format!("{path}[{index}]"), refusals);
    }
    let identity = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.clone()),
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array().unwrap();
            let keys = keys.iter().map(|key| key.as_str().unwrap());
            Some(keys.map(|key| (key.to_owned(), item[key].clone())).collect())
        }
        _ => None,
    };
    for (index, item) in items.iter().enumerate() {
        let same = identity(item).filter(|one| {
            items[..index]
                .iter()
                .any(|other| identity(other).as_ref() == Some(one))
        });
        if let Some(same) = same {
            refuse(
                refusals,
                &format!("{path}[{index}]"),
                format!("Duplicate value: {same}"),
            );
        }
    }
}

/// One bound, and how the API server says that it is broken.
fn check(keyword: &str, limit: &Value, value: &Value, place: &str) -> Option<String> {
    let (text, limit) = (value.as_str(), &whole(limit));
    let length = text.map_or(0, |text| text.chars().count() as u64);
    let count = value.as_array().map_or(0, Vec::len) as u64;
    let entries = value.as_object().map_or(0, Map::len) as u64;
    let (number, bound) = (value.as_f64(), limit.as_f64());
    let invalid = |must: String| Some(format!("Invalid value: {value}: {place} in body {must}"));
    match keyword {
        "enum" => {
            let values = limit.as_array().unwrap();
            let quoted: Vec<_> = values.iter().map(Value::to_string).collect();
            (!values.contains(value)).then(|| {
                format!(
                    "Unsupported value: {value}: supported values: {}",
                    quoted.join(", ")
                )
            })
        }
        "minimum" if number < bound => invalid(format!("should be greater than or equal to {limit}")),
        "maximum" if number > bound => invalid(format!("should be less than or equal to {limit}")),
        "minLength" if length < limit.as_u64()? => invalid(format!("should be at least {limit} chars long")),
        "maxLength" if length > limit.as_u64()? => {
            Some(format!("Too long: may not be more than {limit} bytes"))
        }
        "pattern" if !Regex::new(limit.as_str()?).unwrap().is_match(text?) => {
            invalid(format!("should match '{}'", limit.as_str()?))
        }
        "minItems" if count < limit.as_u64()? => Some(format!(
            "Invalid value: {count}: {place} in body should have at least {limit} items"
        )),
        "maxItems" if count > limit.as_u64()? => {
            Some(format!("Too many: {count}: must have at most {limit} items"))
        }
        "maxProperties" if entries > limit.as_u64()? => {
            Some(format!("Too many: {entries}: must have at most {limit} items"))
        }
        "minimum" | "maximum" | "minLength" | "maxLength" | "pattern" | "minItems" | "maxItems"
        | "maxProperties" => None,
        unknown => unreachable!("keyword {unknown:?} of the schema is not checked here"),
    }
}

fn is(value: &Value, expected: &str) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        "number" => value.is_number(),
        unknown => unreachable!("type {unknown:?} of the schema is not checked here"),
    }
}

fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Numbers of a schema are floating point ones, and shown without a fraction where they have none.
fn whole(limit: &Value) -> Value {
    match limit.as_f64() {
        Some(number) if number.fract() == 0.0 => Value::from(number as i64),
        _ => limit.clone(),
    }
}

/// Type of the values that a rule judges.
pub(super) fn type_judged(schema: &Value, rule: &str) -> Option<String> {
    let rules = schema["x-kubernetes-validations"].as_array();
    if rules.into_iter().flatten().any(|other| other["rule"] == rule) {
        return Some(schema["type"].as_str().unwrap_or_default().to_owned());
    }
    let properties = schema["properties"].as_object().into_iter().flat_map(Map::values);
    let mut inner = properties
        .chain(schema.get("items"))
        .chain(schema.get("additionalProperties"));
    inner.find_map(|schema| type_judged(schema, rule))
}
