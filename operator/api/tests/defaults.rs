//! What a field is if nothing is said of it.

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

use admission::{admit, schema_of};
use examples::{example, with};
use naru_api::{
    ConnectorDeletionPolicy, DeletionPolicy, Delivery, FilteredSum, OnError, ScalingMode, ScrapeJob,
    SinkConnector,
};
use serde_json::{Value, json};

#[test]
fn nothing_is_suspended_rolled_back_or_deleted_unless_asked_for() {
    let bare = |kind: &str, places: &[&str]| {
        let bare = places
            .iter()
            .fold(example(kind), |object, place| with(object, place, ""));
        admit(&schema_of(kind), &bare, None).unwrap()
    };
    let optional = [
        "spec.suspend",
        "spec.rollout",
        "spec.deletionPolicy",
        "spec.retry",
        "spec.politeness",
        "spec.scaling",
        "spec.delivery",
        "spec.onError",
    ];
    let stored = bare("ScrapeJob", &optional);
    assert_eq!(
        stored["spec"]["rollout"],
        json!({ "progressDeadline": "2m", "autoRollback": false })
    );
    let job: ScrapeJob = serde_json::from_value(stored).unwrap();
    assert!(!job.spec.suspend && job.spec.deletion_policy == DeletionPolicy::Orphan);
    let sum: FilteredSum = serde_json::from_value(bare("FilteredSum", &optional)).unwrap();
    assert_eq!(
        (sum.spec.delivery, sum.spec.on_error),
        (Delivery::ExactlyOnce, OnError::DeadLetter)
    );
    assert!(!sum.spec.suspend && sum.spec.deletion_policy == DeletionPolicy::Orphan);
    let modes = [job.spec.scaling.mode, sum.spec.scaling.mode];
    assert_eq!(modes, [ScalingMode::Auto; 2]);
    let sink: SinkConnector = serde_json::from_value(bare("SinkConnector", &optional[..3])).unwrap();
    assert!(!sink.spec.suspend && sink.spec.deletion_policy == ConnectorDeletionPolicy::Delete);
}

#[test]
fn the_defaults_of_a_schema_are_those_of_its_type() {
    for kind in ["ScrapeJob", "FilteredSum", "SinkConnector"] {
        let required = [
            "source", "extract", "output", "input", "sum", "topics", "mysql", "class",
        ];
        let mut object = example(kind);
        object["spec"]
            .as_object_mut()
            .unwrap()
            .retain(|field, _| required.contains(&field.as_str()));
        let stored = admit(&schema_of(kind), &object, None).unwrap();
        let by_type = |object: &Value| match kind {
            "ScrapeJob" => serde_json::to_value(serde_json::from_value::<ScrapeJob>(object.clone()).unwrap()),
            "FilteredSum" => {
                serde_json::to_value(serde_json::from_value::<FilteredSum>(object.clone()).unwrap())
            }
            _ => serde_json::to_value(serde_json::from_value::<SinkConnector>(object.clone()).unwrap()),
        };
        assert_eq!(by_type(&object).unwrap(), by_type(&stored).unwrap(), "{kind}");
    }
}
