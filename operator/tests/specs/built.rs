//! What becomes of a spec that is accepted: objects that the API server, Kafka and Connect accept too. And of one that
//! is not: an error that names a field.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use naru_api::{FilteredSum, PIPELINE_LABEL, ScrapeJob, SinkConnector};
use naru_operator::{connect, filtered_sum, kafka::TopicSpec, scrape_job, sink_connector, worker::Revision};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::{
    admission::admit,
    fuzzed::{edited, resource},
    schema, settings,
};

/// Largest ConfigMap, bytes: what etcd takes.
const LARGEST: usize = 1 << 20;

type Checked = Result<(), String>;

fn check(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

/// Text of at most so many bytes that matches a pattern.
fn is(text: &str, pattern: &LazyLock<Regex>, longest: usize) -> bool {
    text.len() <= longest && pattern.is_match(text)
}

static LABEL: LazyLock<Regex> = LazyLock::new(|| Regex::new("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").unwrap());
static SUBDOMAIN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$").unwrap()
});
static LABEL_VALUE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$").unwrap());
static ENV: LazyLock<Regex> = LazyLock::new(|| Regex::new("^[-._a-zA-Z][-._a-zA-Z0-9]*$").unwrap());
static QUANTITY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$").unwrap()
});
static TOPIC: LazyLock<Regex> = LazyLock::new(|| Regex::new("^[a-zA-Z0-9._-]+$").unwrap());

/// A key of a label or of an annotation: `naru.dev/applied`.
fn is_key(key: &str) -> bool {
    let (domain, name) = key.split_once('/').unwrap_or(("a", key));
    is(domain, &SUBDOMAIN, 253) && !name.is_empty() && is(name, &LABEL_VALUE, 63)
}

fn texts(map: &Value) -> impl Iterator<Item = (&String, &str)> {
    let entries = map.as_object().into_iter().flat_map(Map::iter);
    entries.map(|(key, value)| (key, value.as_str().expect("a text")))
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn labels(labels: &Value) -> Checked {
    texts(labels).try_for_each(|(key, value)| {
        check(is_key(key) && is(value, &LABEL_VALUE, 63), || {
            format!("label {key}: {value:?}")
        })
    })
}

fn metadata(metadata: &Value) -> Checked {
    labels(&metadata["labels"])?;
    let mut annotations = texts(&metadata["annotations"]);
    annotations.try_for_each(|(key, _)| check(is_key(key), || format!("annotation {key}")))
}

/// An object of its own, which belongs to the resource.
fn object(object: &Value, longest_name: usize) -> Checked {
    let meta = &object["metadata"];
    let name = meta["name"].as_str().unwrap();
    check(is(name, &SUBDOMAIN, longest_name), || format!("name {name:?}"))?;
    check(meta["namespace"] == "shop", || format!("namespace of {name}"))?;
    let owners = items(&meta["ownerReferences"]);
    check(
        owners.len() == 1 && owners[0]["uid"] == "0001" && owners[0]["controller"] == true,
        || format!("owners {owners:?} of {name}"),
    )?;
    metadata(meta)
}

fn config_map(found: &Value) -> Checked {
    object(found, 253)?;
    check(found.to_string().len() < LARGEST, || {
        format!("{} bytes", found.to_string().len())
    })
}

fn deployment(found: &Value) -> Checked {
    // Its name is the beginning of host names.
    object(found, 63)?;
    let (spec, template) = (&found["spec"], &found["spec"]["template"]);
    metadata(&template["metadata"])?;
    let of_pods: BTreeMap<_, _> = texts(&template["metadata"]["labels"]).collect();
    let mut selector = texts(&spec["selector"]["matchLabels"]);
    check(
        selector.all(|(key, value)| of_pods.get(key) == Some(&value)),
        || "selector".to_owned(),
    )?;
    let deadline = &spec["progressDeadlineSeconds"];
    check(deadline.as_i64() > Some(0), || {
        format!("progressDeadlineSeconds {deadline}")
    })?;
    let replicas = &spec["replicas"];
    check(replicas.is_null() || replicas.as_i64() >= Some(0), || {
        format!("replicas {replicas}")
    })?;
    pod(&template["spec"])
}

fn pod(pod: &Value) -> Checked {
    let volumes: BTreeSet<_> = items(&pod["volumes"])
        .iter()
        .map(|volume| volume["name"].as_str().unwrap())
        .collect();
    check(volumes.len() == items(&pod["volumes"]).len(), || {
        "two volumes of a name".to_owned()
    })?;
    for volume in &volumes {
        check(is(volume, &LABEL, 63), || format!("volume {volume:?}"))?;
    }
    for container in items(&pod["containers"]) {
        let name = container["name"].as_str().unwrap();
        check(is(name, &LABEL, 63), || format!("container {name:?}"))?;
        let mut names = BTreeSet::new();
        for variable in items(&container["env"]) {
            let name = variable["name"].as_str().unwrap();
            check(is(name, &ENV, 253) && names.insert(name), || {
                format!("env {name:?}")
            })?;
        }
        for mount in items(&container["volumeMounts"]) {
            let volume = mount["name"].as_str().unwrap();
            check(volumes.contains(volume), || format!("mount of {volume:?}"))?;
        }
        for bound in ["requests", "limits"] {
            for (resource, amount) in texts(&container["resources"][bound]) {
                check(QUANTITY.is_match(amount), || {
                    format!("{bound}.{resource} {amount:?}")
                })?;
            }
        }
        for port in items(&container["ports"]) {
            let number = port["containerPort"].as_i64().unwrap();
            check((1..=65535).contains(&number), || format!("port {number}"))?;
        }
    }
    Ok(())
}

fn topics(topics: &[TopicSpec]) -> Checked {
    let names: BTreeSet<_> = topics.iter().map(|topic| &topic.name).collect();
    check(names.len() == topics.len(), || {
        format!("topics twice: {topics:?}")
    })?;
    topics.iter().try_for_each(|topic| {
        let name = &topic.name;
        let sound = is(name, &TOPIC, 249) && ![".", ".."].contains(&name.as_str()) && topic.partitions > 0;
        check(sound, || format!("{topic:?}"))
    })
}

fn revision(revision: &Revision) -> Checked {
    config_map(&json!(revision.config_map))?;
    revision
        .deployments
        .iter()
        .try_for_each(|found| deployment(&json!(found)))
}

/// None: it was refused, with an error that names a field.
type Built = Result<Option<Checked>, String>;

fn judge<T>(
    kind: &str,
    valid: Result<T, naru_operator::controller::Error>,
    build: impl FnOnce(T) -> Checked,
) -> Built {
    let error = match valid {
        Ok(valid) => return Ok(Some(build(valid))),
        Err(error) => error,
    };
    let sentence = error.sentence();
    let mut words = sentence.split(|letter: char| !letter.is_ascii_alphanumeric());
    let fields = fields(&schema(kind)["properties"]["spec"]);
    if error.reason() == "InvalidSpec" && words.any(|word| fields.contains(word)) {
        Ok(None)
    } else {
        Err(format!("names no field: {sentence}"))
    }
}

fn fields(schema: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        names.insert(name.clone());
        names.extend(fields(inner));
    }
    names.extend(schema.get("items").map(fields).unwrap_or_default());
    names
}

fn built(kind: &str, stored: Value) -> Built {
    let settings = settings();
    match kind {
        "ScrapeJob" => {
            let job: ScrapeJob = serde_json::from_value(stored).unwrap();
            judge(kind, scrape_job::validate(&settings, &job), |valid| {
                topics(&scrape_job::build::topics(&valid))?;
                revision(&scrape_job::build::build(&settings, &valid))
            })
        }
        "FilteredSum" => {
            let sum: FilteredSum = serde_json::from_value(stored).unwrap();
            judge(kind, filtered_sum::validate(&settings, &sum), |valid| {
                let referred = filtered_sum::Referred { input_partitions: 3 };
                topics(&filtered_sum::build::topics(&valid, referred))?;
                revision(&filtered_sum::build::build(&settings, &valid))
            })
        }
        _ => {
            let sink: SinkConnector = serde_json::from_value(stored).unwrap();
            judge(kind, sink_connector::validate(&settings, &sink), |valid| {
                let secrets = valid
                    .store
                    .secrets()
                    .into_keys()
                    .map(|key| (key, "geheim".to_owned()));
                let config = sink_connector::build::build(&valid, &connect::Config(secrets.collect()));
                connector(&config, &valid.dead_letter_topic)
            })
        }
    }
}

fn connector(config: &connect::Config, dead_letter_topic: &str) -> Checked {
    let value = |key: &str| config.get(key).unwrap_or_default();
    check(!value("connector.class").is_empty(), || "no class".to_owned())?;
    check(
        value("tasks.max").parse::<u32>().is_ok_and(|tasks| tasks > 0),
        || "tasks.max".to_owned(),
    )?;
    for topic in value("topics").split(',').chain([dead_letter_topic]) {
        check(is(topic, &TOPIC, 249), || format!("topic {topic:?}"))?;
    }
    config
        .0
        .keys()
        .try_for_each(|key| check(!key.is_empty(), || "a key without a name".to_owned()))
}

/// A resource as the API server stores it, with any name and label that it takes.
fn stored(kind: &'static str) -> impl Strategy<Value = Value> {
    let spec = prop_oneof![
        3 => edited(kind, 0).boxed(),
        1 => edited(kind, 30).boxed(),
        1 => resource(kind, 0).boxed(),
    ];
    let name = prop_oneof![
        "[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?",
        r"[a-z0-9]{1,20}(\.[a-z0-9]{1,15}){1,2}"
    ];
    let pipeline = proptest::option::of("[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?");
    (spec, name, pipeline).prop_map(|(mut object, name, pipeline)| {
        object["metadata"] = json!({ "name": name, "namespace": "shop", "uid": "0001",
            "labels": pipeline.map(|pipeline| json!({ PIPELINE_LABEL: pipeline })) });
        object
    })
}

fn what_is_accepted_can_be_made(kind: &'static str) {
    let made = Cell::new(0);
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(256)
    };
    let judged = |object: Value| {
        let Ok(stored) = admit(&schema(kind), &object, None) else {
            return Ok(());
        };
        let checked = built(kind, stored).map_err(TestCaseError::fail)?;
        if let Some(checked) = checked {
            made.set(made.get() + 1);
            checked.map_err(TestCaseError::fail)?;
        }
        Ok(())
    };
    TestRunner::new(config)
        .run(&stored(kind), judged)
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(made.get() > 20, "only {} were accepted", made.get());
}

#[test]
fn a_scrape_job_that_is_accepted_can_be_made() {
    what_is_accepted_can_be_made("ScrapeJob");
}

#[test]
fn a_filtered_sum_that_is_accepted_can_be_made() {
    what_is_accepted_can_be_made("FilteredSum");
}

#[test]
fn a_sink_connector_that_is_accepted_can_be_made() {
    what_is_accepted_can_be_made("SinkConnector");
    what_is_accepted_can_be_made("SinkConnector of any class");
}
