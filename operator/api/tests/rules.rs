//! What the API server refuses by a rule, rule by rule, evaluated without a cluster.

#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

#[allow(
    dead_code,
    unreachable_pub,
    reason = "tests share it, and none uses all of it"
)]
mod admission;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "tests share it, and none uses all of it"
)]
mod examples;
#[path = "rules/sums.rs"]
mod sums;

use std::collections::BTreeSet;

use admission::{admit, rules};
use examples::{example, with};
use kube::core::cel;
use serde_json::Value;

const ANY: &str = "SinkConnector of any class";
const NAME_52: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A place in an example, a value that is let through there, one that is refused, and where and how.
type Rule = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

/// `kind, place, accepted, refused, refusal`
#[rustfmt::skip]
const ON_CREATION: &[Rule] = &[
    ("ScrapeJob", "metadata.name", NAME_52, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "<nil>: metadata.name must have at most 52 characters"),
    ("FilteredSum", "metadata.name", NAME_52, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "<nil>: metadata.name must have at most 52 characters"),
    ("SinkConnector", "metadata.name", NAME_52, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "<nil>: metadata.name must have at most 52 characters"),
    ("ScrapeJob", "spec.source.urlTemplate", "http://example.org:8080/?product={id}", "https://example.org/product",
        "spec.source.urlTemplate: must be an http or https address with {id} in it once"),
    ("ScrapeJob", "spec.source.urlTemplate", "https://example.org/{id}", "https://example.org/{id}/{id}", "with {id} in it once"),
    ("ScrapeJob", "spec.source.urlTemplate", "https://example.org/{id}", "ftp://example.org/{id}",
        "must be an http or https address"),
    ("ScrapeJob", "spec.source.urlTemplate", "https://example.org/{id}", "https://{id}.example.org/{id}", "with {id} in it once"),
    ("ScrapeJob", "spec.source.urlTemplate", "https://example.org/{id}", "https://ada:pw@example.org/{id}",
        "http or https address"),
    ("ScrapeJob", "spec.source.start", "latest", "soon",
        "spec.source.start: must be \"latest\" or an id, a whole number that is not negative"),
    ("ScrapeJob", "spec.source.start", "0", "-1", "must be \"latest\" or an id"),
    ("ScrapeJob", "spec.source.head.every", "1s", "999ms",
        "spec.source.head.every: is 999ms, expected from 1s to 24h"),
    ("ScrapeJob", "spec.source.head.every", "24h", "24h1ms", "is 24h1ms, expected from 1s to 24h"),
    ("ScrapeJob", "spec.politeness.maxRequestsPerSecond", "0.01", "0", "must be above 0 and at most 10000"),
    ("ScrapeJob", "spec.politeness.maxRequestsPerSecond", "10000", "10000.5", "must be above 0 and at most 10000"),
    ("ScrapeJob", "spec.politeness.requestTimeout", "10m", "11m", "is 11m, expected from 1s to 10m"),
    ("ScrapeJob", "spec.retry.fixed.delay", "0s", "2h", "spec.retry.fixed.delay: is 2h, expected from 0s to 1h"),
    ("ScrapeJob", "spec.retry.exponential.base", "1ms", "0s",
        "spec.retry.exponential.base: is 0s, expected from 1ms to 1h"),
    ("ScrapeJob", "spec.retry.exponential.base", "5m", "6m",
        "spec.retry.exponential.base: is 6m, expected at most max, which is 5m"),
    ("ScrapeJob", "spec.retry.exponential.max", "24h", "25h",
        "spec.retry.exponential.max: is 25h, expected from 1ms to 24h"),
    ("ScrapeJob", "spec.extract.fields[0].from", "[{css: a, attribute: b}]", "[{url: a, css: b}]",
        "spec.extract.fields[0].from[0]: exactly one of json, css, meta and url must be set"),
    ("ScrapeJob", "spec.extract.fields[0].from", "[{meta: a}]", "[{}]", "exactly one of json, css, meta and url must be set"),
    ("ScrapeJob", "spec.extract.fields[0].from", "[{json: $.a}]", "[{url: a, attribute: b}]",
        "attribute is only possible together with css"),
    ("ScrapeJob", "spec.extract.fields[0].from[0].transform", "[{split: ','}, {item: 0}]", "[{split: ',', item: 0}]",
        "spec.extract.fields[0].from[0].transform[0]: exactly one of keep, regex, split, padTo and item must be set"),
    ("ScrapeJob", "spec.output.key", "id", "seq",
        "spec.output.key: is \"seq\", and extract.fields has no field of this name"),
    ("ScrapeJob", "spec.output.key", "id", "title",
        "spec.output.key: is \"title\", which is not a required field, and each record needs a key"),
    ("ScrapeJob", "spec.output.topic", "shop.goods", "naru.shop.goods",
        "spec.output.topic: is naru.shop.goods, expected a topic that begins neither with naru. nor with __"),
    ("ScrapeJob", "spec.output.topic", "_goods", "__consumer_offsets", "is __consumer_offsets, expected a topic"),
    ("ScrapeJob", "spec.scaling", "{minReplicas: 3, maxReplicas: 3}", "{minReplicas: 4, maxReplicas: 3}",
        "spec.scaling.minReplicas: must not be above maxReplicas"),
    ("ScrapeJob", "spec.scaling.maxLag", "1s", "999ms", "spec.scaling.maxLag: is 999ms, expected from 1s to 24h"),
    ("ScrapeJob", "spec.scaling.catchUp", "24h", "25h", "spec.scaling.catchUp: is 25h, expected from 10s to 24h"),
    ("ScrapeJob", "spec.scaling.scaleInAfter", "10s", "9s", "spec.scaling.scaleInAfter: is 9s, expected from 10s to 24h"),
    ("ScrapeJob", "spec.scaling.schedules[0].cron", "'*/5 0 1 1 *'", "'0 8 * *'",
        "spec.scaling.schedules[0].cron: must have five fields"),
    ("ScrapeJob", "spec.scaling.schedules[0].duration", "168h", "30s",
        "spec.scaling.schedules[0].duration: is 30s, expected from 1m to 168h"),
    ("ScrapeJob", "spec.scaling.freezes[0].cron", "'*/5 0 1 1 *'", "'0 8 * *'",
        "spec.scaling.freezes[0].cron: must have five fields"),
    ("ScrapeJob", "spec.scaling.freezes[0].duration", "168h", "30s",
        "spec.scaling.freezes[0].duration: is 30s, expected from 1m to 168h"),
    ("ScrapeJob", "spec.scaling.schedules[0].minReplicas", "6", "7",
        "spec.scaling.schedules[0].minReplicas: must not be above maxReplicas"),
    ("ScrapeJob", "spec.scaling.schedules", "[{cron: 0 8 * * *, duration: 1h, maxReplicas: 0}]", "[{cron: 0 8 * * *, duration: 1h}]",
        "spec.scaling.schedules[0]: minReplicas, maxReplicas or both must be set"),
    ("FilteredSum", "spec.scaling.schedules[0].cron", "'*/5 0 1 1 *'", "'0 8 * *'",
        "spec.scaling.schedules[0].cron: must have five fields"),
    ("FilteredSum", "spec.scaling.schedules[0].duration", "168h", "30s",
        "spec.scaling.schedules[0].duration: is 30s, expected from 1m to 168h"),
    ("FilteredSum", "spec.scaling.freezes[0].cron", "'*/5 0 1 1 *'", "'0 8 * *'",
        "spec.scaling.freezes[0].cron: must have five fields"),
    ("FilteredSum", "spec.scaling.freezes[0].duration", "168h", "30s",
        "spec.scaling.freezes[0].duration: is 30s, expected from 1m to 168h"),
    ("FilteredSum", "spec.scaling.schedules[0].minReplicas", "6", "7",
        "spec.scaling.schedules[0].minReplicas: must not be above maxReplicas"),
    ("FilteredSum", "spec.scaling.schedules", "[{cron: 0 8 * * *, duration: 1h, maxReplicas: 0}]", "[{cron: 0 8 * * *, duration: 1h}]",
        "spec.scaling.schedules[0]: minReplicas, maxReplicas or both must be set"),
    ("ScrapeJob", "spec.capacity.thresholds", "[1, 100]", "[95, 95]",
        "spec.capacity.thresholds: must be two percentages, of which the first is below the second"),
    ("FilteredSum", "spec.capacity.thresholds", "[1, 100]", "[95, 95]",
        "spec.capacity.thresholds: must be two percentages, of which the first is below the second"),
    ("ScrapeJob", "spec.rollout.progressDeadline", "10s", "9s",
        "spec.rollout.progressDeadline: is 9s, expected from 10s to 1h"),
    ("ScrapeJob", "spec.rollout.progressDeadline", "1h", "61m", "is 61m, expected from 10s to 1h"),
    ("ScrapeJob", "spec.kafka.bootstrapServers", "'a:1,b:65535'", "'a:1,b:65536'",
        "spec.kafka.bootstrapServers: is \"a:1,b:65536\", expected ports from 1 to 65535"),
    ("ScrapeJob", "spec.kafka.bootstrapServers", "'a:1'", "'a:0'", "expected ports from 1 to 65535"),
    ("ScrapeJob", "spec.registry.url", "https://registry/path", "registry:8081",
        "spec.registry.url: must be an http or https address such as http://registry:8081"),
    ("ScrapeJob", "spec.registry.url", "http://registry", "http://ada:pw@registry",
        "spec.registry.url: must not hold credentials"),
    ("FilteredSum", "spec.output.topic", "totals", "goods",
        "spec.output.topic: is input.topic too, expected another topic"),
    ("FilteredSum", "spec.output.topic", "totals", "naru.totals",
        "is naru.totals, expected a topic that begins neither with naru."),
    ("FilteredSum", "spec", "{input: {topic: goods}, sum: {field: price, retract: true}, output: {topic: revenue}}",
        "{input: {topic: goods}, sum: {field: price, retract: true}, output: {topic: revenue}, delivery: idempotentUpsert}",
        "spec.delivery: delivery must be exactlyOnce with sum.retract"),
    ("FilteredSum", "spec.commitInterval", "1ms", "0s", "spec.commitInterval: is 0s, expected from 1ms to 5s"),
    ("FilteredSum", "spec.commitInterval", "5s", "1m", "is 1m, expected from 1ms to 5s"),
    ("FilteredSum", "spec.sum.window", "{size: 1s}", "{size: 999ms}", "spec.sum.window.size: is 999ms, expected from 1s to 8784h"),
    ("FilteredSum", "spec.sum.window", "{size: 8784h}", "{size: 8784h1s}", "is 8784h1s, expected from 1s to 8784h"),
    ("FilteredSum", "spec.sum.window", "{size: 1m30s}", "{size: 1s500ms}", "spec.sum.window.size: is 1s500ms, expected whole seconds"),
    ("FilteredSum", "spec.sum.window", "{size: 1h, grace: 0s}", "{size: 1h, grace: 9000h}",
        "spec.sum.window.grace: is 9000h, expected from 0s to 8784h"),
    ("FilteredSum", "spec.sum.window", "{size: 1h, grace: 500ms, retention: 0s}", "{size: 1h, retention: 9000h}",
        "spec.sum.window.retention: is 9000h, expected from 0s to 8784h"),
    ("FilteredSum", "spec.sum.window", "{size: 1h, time: at, retention: 24h}", "{size: 1h, time: at, retention: 23h59m59s}",
        "spec.sum.window.retention: must be at least 24h with sum.window.time"),
    ("FilteredSum", "spec.sum", "{field: price, retract: false, window: {size: 1h}}", "{field: price, retract: true, window: {size: 1h}}",
        "spec.sum.retract: sum.retract must be false while sum.window is set"),
    ("FilteredSum", "spec", "{input: {topic: a}, output: {topic: b}, sum: {field: c, window: {size: 1h}}}",
        "{input: {topic: a}, output: {topic: b}, sum: {field: c, window: {size: 1h}}, delivery: idempotentUpsert}",
        "spec.delivery: delivery must be exactlyOnce while sum.window is set"),
    ("FilteredSum", "spec.scaling", "{minReplicas: 0}", "{minReplicas: 4, maxReplicas: 3}", "must not be above maxReplicas"),
    ("FilteredSum", "spec.scaling.maxLag", "24h", "25h", "spec.scaling.maxLag: is 25h, expected from 1s to 24h"),
    ("FilteredSum", "spec.scaling.catchUp", "10s", "9s", "spec.scaling.catchUp: is 9s, expected from 10s to 24h"),
    ("FilteredSum", "spec.scaling.scaleInAfter", "24h", "25h",
        "spec.scaling.scaleInAfter: is 25h, expected from 10s to 24h"),
    ("FilteredSum", "spec.rollout.progressDeadline", "10s", "1ms", "is 1ms, expected from 10s to 1h"),
    ("FilteredSum", "spec.kafka.bootstrapServers", "'a:1'", "'a:99999'", "expected ports from 1 to 65535"),
    ("FilteredSum", "spec.registry.url", "http://registry", "ftp://registry", "must be an http or https address"),
    ("FilteredSum", "spec.registry.url", "http://registry", "http://a@registry", "must not hold credentials"),
    ("SinkConnector", "spec.class", "", "org.example.Sink", "spec: exactly one of mysql and class must be set"),
    ("SinkConnector", "spec.config", "", "{a: b}",
        "spec: config and configSecrets are only possible together with class"),
    ("SinkConnector", "spec.mysql.url", "jdbc:mariadb://db/shop", "postgres://db/shop",
        "spec.mysql.url: must be an address such as jdbc:mysql://host:3306/database"),
    ("SinkConnector", "spec.mysql.url", "jdbc:mysql://db/shop", "jdbc:mysql://ada:pw@db/shop",
        "spec.mysql.url: must not hold credentials, which belong into the Secret that credentialsSecret names"),
    ("SinkConnector", "spec.mysql.url", "jdbc:mysql://db/shop?a=b", "jdbc:mysql://db/shop?a=b&Password=pw",
        "must not hold credentials"),
    ("SinkConnector", "spec.connect.url", "https://ada:pw@connect/kafka", "connect:8083",
        "spec.connect.url: must be an http or https address without a query, such as http://connect:8083"),
    ("SinkConnector", "spec.kafka.bootstrapServers", "'a:1'", "'a:0'", "expected ports from 1 to 65535"),
    (ANY, "spec.config", "{a: b}", "{topics: other}",
        "spec.config: name, topics, topics.regex, tasks.max and connector.class are set by naru"),
    (ANY, "spec.config", "{a: b}", "{topics.regex: .*}", "are set by naru"),
    (ANY, "spec.configSecrets", "{a: {secret: b, key: c}}", "{name: {secret: b, key: c}}",
        "spec.configSecrets: name, topics, topics.regex, tasks.max and connector.class are set by naru"),
    (ANY, "spec.configSecrets", "{other: {secret: b, key: c}}", "{index: {secret: b, key: c}}",
        "spec: config and configSecrets set the same key, expected each key in one of them"),
];

/// `kind, place, accepted as a change, refused as one, refusal`. What is refused is accepted on creation.
#[rustfmt::skip]
const ON_UPDATE: &[Rule] = &[
    ("ScrapeJob", "spec.output.topic", "goods", "other", "spec.output: output.topic cannot be changed"),
    ("ScrapeJob", "spec.output.partitions", "9", "", ""),
    ("ScrapeJob", "spec.scaling.maxReplicas", "9", "", ""),
    ("ScrapeJob", "spec.kafka.bootstrapServers", "'kafka-0:9092,kafka-1:9092'", "'other:9092'",
        "spec: kafka cannot be changed"),
    ("ScrapeJob", "spec.deletionPolicy", "Delete", "", ""),
    ("ScrapeJob", "spec.suspend", "true", "", ""),
    ("FilteredSum", "spec.filter", "price < 1000000", "price < 2", "filter and sum cannot be changed without reset"),
    ("FilteredSum", "spec.sum.field", "price", "cost", "set reset to fromEarliest"),
    ("FilteredSum", "spec.sum.groupBy", "[category]", "[]", "cannot be changed without reset"),
    ("FilteredSum", "spec.sum.scale", "0", "2", "cannot be changed without reset"),
    ("FilteredSum", "spec.sum.roundFloats", "false", "true", "cannot be changed without reset"),
    ("FilteredSum", "spec.sum.window", "", "{size: 1h}", "cannot be changed without reset"),
    ("FilteredSum", "spec.sum.retract", "false", "true", "cannot be changed without reset"),
    ("FilteredSum", "spec.input.topic", "goods", "other", "input, output and kafka cannot be changed"),
    ("FilteredSum", "spec.reset", "continue", "", ""),
    ("FilteredSum", "spec.reset", "fromEarliest", "", ""),
    ("FilteredSum", "spec.output.topic", "revenue", "other", "cannot be changed"),
    ("FilteredSum", "spec.kafka.bootstrapServers", "'kafka:9092'", "'other:9092'", "cannot be changed"),
    ("FilteredSum", "spec.scaling.maxReplicas", "9", "", ""),
    ("FilteredSum", "spec.commitInterval", "1s", "", ""),
    ("FilteredSum", "spec.capacity.recordsPerSecond", "9000", "", ""),
    ("FilteredSum", "spec.delivery", "idempotentUpsert", "", ""),
    ("FilteredSum", "spec.onError", "stop", "", ""),
    ("SinkConnector", "spec.connect.url", "http://connect:8083", "http://other:8083",
        "spec: connect cannot be changed"),
    ("SinkConnector", "spec.topics", "[more]", "", ""),
    ("SinkConnector", "spec.deletionPolicy", "ResetOffsetsAndDelete", "", ""),
    ("SinkConnector", "spec.suspend", "true", "", ""),
];

fn schema_of(kind: &str) -> Value {
    admission::schema_of(if kind == ANY { "SinkConnector" } else { kind })
}

/// Panics unless the answer to each row is as the table says; returns the rules that have refused something.
fn check(table: &[Rule], old: impl Fn(&str) -> Option<Value>) -> BTreeSet<(&'static str, String)> {
    let mut broken = BTreeSet::new();
    for &(kind, place, accepted, refused, expected) in table {
        let (schema, old) = (schema_of(kind), old(kind));
        let answer = |yaml| admit(&schema, &with(example(kind), place, yaml), old.as_ref());
        if let Err(refusals) = answer(accepted) {
            unreachable!("{kind} {place}: {accepted} was refused: {refusals:#?}");
        }
        if refused.is_empty() {
            continue;
        }
        let refusals = answer(refused).expect_err(&format!("{kind} {place}: {refused} was accepted"));
        assert!(
            refusals.iter().any(
                |refusal| format!("{}: {}", refusal.place, refusal.what).contains(expected)
                    && refusal.rule.is_some()
            ),
            "{kind} {place}: {refused} gets {refusals:#?}, expected {expected:?}"
        );
        let kind = if kind == ANY { "SinkConnector" } else { kind };
        broken.extend(
            refusals
                .into_iter()
                .filter_map(|refusal| Some((kind, refusal.rule?))),
        );
    }
    broken
}

/// The example as it was before, with workers that run.
fn running(kind: &str) -> Option<Value> {
    if kind == "SinkConnector" {
        return Some(example(kind));
    }
    Some(with(example(kind), "status", "{conditions: [], replicas: 1}"))
}

#[test]
fn each_rule_accepts_what_can_work_and_refuses_what_cannot() {
    let mut broken = check(ON_CREATION, |_| None);
    broken.extend(check(ON_UPDATE, running));
    broken.extend(sums::changes_of_rules());
    for kind in ["ScrapeJob", "FilteredSum", "SinkConnector"] {
        for rule in rules(&schema_of(kind)) {
            assert!(
                broken.contains(&(kind, rule.clone())),
                "no row of the tables shows that this rule of {kind} refuses something: {rule}"
            );
        }
    }
}

#[test]
fn what_is_refused_as_a_change_is_accepted_on_creation() {
    for &(kind, place, _, refused, _) in ON_UPDATE {
        if !refused.is_empty() {
            let created = admit(&schema_of(kind), &with(example(kind), place, refused), None);
            assert!(created.is_ok(), "{kind} {place}: {created:?}");
        }
    }
}

#[test]
fn an_optional_part_that_is_fixed_can_be_neither_added_nor_removed() {
    for (kind, place, message) in [
        ("ScrapeJob", "spec.kafka", "kafka cannot be changed"),
        ("FilteredSum", "spec.kafka", "cannot be changed"),
        ("FilteredSum", "spec.filter", "cannot be changed"),
        ("SinkConnector", "spec.connect", "connect cannot be changed"),
    ] {
        let (schema, full) = (schema_of(kind), running(kind).unwrap());
        let without = with(full.clone(), place, "");
        for (new, old) in [(&full, &without), (&without, &full)] {
            let refusals = admit(&schema, new, Some(old)).expect_err(place);
            assert!(refusals[0].what.contains(message), "{kind} {place}: {refusals:?}");
        }
    }
}

#[test]
fn a_null_is_as_if_nothing_was_said() {
    for (kind, place) in [
        ("ScrapeJob", "spec.kafka"),
        ("ScrapeJob", "spec.registry"),
        ("ScrapeJob", "spec.scaling"),
        ("ScrapeJob", "spec.scaling.lagPerReplica"),
        ("FilteredSum", "spec.scaling.maxLag"),
        ("ScrapeJob", "spec.extract.fields[0].from[0].css"),
        ("FilteredSum", "spec.filter"),
        ("FilteredSum", "spec.kafka"),
        ("SinkConnector", "spec.class"),
        ("SinkConnector", "spec.connect"),
        ("SinkConnector", "spec.config"),
        (ANY, "spec.mysql"),
        (ANY, "spec.configSecrets"),
    ] {
        let (schema, null, nothing) = (
            schema_of(kind),
            with(example(kind), place, "null"),
            with(example(kind), place, ""),
        );
        let stored = admit(&schema, &null, None);
        assert_eq!(stored, admit(&schema, &nothing, None), "{kind} {place}");
        assert!(stored.is_ok(), "{kind} {place}: {stored:?}");
        // Nor is it a change of what cannot be changed.
        let changed = admit(&schema, &null, Some(&stored.unwrap()));
        assert!(changed.is_ok(), "{kind} {place}: {changed:?}");
    }
}

#[test]
fn a_null_where_something_is_needed_is_told_as_missing() {
    let null = with(example("SinkConnector"), "spec.mysql.url", "null");
    let refusals = admit(&schema_of("SinkConnector"), &null, None).unwrap_err();
    assert_eq!(refusals[0].message(), "spec.mysql.url: Required value");
}

#[test]
fn delivery_what_becomes_of_errors_and_who_scales_may_be_changed_and_changed_back() {
    for (place, values, wrong) in [
        (
            "spec.delivery",
            ["exactlyOnce", "idempotentUpsert"],
            "atLeastOnce",
        ),
        ("spec.onError", ["deadLetter", "stop"], "Stop"),
        ("spec.scaling.mode", ["Auto", "Disabled"], "disabled"),
        ("spec.scaling.mode", ["Recommend", "Disabled"], "Off"),
    ] {
        let schema = schema_of("FilteredSum");
        let sum = |value: &str| with(running("FilteredSum").unwrap(), place, value);
        for (old, new) in [(values[0], values[1]), (values[1], values[0]), (values[1], "")] {
            let changed = admit(&schema, &sum(new), Some(&sum(old)));
            assert!(changed.is_ok(), "{place}: {old} -> {new:?}: {changed:?}");
        }
        assert!(admit(&schema, &sum(wrong), None).is_err(), "{place}: {wrong}");
    }
}

#[test]
fn a_sum_that_never_had_workers_may_be_mended() {
    let refused = with(example("FilteredSum"), "status", "{conditions: []}");
    let mended = with(refused.clone(), "spec.sum.field", "cost");
    assert!(admit(&schema_of("FilteredSum"), &mended, Some(&refused)).is_ok());
}

/// What the API server asks of a definition, and no library checks.
#[test]
fn every_rule_compiles_names_a_field_that_there_is_and_has_a_message_of_bounded_length() {
    for kind in ["ScrapeJob", "FilteredSum", "SinkConnector"] {
        let schema = schema_of(kind);
        let compiled = cel::compile_schema(&schema);
        assert!(
            !compiled.has_errors(),
            "{kind}: {:?}",
            compiled.compilation_errors()
        );
        each_rule(&schema, &mut |judged, rule| {
            let path = rule["fieldPath"].as_str().unwrap_or_default();
            let pointer = path.replace('.', "/properties/");
            assert!(judged.pointer(&pointer).is_some(), "{kind}: {path} of {rule}");
            let message = rule["messageExpression"].as_str().unwrap_or_default();
            // The API server takes the text of a number for one of any length.
            assert!(!message.contains("string("), "{kind}: {rule}");
        });
    }
}

fn each_rule(schema: &Value, look: &mut impl FnMut(&Value, &Value)) {
    let Some(keywords) = schema.as_object() else {
        return;
    };
    for (keyword, inner) in keywords {
        match inner.as_array() {
            Some(rules) if keyword == "x-kubernetes-validations" => {
                rules.iter().for_each(|rule| look(schema, rule))
            }
            _ => each_rule(inner, look),
        }
    }
}
