//! What Prometheus gets to read, and that the chart's dashboard and alerts ask for nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use axum::http::{Request, Response};
use kube::runtime::controller::Action;
use naru_api::{Condition, condition::reason};
use regex::Regex;
use tower::{Layer, Service};

use super::*;

fn object() -> Object {
    Object {
        kind: "ScrapeJob",
        namespace: "shop".to_owned(),
        name: "items".to_owned(),
    }
}

/// Metrics in which everything has happened once.
async fn eventful() -> Metrics {
    let metrics = Metrics::default();
    let ready = Condition {
        condition_type: "Ready".to_owned(),
        status: "True".to_owned(),
        reason: "Running".to_owned(),
        message: "planner 1 of 1 ready".to_owned(),
        last_transition_time: "2026-01-01T00:00:00Z".to_owned(),
        observed_generation: Some(1),
    };
    let show = move |show: &mut dyn FnMut(Object, &[Condition])| show(object(), std::slice::from_ref(&ready));
    metrics.passes.follow_with(object().kind, Box::new(show));
    let resync = Duration::from_secs(30);
    metrics
        .passes
        .begin(object())
        .end(&Ok(Action::await_change()), resync);
    std::mem::forget(metrics.passes.begin(object()));
    metrics
        .external
        .observe("kafka", "kafka:9092", "ok", Duration::ZERO);
    metrics.scaling.looked(resync);
    metrics.scaling.lag(&object(), Some(1));
    metrics.scaling.producers(&object(), Some(0.5));
    metrics.scaling.stalled(&object(), Some(0));
    metrics.scaling.rates(&object(), Some(1.0), Some(1.0));
    metrics.scaling.scaled(&object(), 1, 2);
    let (service, mut server) = tower_test::mock::pair::<Request<()>, Response<()>>();
    let mut service = metrics.api.layer(service);
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    let answer = service.call(Request::get("/api/v1/configmaps").body(()).unwrap());
    server
        .next_request()
        .await
        .unwrap()
        .1
        .send_response(Response::new(()));
    answer.await.unwrap();
    metrics
}

/// Names of all series, and the labels that each has.
fn series(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let label = Regex::new(r#"(\w+)="[^"]*""#).unwrap();
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        let labels = label
            .captures_iter(rest)
            .map(|found| found.get(1).unwrap().as_str());
        all.entry(name).or_default().extend(labels);
    }
    all
}

const DASHBOARD: &str = include_str!("../../../charts/naru/dashboards/naru.json");
const PAGE: &str = include_str!("../../../docs/watching-the-operator.md");
const RULES: &str = include_str!("../../../charts/naru/rules/naru.yaml");

#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_what_there_is() {
    let text = eventful().await.text();
    let there = series(&text);
    let asked = Regex::new(r"\b((?:naru_operator|process)_[a-z_]+)\b(?:\{([^}]*)\})?").unwrap();
    let label = Regex::new(r"(\w+)\s*[=!]").unwrap();
    let mut names = BTreeSet::new();
    for (file, content) in [("dashboard", DASHBOARD), ("rules", RULES)] {
        for found in asked.captures_iter(content) {
            let name = found.get(1).unwrap().as_str();
            let Some(labels) = there.get(name) else {
                panic!("the {file} asks for {name}, which is not in:\n{text}")
            };
            let matchers = found.get(2).map_or("", |matchers| matchers.as_str());
            for asked in label.captures_iter(matchers) {
                let asked = asked.get(1).unwrap().as_str();
                assert!(labels.contains(asked), "{file}: {name} has no label {asked}");
            }
            names.insert(name);
        }
    }
    assert!(names.len() > 20, "{names:?}");
}

#[tokio::test]
async fn each_metric_is_on_the_page_with_its_labels() {
    let text = eventful().await.text();
    let row = Regex::new(r"\| `(naru_operator_\w+)` \| ([\w, ]*?) ?\|").unwrap();
    let described: BTreeMap<&str, BTreeSet<&str>> = row
        .captures_iter(PAGE)
        .map(|found| {
            let labels = found.get(2).unwrap().as_str().split(", ");
            let labels = labels.filter(|label| !label.is_empty()).collect();
            (found.get(1).unwrap().as_str(), labels)
        })
        .collect();
    let there: BTreeMap<&str, BTreeSet<&str>> = series(&text)
        .into_iter()
        .filter(|(name, _)| name.starts_with("naru_operator_"))
        .filter(|(name, _)| !name.ends_with("_count") && !name.ends_with("_sum"))
        .map(|(name, mut labels)| {
            labels.remove("le");
            (name.strip_suffix("_bucket").unwrap_or(name), labels)
        })
        .collect();
    assert_eq!(there, described);
}

#[test]
fn the_alerts_name_reasons_that_conditions_have() {
    let matcher = Regex::new(r#"reason[=!]~?"([A-Za-z|]+)""#).unwrap();
    let known: BTreeSet<&str> = reason::ALL.iter().map(|(reason, _)| *reason).collect();
    let named: Vec<&str> = matcher
        .captures_iter(RULES)
        .flat_map(|found| found.get(1).unwrap().as_str().split('|'))
        .collect();
    assert!(named.len() >= 4, "{named:?}");
    for reason in named {
        assert!(known.contains(reason), "{reason}");
    }
}

#[test]
fn the_operator_names_its_version_and_whether_it_leads() {
    let metrics = Metrics::default();
    let has = |line: &str| assert!(metrics.text().contains(line), "{line}{}", metrics.text());
    has(concat!(
        "naru_operator_build_info{version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"} 1\n"
    ));
    has("naru_operator_leader 0\n");
    let lead = metrics.lead();
    has("naru_operator_leader 1\n");
    drop(lead);
    has("naru_operator_leader 0\n");
    has("\nprocess_resident_memory_bytes ");
    has("\nprocess_cpu_seconds_total ");
}

#[test]
fn nothing_is_expected_to_move_where_the_operator_stands_by() {
    let metrics = Metrics::default();
    let _endless = metrics.passes.begin(object());
    let later = Instant::now() + Duration::from_secs(3600);
    assert_eq!(metrics.standstill(later), [""; 0]);
    let _lead = metrics.lead();
    assert_eq!(metrics.standstill(later).len(), 1);
}
