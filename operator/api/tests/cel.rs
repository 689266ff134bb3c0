//! What the API server refuses, rule by rule, evaluated without a cluster.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's answer")]

use naru_api::{ConnectorDeletionPolicy, DeletionPolicy, FilteredSum, ScrapeJob, SinkConnector};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn scrape_job() -> Value {
    json!({
        "apiVersion": "naru.dev/v1alpha1", "kind": "ScrapeJob", "metadata": { "name": "goods" },
        "spec": {
            "source": {
                "urlTemplate": "https://example.org/product/{id}",
                "head": { "sitemap": { "url": "https://example.org/sitemap.xml", "pattern": "/product/(\\d+)" } },
            },
            "extract": { "fields": [
                { "name": "id", "type": "long", "required": true, "from": [{ "url": "/product/(\\d+)" }] },
            ] },
            "output": { "topic": "goods", "key": "id" },
        },
    })
}

fn sink_connector() -> Value {
    json!({
        "apiVersion": "naru.dev/v1alpha1", "kind": "SinkConnector", "metadata": { "name": "goods" },
        "spec": {
            "topics": ["goods"],
            "mysql": { "url": "jdbc:mysql://db/goods", "credentialsSecret": "db", "table": "goods", "key": "id" },
        },
    })
}

fn filtered_sum() -> Value {
    json!({
        "apiVersion": "naru.dev/v1alpha1", "kind": "FilteredSum", "metadata": { "name": "goods" },
        "spec": {
            "input": { "topic": "goods" }, "filter": "price < 10", "sum": { "field": "price" },
            "output": { "topic": "total" },
        },
    })
}

/// The object with the value at a JSON pointer replaced, or removed by null.
fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = object
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("nothing at {parent}"));
    match (parent, value) {
        (Value::Object(map), Value::Null) => drop(map.remove(key)),
        (Value::Object(map), value) => drop(map.insert(key.to_owned(), value)),
        (parent, value) => parent[key.parse::<usize>().unwrap()] = value,
    }
    object
}

/// As the API server has it: with defaults filled in.
fn parse<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

#[track_caller]
fn accepted(result: Result<(), impl std::fmt::Display>) {
    if let Err(error) = result {
        panic!("was refused: {error}");
    }
}

#[track_caller]
fn refused(result: Result<(), impl std::fmt::Display>, expected: &str) {
    let error = result
        .err()
        .unwrap_or_else(|| panic!("was accepted, expected: {expected}"))
        .to_string();
    assert!(error.contains(expected), "expected {expected:?} in {error:?}");
}

#[test]
fn complete_resources_are_accepted() {
    accepted(parse::<ScrapeJob>(scrape_job()).validate_cel());
    accepted(parse::<SinkConnector>(sink_connector()).validate_cel());
    accepted(parse::<FilteredSum>(filtered_sum()).validate_cel());
}

#[test]
fn a_scrape_job_that_cannot_work_is_refused() {
    let two_sources = json!([{ "url": "a", "css": "b" }]);
    let two_steps = json!([{ "css": "b", "transform": [{ "split": ",", "item": 0 }] }]);
    let cases = [
        (
            "/spec/source/urlTemplate",
            json!("https://example.org/product"),
            "with {id} in it once",
        ),
        (
            "/spec/source/urlTemplate",
            json!("https://example.org/{id}/{id}"),
            "with {id} in it once",
        ),
        (
            "/spec/source/urlTemplate",
            json!("ftp://example.org/{id}"),
            "must be an http or https address",
        ),
        (
            "/spec/extract/fields/0/from",
            two_sources,
            "exactly one of json, css, meta and url must be set",
        ),
        (
            "/spec/extract/fields/0/from",
            json!([{ "url": "a", "attribute": "b" }]),
            "only possible together with css",
        ),
        (
            "/spec/extract/fields/0/from",
            two_steps,
            "exactly one of keep, regex, split, padTo and item must be set",
        ),
        (
            "/spec/scaling",
            json!({ "minReplicas": 4, "maxReplicas": 3 }),
            "minReplicas must not be above maxReplicas",
        ),
        (
            "/spec/politeness",
            json!({ "maxRequestsPerSecond": 0.0 }),
            "must be above 0",
        ),
        ("/metadata/name", json!("n".repeat(53)), "at most 52 characters"),
    ];
    for (pointer, value, expected) in cases {
        refused(
            parse::<ScrapeJob>(with(scrape_job(), pointer, value)).validate_cel(),
            expected,
        );
    }
}

#[test]
fn a_rollout_has_from_ten_seconds_to_an_hour() {
    for (deadline, allowed) in [("10s", true), ("1h", true), ("9s", false), ("61m", false)] {
        let rollout = json!({ "progressDeadline": deadline });
        let job = parse::<ScrapeJob>(with(scrape_job(), "/spec/rollout", rollout.clone())).validate_cel();
        let sum = parse::<FilteredSum>(with(filtered_sum(), "/spec/rollout", rollout)).validate_cel();
        if allowed {
            accepted(job);
            accepted(sum);
        } else {
            refused(job, "must be from 10s to 1h");
            refused(sum, "must be from 10s to 1h");
        }
    }
}

#[test]
fn nothing_is_suspended_rolled_back_or_deleted_unless_asked_for() {
    let job = parse::<ScrapeJob>(scrape_job()).spec;
    assert!(!job.suspend && !job.rollout.auto_rollback);
    assert_eq!(job.deletion_policy, DeletionPolicy::Orphan);
    assert_eq!(String::from(job.rollout.progress_deadline), "2m");
    let sum = parse::<FilteredSum>(filtered_sum()).spec;
    assert!(!sum.suspend && !sum.rollout.auto_rollback);
    assert_eq!(sum.deletion_policy, DeletionPolicy::Orphan);
    let sink = parse::<SinkConnector>(sink_connector()).spec;
    assert!(!sink.suspend);
    assert_eq!(sink.deletion_policy, ConnectorDeletionPolicy::Delete);
}

#[test]
fn a_job_starts_at_the_latest_or_at_an_id() {
    for start in [json!("latest"), json!(0), json!(228_000_001)] {
        accepted(parse::<ScrapeJob>(with(scrape_job(), "/spec/source/start", start)).validate_cel());
    }
    for start in [json!("soon"), json!(-1), json!(1.5)] {
        let job = serde_json::from_value::<ScrapeJob>(with(scrape_job(), "/spec/source/start", start));
        refused(job.map(|_| ()), "expected \"latest\" or an id");
    }
}

#[test]
fn a_sink_connector_is_of_one_sort() {
    let class = json!("org.example.Sink");
    let both = with(sink_connector(), "/spec/class", class.clone());
    refused(
        parse::<SinkConnector>(both).validate_cel(),
        "exactly one of mysql and class must be set",
    );
    let none = with(sink_connector(), "/spec/mysql", Value::Null);
    refused(
        parse::<SinkConnector>(none.clone()).validate_cel(),
        "exactly one of mysql and class must be set",
    );
    let config_of_nothing = with(sink_connector(), "/spec/config", json!({ "a": "b" }));
    refused(
        parse::<SinkConnector>(config_of_nothing).validate_cel(),
        "only possible together with class",
    );

    let any = with(none, "/spec/class", class);
    accepted(parse::<SinkConnector>(any.clone()).validate_cel());
    let topics = with(any, "/spec/config", json!({ "topics": "other" }));
    refused(parse::<SinkConnector>(topics).validate_cel(), "are set by naru");
}

#[test]
fn what_a_sum_consists_of_cannot_be_changed() {
    let running = with(
        filtered_sum(),
        "/status",
        json!({ "conditions": [], "replicas": 1 }),
    );
    let refused_before = parse::<FilteredSum>(with(filtered_sum(), "/status", json!({ "conditions": [] })));
    let before = parse::<FilteredSum>(running);
    for (pointer, value) in [
        ("/spec/filter", json!("price < 20")),
        ("/spec/filter", Value::Null),
        ("/spec/sum/field", json!("cost")),
        ("/spec/input/topic", json!("other")),
        ("/spec/output/topic", json!("other")),
    ] {
        let after = parse::<FilteredSum>(with(filtered_sum(), pointer, value));
        refused(after.validate_cel_update(&before), "cannot be changed");
        accepted(after.validate_cel_update(&refused_before));
    }
    let scaled = with(filtered_sum(), "/spec/scaling", json!({ "maxReplicas": 9 }));
    assert!(parse::<FilteredSum>(scaled).validate_cel_update(&before).is_ok());
    let slow = with(filtered_sum(), "/spec/commitInterval", json!("1m"));
    refused(
        parse::<FilteredSum>(slow).validate_cel(),
        "must be from 1ms to 5s",
    );
    let circle = with(filtered_sum(), "/spec/output/topic", json!("goods"));
    refused(
        parse::<FilteredSum>(circle).validate_cel(),
        "must not be input.topic",
    );
}

#[test]
fn the_topic_of_a_scrape_job_cannot_be_changed() {
    let before = parse::<ScrapeJob>(scrape_job());
    let moved = parse::<ScrapeJob>(with(scrape_job(), "/spec/output/topic", json!("other")));
    refused(
        moved.validate_cel_update(&before),
        "output.topic cannot be changed",
    );
    let more = parse::<ScrapeJob>(with(scrape_job(), "/spec/scaling", json!({ "maxReplicas": 9 })));
    accepted(more.validate_cel_update(&before));
}
