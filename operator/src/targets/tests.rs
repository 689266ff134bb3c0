//! What is scaled while resources are edited.

use clap::Parser;
use kube::runtime::{reflector, watcher::Event};
use serde_json::{Value, json};

use super::*;

/// The targets of a FilteredSum that is edited: at each edit, the most replicas and whether the spec is refused.
fn targets(edits: &[&dyn Fn(&mut Value)]) -> Vec<Option<(i32, bool)>> {
    let targets = listed(edits).into_iter();
    let told = |target: Arc<Target>| (target.policy.max_replicas, target.refused);
    targets.map(|target| target.map(told)).collect()
}

fn listed(edits: &[&dyn Fn(&mut Value)]) -> Vec<Option<Arc<Target>>> {
    let mut sum = json!({
        "apiVersion": "naru.dev/v1alpha1", "kind": "FilteredSum",
        "metadata": { "name": "total", "namespace": "shop", "generation": 2, "uid": "1" },
        "spec": { "input": { "topic": "items" }, "sum": { "field": "price" }, "output": { "topic": "totals" },
            "scaling": { "minReplicas": 1, "maxReplicas": 3 } },
        "status": { "conditions": [{ "type": "Valid", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 2 }] },
    });
    let (sums, mut told) = reflector::store();
    let (jobs, _) = reflector::store();
    let arguments = [
        "naru-operator",
        "--worker-image",
        "w",
        "--kafka-bootstrap-servers",
        "k:9092",
    ];
    let targets = Targets::new(&Arc::new(Settings::parse_from(arguments)), jobs, sums);
    let edits = edits.iter().zip(1..).map(|(edit, version)| {
        edit(&mut sum);
        sum["metadata"]["resourceVersion"] = version.to_string().into();
        told.apply_watcher_event(&Event::Apply(kube::core::DeserializeGuard(Ok(
            serde_json::from_value(sum.clone()).unwrap(),
        ))));
        let target = targets.list().pop()?;
        assert_eq!(target.generation, sum["metadata"]["generation"].as_i64());
        let again = targets.list().pop().unwrap();
        assert!(Arc::ptr_eq(&target, &again), "what is as it was is not made anew");
        Some(target)
    });
    edits.collect()
}

fn edit(sum: &mut Value) {
    sum["metadata"]["generation"] = 3.into();
    sum["spec"]["scaling"]["maxReplicas"] = 9.into();
}

fn judge(sum: &mut Value, status: &str) {
    sum["status"]["conditions"][0]["status"] = status.into();
    sum["status"]["conditions"][0]["observedGeneration"] = 3.into();
}

#[test]
fn resources_that_stay_are_scaled_as_they_were_last_accepted() {
    let accepted = |sum: &mut Value| judge(sum, "True");
    let refused = |sum: &mut Value| judge(sum, "False");
    let found = targets(&[&|_| {}, &edit, &refused, &accepted]);
    assert_eq!(
        found,
        [
            Some((3, false)),
            Some((3, false)),
            Some((3, false)),
            Some((9, false))
        ]
    );
    let another = |sum: &mut Value| sum["metadata"]["uid"] = "2".into();
    assert_eq!(
        targets(&[&|_| {}, &edit, &another]).pop(),
        Some(None),
        "of the same name"
    );
    let deleted = |sum: &mut Value| sum["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert_eq!(targets(&[&|_| {}, &deleted]).pop(), Some(None));
}

#[test]
fn what_is_suspended_is_not_scaled_before_a_spec_without_that_is_accepted() {
    let accepted = |sum: &mut Value| judge(sum, "True");
    let refused = |sum: &mut Value| judge(sum, "False");
    let suspend = |sum: &mut Value| {
        edit(sum);
        sum["spec"]["suspend"] = true.into();
    };
    let resume = |sum: &mut Value| sum["spec"]["suspend"] = false.into();
    let found = listed(&[&|_| {}, &suspend, &refused, &resume, &accepted]);
    let suspended: Vec<_> = found
        .into_iter()
        .map(|target| target.unwrap().suspended)
        .collect();
    assert_eq!(suspended, [false, true, true, true, false]);
}

#[test]
fn bounds_and_freezes_hold_at_their_times() {
    let found = listed(&[&|sum: &mut Value| {
        sum["spec"]["scaling"]["schedules"] = json!([{ "cron": "0 8 * * *", "timeZone": "Asia/Seoul", "duration": "1h", "minReplicas": 2, "maxReplicas": 6 }]);
        sum["spec"]["scaling"]["freezes"] = json!([{ "cron": "30 8 * * *", "duration": "1h" }]);
    }]);
    let policy = &found[0].as_ref().unwrap().policy;
    // (UTC, bounds, frozen)
    for (time, bounds, frozen) in [
        ("22:59", (1, 3), false),
        ("23:00", (2, 6), false),
        ("08:30", (1, 3), true),
    ] {
        let now = format!("2026-03-02T{time}:00Z").parse().unwrap();
        assert_eq!(
            (policy.bounds(now), policy.frozen(now)),
            (bounds, frozen),
            "{time}"
        );
    }
}

#[test]
fn a_spec_that_is_refused_from_the_start_is_told_of_and_one_that_nobody_looked_at_is_not() {
    assert_eq!(targets(&[&edit]), [None]);
    let refused = |sum: &mut Value| {
        edit(sum);
        judge(sum, "False");
    };
    assert_eq!(targets(&[&refused]), [Some((9, true))]);
}

#[test]
fn what_producers_may_write_is_said_of_the_input() {
    let found = listed(&[&|_| {}, &|sum: &mut Value| {
        edit(sum);
        judge(sum, "True");
        sum["spec"]["capacity"] = json!({ "recordsPerSecond": 5000 });
    }]);
    let limits: Vec<_> = found
        .into_iter()
        .map(|target| target.unwrap().producers.clone())
        .collect();
    assert_eq!(limits[0], None);
    let limit = limits[1].as_ref().unwrap();
    let thresholds = (limit.thresholds.warning, limit.thresholds.critical);
    assert_eq!(
        (limit.topic.as_str(), limit.records_per_second, thresholds),
        ("items", 5000.0, (0.8, 0.95))
    );
}

#[test]
fn a_fetcher_may_stand_for_three_times_as_long_as_ranges_take() {
    let job = |politeness: Value, retry: Value| -> ScrapeJob {
        serde_json::from_value(json!({
            "apiVersion": "naru.dev/v1alpha1", "kind": "ScrapeJob", "metadata": { "name": "items", "namespace": "shop" },
            "spec": {
                "source": { "urlTemplate": "https://example.org/{id}", "rangeSize": 100,
                    "head": { "sitemap": { "url": "https://example.org/s.xml", "pattern": "(1)" } } },
                "politeness": politeness, "retry": retry, "extract": { "fields": [] },
                "output": { "topic": "items", "key": "id" }, "scaling": { "maxReplicas": 3 },
            },
        }))
        .unwrap()
    };
    let retry = |times: u32| {
        json!({ "fixed": { "times": 0, "delay": "1s" },
        "exponential": { "times": times, "base": "1s", "max": "1m" } })
    };
    let polite = |rate: f64| json!({ "maxRequestsPerSecond": rate, "maxConcurrent": 9 });
    for (rate, times, seconds) in [(1000.0, 0, 30), (1.0, 0, 90), (1.0, 5, 180), (0.001, 0, 3600)] {
        let every = stall_every(&job(polite(rate), retry(times)));
        assert_eq!(every, Duration::from_secs(seconds), "{rate} {times}");
    }
}
