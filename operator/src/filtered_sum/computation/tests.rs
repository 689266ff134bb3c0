use serde_json::{Value, json};

use super::*;

fn sum(generation: i64, filter: &str, reset: Option<&str>, status: &Value) -> FilteredSum {
    serde_json::from_value(json!({
        "metadata": { "name": "total", "namespace": "shop", "generation": generation,
            "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "input": { "topic": "items" }, "filter": filter, "sum": { "field": "price" },
            "output": { "topic": "totals" }, "reset": reset },
        "status": status,
    }))
    .unwrap()
}

fn with_workers(generation: i64, filter: &str) -> Value {
    json!({ "replicas": 1, "computation": { "generation": generation, "filter": filter, "sum": { "field": "price" } } })
}

#[test]
fn the_same_rules_are_the_same_computation_whatever_else_was_edited() {
    let computation = of(&sum(9, "a < 1", None, &with_workers(2, "a < 1"))).unwrap();
    assert_eq!(computation.generation, 2);
}

#[test]
fn other_rules_are_a_later_computation_also_if_there_were_the_same_before() {
    let (mut status, mut number_before) = (Value::Null, 0);
    for (generation, filter) in [(1, "a < 1"), (4, "a < 2"), (5, "a < 1")] {
        let sum = sum(generation, filter, Some("fromEarliest"), &status);
        let computation = of(&sum).unwrap();
        assert_eq!(computation.generation, generation);
        let number = number(&sum, &computation);
        assert!(number > number_before);
        (status, number_before) = (with_workers(generation, filter), number);
    }
}

#[test]
fn a_resource_that_is_made_anew_is_later_than_the_one_before() {
    let old = sum(1_000_000, "a < 1", None, &Value::Null);
    let mut new = sum(1, "a < 2", None, &Value::Null);
    new.metadata.creation_timestamp = serde_json::from_value(json!("2026-01-01T00:00:02Z")).unwrap();
    assert!(number(&new, &of(&new).unwrap()) > number(&old, &of(&old).unwrap()));
}

#[test]
fn other_rules_are_refused_where_nothing_is_said_about_totals_that_there_may_be() {
    let status = with_workers(1, "a < 1");
    let refusal = of(&sum(2, "a < 2", None, &status)).unwrap_err().to_string();
    assert!(refusal.contains("cannot be changed without reset"), "{refusal}");
    for reset in ["fromEarliest", "continue"] {
        assert!(of(&sum(2, "a < 2", Some(reset), &status)).is_ok());
    }
    // It never had workers.
    let mut refused = status.clone();
    refused.as_object_mut().unwrap().remove("replicas");
    assert_eq!(of(&sum(2, "a < 2", None, &refused)).unwrap().generation, 2);
}

#[test]
fn what_becomes_of_earlier_totals_counts_at_the_change_or_when_it_is_said_first() {
    let said = of(&sum(3, "a < 1", Some("continue"), &with_workers(1, "a < 1"))).unwrap();
    assert_eq!((said.generation, said.reset), (3, Some(Reset::Continue)));
    let mut status = with_workers(3, "a < 1");
    status["computation"]["reset"] = json!("continue");
    for later in [Some("fromEarliest"), None] {
        assert_eq!(of(&sum(4, "a < 1", later, &status)).unwrap(), said);
    }
}

#[test]
fn totals_by_other_groups_or_windows_of_another_scale_or_without_keys_cannot_be_continued() {
    for (what, before) in [
        ("groupBy", json!(["region"])),
        ("scale", json!(2)),
        ("window", json!({ "size": "1h" })),
        ("retract", json!(true)),
    ] {
        let mut status = with_workers(1, "a < 1");
        status["computation"]["sum"][what] = before;
        let refusal = of(&sum(2, "a < 1", Some("continue"), &status))
            .unwrap_err()
            .to_string();
        assert!(
            refusal.contains("sum.groupBy, sum.scale, sum.window and sum.retract cannot be changed"),
            "{what}: {refusal}"
        );
        assert!(
            of(&sum(2, "a < 1", Some("fromEarliest"), &status)).is_ok(),
            "{what}"
        );
    }
}
