//! Whether a child is to be applied, and why. Pure.

use std::fmt::{self, Display, Formatter};

use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;

/// Annotation of each child: hash of what was applied last. Where it is the one of what is wanted now, a difference
/// is somebody else's doing.
pub const APPLIED: &str = "naru.dev/applied";

/// Keys by which items of a list are told apart, as in the API's own merge keys.
const KEYS: [&str; 6] = ["name", "mountPath", "containerPort", "uid", "key", "type"];

/// Most fields that are named.
const MOST_FIELDS: usize = 5;

/// What is to be done about a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is as wanted.
    Nothing,
    /// It is not there yet, or something else is wanted than before.
    Apply,
    /// What is wanted is what was applied, and yet these fields differ.
    Repair(Vec<String>),
}

/// Adds the hash of what is wanted to it.
pub fn stamp<K: Resource + Serialize>(mut wanted: K) -> K {
    wanted.annotations_mut().remove(APPLIED);
    let hash = hash(&wanted);
    wanted.annotations_mut().insert(APPLIED.to_owned(), hash);
    wanted
}

/// Compares a stamped child with the one there is.
pub fn decide<K: Resource + Serialize>(wanted: &K, live: Option<&K>) -> Decision {
    let Some(live) = live else {
        return Decision::Apply;
    };
    if wanted.annotations().get(APPLIED) != live.annotations().get(APPLIED) {
        return Decision::Apply;
    }
    match differences(wanted, live) {
        fields if fields.is_empty() => Decision::Nothing,
        fields => Decision::Repair(fields),
    }
}

/// The fields of what is wanted that the live object has otherwise, or not at all. What it has beside them, such as
/// defaults and the fields of others, is not looked at.
pub fn differences<K: Serialize>(wanted: &K, live: &K) -> Vec<String> {
    let mut fields = Vec::new();
    compare(&json(wanted), Some(&json(live)), Path::Root, &mut fields);
    if fields.len() > MOST_FIELDS {
        let more = fields.len() - MOST_FIELDS;
        fields.truncate(MOST_FIELDS);
        fields.push(format!("{more} more"));
    }
    fields
}

/// Where a value stands. Written out only where it differs, which is rare.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Field(&'a Self, &'a str),
    /// In a list: its key, if items of this list have one, or else its place.
    Item(&'a Self, Option<&'a Value>, usize),
}

impl Display for Path<'_> {
    /// `metadata.labels.app`, but `metadata.labels["app.kubernetes.io/name"]`; `containers[sum].image`, `args[1]`.
    fn fmt(&self, text: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(parent, name) if name.contains(['.', '/']) => write!(text, "{parent}[{name:?}]"),
            Self::Field(Self::Root, name) => text.write_str(name),
            Self::Field(parent, name) => write!(text, "{parent}.{name}"),
            Self::Item(parent, Some(Value::String(key)), _) => write!(text, "{parent}[{key}]"),
            Self::Item(parent, Some(key), _) => write!(text, "{parent}[{key}]"),
            Self::Item(parent, None, index) => write!(text, "{parent}[{index}]"),
        }
    }
}

fn compare(wanted: &Value, live: Option<&Value>, path: Path<'_>, differing: &mut Vec<String>) {
    match (wanted, live) {
        (Value::Object(fields), Some(Value::Object(live))) => {
            for (name, value) in fields {
                compare(value, live.get(name), Path::Field(&path, name), differing);
            }
        }
        (Value::Array(items), Some(Value::Array(live))) => {
            for (index, item) in items.iter().enumerate() {
                let (key, found) = counterpart(item, index, live);
                compare(item, found, Path::Item(&path, key, index), differing);
            }
        }
        // What is empty is not stored.
        (Value::Object(fields), None) if fields.is_empty() => {}
        (Value::Array(items), None) if items.is_empty() => {}
        (wanted, live) if live == Some(wanted) => {}
        _ => differing.push(path.to_string()),
    }
}

/// The live item that an item of a list stands for: the one with the same key, or else the one in its place.
fn counterpart<'a>(
    item: &'a Value,
    index: usize,
    live: &'a [Value],
) -> (Option<&'a Value>, Option<&'a Value>) {
    let key = KEYS
        .iter()
        .find_map(|key| item.get(key).map(|value| (*key, value)));
    match key {
        Some((key, value)) => (Some(value), live.iter().find(|item| item.get(key) == Some(value))),
        None => (None, live.get(index)),
    }
}

/// A short text that changes with the value and with nothing else: not with the process, the compiler or the order of
/// fields. FNV-1a.
pub fn hash<T: Serialize>(value: &T) -> String {
    let text = json(value).to_string();
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("Kubernetes objects have text as keys")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;

    use super::*;
    use crate::worker::tests::example;

    fn edited(deployment: &Deployment, path: &str, value: Value) -> Deployment {
        let mut edited = json(deployment);
        *edited.pointer_mut(path).unwrap() = value;
        serde_json::from_value(edited).unwrap()
    }

    #[test]
    fn the_same_is_left_alone_a_change_is_applied_and_drift_is_repaired_by_its_name() {
        let wanted = stamp(example());
        assert_eq!(decide(&wanted, None), Decision::Apply);
        assert_eq!(decide(&wanted, Some(&wanted)), Decision::Nothing);

        let other = stamp(edited(&wanted, "/spec/revisionHistoryLimit", 7.into()));
        assert_eq!(decide(&other, Some(&wanted)), Decision::Apply);

        let container = "/spec/template/spec/containers/0";
        let cases = [
            (
                format!("{container}/image"),
                Value::from("evil:1"),
                "spec.template.spec.containers[fetcher].image",
            ),
            (
                format!("{container}/env/1/value"),
                "trace".into(),
                "spec.template.spec.containers[fetcher].env[RUST_LOG].value",
            ),
            (
                "/metadata/labels/app.kubernetes.io~1name".to_owned(),
                "x".into(),
                "metadata.labels[\"app.kubernetes.io/name\"]",
            ),
            (
                "/metadata/ownerReferences/0/controller".to_owned(),
                false.into(),
                "metadata.ownerReferences[items].controller",
            ),
        ];
        for (path, value, field) in cases {
            let drifted = edited(&wanted, &path, value);
            assert_eq!(
                decide(&wanted, Some(&drifted)),
                Decision::Repair(vec![field.to_owned()])
            );
        }
    }

    #[test]
    fn replicas_defaults_and_what_others_add_are_not_ours() {
        let wanted = stamp(example());
        let mut live = json(&wanted);
        live["spec"]["replicas"] = 7.into();
        live["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst".into();
        live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "3".into();
        let env = live.pointer_mut("/spec/template/spec/containers/0/env").unwrap();
        env.as_array_mut()
            .unwrap()
            .insert(0, serde_json::json!({ "name": "INJECTED", "value": "1" }));
        live["status"] = serde_json::json!({ "readyReplicas": 1 });
        let live: Deployment = serde_json::from_value(live).unwrap();
        assert_eq!(decide(&wanted, Some(&live)), Decision::Nothing);
    }

    #[test]
    fn what_is_missing_is_named_and_many_fields_are_counted() {
        let wanted = stamp(example());
        let mut live = json(&wanted);
        live["spec"]["template"]["spec"]["containers"] = Value::Array(Vec::new());
        let live: Deployment = serde_json::from_value(live).unwrap();
        assert_eq!(
            decide(&wanted, Some(&live)),
            Decision::Repair(vec!["spec.template.spec.containers[fetcher]".to_owned()])
        );
        let mut other = example();
        other.spec.as_mut().unwrap().template = Default::default();
        let fields = differences(&wanted, &other);
        assert!(fields.len() <= MOST_FIELDS + 1, "{fields:?}");
    }

    #[test]
    fn a_hash_is_the_same_for_ever() {
        assert_eq!(hash(&"naru"), hash(&"naru"));
        assert_eq!(
            hash(&serde_json::json!({ "b": 1, "a": [true] })),
            "019e8627cb75560f"
        );
    }
}
