//! What conditions say, and which events tell of them.

use naru_autoscale::{Recurring, Schedule};

use super::*;
use crate::autoscale::run::tests::target;

fn condition(condition_type: &str, status: &str, reason: &str) -> Condition {
    Condition {
        condition_type: condition_type.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: "because".to_owned(),
        last_transition_time: "2026-01-01T00:00:00Z".to_owned(),
        observed_generation: Some(1),
    }
}

#[test]
fn a_freeze_and_other_bounds_are_said_while_they_hold() {
    let mut target = target();
    let hours = |cron| Recurring::new(cron, "UTC", Duration::from_secs(3600)).unwrap();
    target.policy.freezes = vec![hours("0 12 * * *")];
    target.policy.schedules = vec![Schedule {
        when: hours("0 9 * * *"),
        min_replicas: Some(2),
        max_replicas: None,
    }];
    let look = Look {
        lag: Some(Ok(Lag::of(Vec::new()))),
        ..Look::default()
    };
    for (hour, reason, message) in [
        (8, "FollowingLag", "between 1 and 5 replicas"),
        (9, "FollowingLag", "between 2 and 5 replicas"),
        (
            12,
            "Frozen",
            "one of spec.scaling.freezes holds, and the workers stay as many as they are",
        ),
    ] {
        let now = format!("2026-03-02T{hour:02}:30:00Z").parse().unwrap();
        let scaling = &observed(&target, &look, now)[0];
        assert_eq!((scaling.reason, scaling.message.as_str()), (reason, message));
    }
}

#[test]
fn an_event_tells_what_changed_once_and_not_what_was_to_be_expected() {
    let pair = |scaling: (&str, &str), lag: (&str, &str)| {
        vec![
            condition(SCALING_ACTIVE, scaling.0, scaling.1),
            condition(LAG_AVAILABLE, lag.0, lag.1),
        ]
    };
    let well = pair(("True", "FollowingLag"), ("True", "LagRead"));
    let blind = pair(("False", "LagUnknown"), ("False", "KafkaUnreachable"));
    let missing = pair(("False", "LagUnknown"), ("False", "TopicMissing"));
    let refused = pair(("False", "ScaleFailed"), ("True", "LagRead"));
    let suspended = pair(("False", "Suspended"), ("Unknown", "NotChecked"));
    let stalled = [condition(PARTITIONS_STALLED, "True", "PartitionsStalled")];
    let moving = [condition(PARTITIONS_STALLED, "False", "PartitionsMoving")];
    let none = Vec::new();
    type Case<'a> = (&'a str, &'a [Condition], &'a [Condition], &'a [&'a str]);
    let disabled = pair(("False", "Disabled"), ("True", "LagRead"));
    let cases: [Case<'_>; 13] = [
        ("a resource begins", &none, &well, &[]),
        (
            "a resource begins in an outage",
            &none,
            &blind,
            &["KafkaUnreachable"],
        ),
        ("nothing changes", &blind, &blind, &[]),
        ("an outage", &well, &blind, &["KafkaUnreachable"]),
        ("another one", &blind, &missing, &["TopicMissing"]),
        ("its end", &missing, &well, &["LagRead"]),
        ("a refusal", &well, &refused, &["ScaleFailed"]),
        ("a suspension", &well, &suspended, &[]),
        ("its end", &suspended, &well, &[]),
        ("others are to scale", &well, &disabled, &[]),
        ("partitions move", &none, &moving, &[]),
        ("one does not", &none, &stalled, &["PartitionsStalled"]),
        ("it does again", &stalled, &moving, &["PartitionsMoving"]),
    ];
    for (case, before, after, expected) in cases {
        let events = transitions(before, after);
        let reasons: Vec<_> = events.iter().map(|event| event.reason.as_str()).collect();
        assert_eq!(reasons, expected, "{case}");
    }
}
