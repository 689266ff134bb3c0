//! Complete resources that can work, and edits of them in YAML.

use serde_json::Value;

/// A resource of each kind, with all optional parts.
pub fn example(kind: &str) -> Value {
    let yaml = match kind {
        "ScrapeJob" => include_str!("scrape_job.yaml"),
        "FilteredSum" => include_str!("filtered_sum.yaml"),
        "SinkConnector" => include_str!("sink_connector.yaml"),
        "SinkConnector of any class" => include_str!("any_sink_connector.yaml"),
        other => unreachable!("there is no example of {other}"),
    };
    serde_yaml::from_str(yaml).unwrap()
}

/// The resource with the value at a place such as `spec.topics[0]` replaced, or removed if the YAML is empty. What is
/// missing on the way is made.
pub fn with(mut object: Value, place: &str, yaml: &str) -> Value {
    let value: Value = serde_yaml::from_str(yaml).unwrap();
    let place = place.replace('[', ".").replace(']', "");
    let mut keys: Vec<_> = place.split('.').collect();
    let last = keys.pop().unwrap();
    let mut parent = &mut object;
    for key in keys {
        parent = child(parent, key);
    }
    match parent {
        Value::Object(fields) if yaml.is_empty() => drop(fields.remove(last)),
        parent => *child(parent, last) = value,
    }
    object
}

fn child<'a>(parent: &'a mut Value, key: &str) -> &'a mut Value {
    match (parent, key.parse::<usize>()) {
        (Value::Array(items), Ok(index)) => {
            if index == items.len() {
                items.push(Value::Null);
            }
            &mut items[index]
        }
        (parent, _) => &mut parent[key],
    }
}
