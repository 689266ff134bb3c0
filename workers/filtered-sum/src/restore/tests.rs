mod upserts;
mod windows;

use super::*;
use crate::partition::Outcome;
use crate::total::Offsets;

fn assigned(committed: Option<i64>) -> Assigned {
    Assigned {
        partition: 1,
        position: committed.unwrap_or(7),
        start: committed.map_or(7, |_| 0),
        deleted: 0,
        metadata: committed.map(|_| String::new()),
    }
}

fn written(next_offset: i64, group: Option<&str>, sum: i128) -> Total {
    Total {
        scope: Scope::Partition {
            partition: 1,
            next_offset,
        },
        group: group.map(str::to_owned),
        accumulator: Accumulator {
            count: 1,
            sum,
            ..Accumulator::default()
        },
        windowed: Windowed::No,
    }
}

fn identity(group: &str, filter: &str) -> Identity {
    let header = format!(
        r#"{{"group": "{group}", "inputTopic": "items", "filter": "{filter}", "field": "price", "groupBy": []}}"#
    );
    serde_json::from_str(&header).unwrap()
}

fn ours() -> Identity {
    identity("ours", "price <= 5")
}

fn number(computation: i64) -> Origin {
    Origin {
        computation,
        mixed: false,
    }
}

/// Computation 3 of the sum.
fn sum(reset: Option<Reset>) -> Computation {
    let identity = ours().with(number(3));
    Computation { identity, reset }
}

fn totals(restored: Restored) -> PartitionTotals {
    match restored {
        Restored::Totals(totals) => totals,
        Restored::Anew(superseded) => panic!("{superseded:?}"),
    }
}

/// Totals that computation 2, of the same resource and with another filter, has written.
fn earlier(all: impl IntoIterator<Item = Total>) -> Found {
    let earlier = identity("ours", "price <= 4").with(number(2));
    all.into_iter().fold(Found::default(), |mut found, total| {
        found.observe(total, 1_000, Some(earlier.clone()), Delivery::ExactlyOnce);
        found
    })
}

fn found(totals: impl IntoIterator<Item = Total>) -> Found {
    totals.into_iter().fold(Found::default(), |mut found, total| {
        found.observe(total, 1_000, Some(ours().with(number(3))), Delivery::ExactlyOnce);
        found
    })
}

#[test]
fn what_nobody_has_read_begins_at_the_start_of_the_log_with_zero() {
    assert_eq!(
        Found::default().check(&assigned(None), &sum(None), None, false),
        Ok(Restored::Totals(
            PartitionTotals::fresh(1, 7, Groups::new()).with(number(3))
        ))
    );
}

#[test]
fn the_newest_totals_are_continued_at_their_offset() {
    let overall = Total {
        scope: Scope::Overall {
            offsets: Offsets::new(),
        },
        ..written(0, None, 99)
    };
    let found = found([written(10, None, 5), written(12, None, 6), overall]);
    let restored = found.check(&assigned(Some(12)), &sum(None), None, false);
    let mut restored = totals(restored.unwrap());
    assert_eq!((restored.next_offset(), restored.is_changed()), (12, false));
    restored
        .apply(
            12,
            Outcome::Summed {
                group: None,
                value: Some(4),
            },
        )
        .unwrap();
    assert_eq!(restored.changes().next().unwrap().accumulator.sum, 10);
}

#[test]
fn groups_are_restored_with_their_partition() {
    let of = |sum| {
        [
            written(9, Some("a"), 2),
            written(10, Some("b"), 3),
            written(10, None, sum),
        ]
    };
    let two = |mut total: Total| {
        total.accumulator.count = if total.group.is_none() { 2 } else { 1 };
        total
    };
    let restore =
        |all, has_groups| found(of(all).map(two)).check(&assigned(Some(10)), &sum(None), None, has_groups);
    assert!(restore(5, true).is_ok());
    assert_eq!(restore(6, true), Err(Mismatch::Groups { partition: 1 }));
    assert_eq!(
        restore(5, false),
        Err(Mismatch::Groups { partition: 1 }),
        "nothing is grouped any more"
    );
    let ungrouped = found([written(10, None, 5)]);
    assert_eq!(
        ungrouped.check(&assigned(Some(10)), &sum(None), None, true),
        Err(Mismatch::Groups { partition: 1 })
    );
}

#[test]
fn totals_and_offset_that_disagree_stop_the_partition() {
    let known = found([written(10, None, 5)]);
    for (found, committed, expected) in [
        (
            &Found::default(),
            Some(10),
            Mismatch::NoTotals {
                partition: 1,
                committed: 10,
            },
        ),
        (
            &known,
            Some(0),
            Mismatch::Differ {
                partition: 1,
                committed: 0,
                next_offset: 10,
            },
        ),
        (
            &known,
            Some(11),
            Mismatch::Differ {
                partition: 1,
                committed: 11,
                next_offset: 10,
            },
        ),
    ] {
        assert_eq!(
            found.clone().check(&assigned(committed), &sum(None), None, false),
            Err(expected)
        );
    }
}

#[test]
fn totals_that_have_outlived_the_offset_are_continued_if_the_log_is_the_same() {
    let known = found([written(10, None, 5)]);
    let expired = assigned(None);
    assert_eq!(known.outlived(&expired), Some(1_000));
    assert_eq!(known.outlived(&assigned(Some(10))), None);
    assert_eq!(Found::default().outlived(&expired), None);
    let check = |end, younger, start| {
        let expired = Assigned {
            position: start,
            start,
            ..expired.clone()
        };
        known
            .clone()
            .check(&expired, &sum(None), Some(Log { end, younger }), false)
    };
    for (name, end, younger, start) in [
        ("nothing has come since", 10, None, 0),
        ("something has come since", 15, Some(12), 0),
        ("retention has passed by", 15, Some(12), 10),
    ] {
        let continued = totals(check(end, younger, start).unwrap());
        assert_eq!(
            (
                continued.next_offset(),
                continued.is_changed(),
                continued.changes().count()
            ),
            (10, true, 0),
            "{name}"
        );
    }
    let other = Mismatch::OtherLog {
        partition: 1,
        next_offset: 10,
    };
    for (name, end, younger) in [
        ("it ends before", 9, None),
        ("it holds something younger before", 15, Some(9)),
    ] {
        assert_eq!(check(end, younger, 0), Err(other.clone()), "{name}");
    }
    let deleted = Mismatch::Deleted {
        partition: 1,
        committed: 10,
        start: 11,
    };
    assert_eq!(check(15, Some(11), 11), Err(deleted));
}

#[test]
fn records_that_were_deleted_unread_stop_the_partition() {
    let gone = Assigned {
        position: 15,
        start: 15,
        deleted: 5,
        ..assigned(Some(0))
    };
    let expected = Mismatch::Deleted {
        partition: 1,
        committed: 10,
        start: 15,
    };
    assert_eq!(
        found([written(10, None, 5)]).check(&gone, &sum(None), None, false),
        Err(expected)
    );
}

#[test]
fn totals_that_may_still_become_visible_are_worth_waiting_for() {
    let known = found([written(10, None, 5)]);
    assert!(known.is_behind(&assigned(Some(11))));
    assert!(Found::default().is_behind(&assigned(Some(11))));
    assert!(!known.is_behind(&assigned(Some(10))));
    assert!(!known.is_behind(&assigned(Some(9))));
    assert!(!Found::default().is_behind(&assigned(None)));
}

#[test]
fn the_totals_of_another_sum_are_not_taken_over_whether_there_is_an_offset_or_not() {
    for (other, differences) in [
        (
            identity("theirs", "price <= 5"),
            r#"consumer group "theirs", expected "ours""#,
        ),
        (
            identity("ours", "price <= 6"),
            r#"filter "price <= 6", expected "price <= 5""#,
        ),
    ] {
        let mut found = Found::default();
        found.observe(written(10, None, 5), 1_000, Some(other), Delivery::ExactlyOnce);
        let log = Some(Log {
            end: 10,
            younger: None,
        });
        for committed in [None, Some(10)] {
            let mismatch = found
                .clone()
                .check(&assigned(committed), &sum(None), log, false)
                .unwrap_err();
            assert!(
                matches!(&mismatch, Mismatch::OtherSum { partition: 1, differences: found, .. } if found == differences),
                "{mismatch}"
            );
        }
    }
}

#[test]
fn totals_that_do_not_say_what_sum_they_are_of_are_continued_at_the_offset_only_and_say_it_then() {
    let mut found = Found::default();
    found.observe(written(10, None, 5), 1_000, None, Delivery::ExactlyOnce);
    let log = Some(Log {
        end: 10,
        younger: None,
    });
    assert_eq!(
        found.clone().check(&assigned(None), &sum(None), log, false),
        Err(Mismatch::UnknownSum {
            partition: 1,
            next_offset: 10
        })
    );
    let continued = found.clone().check(&assigned(Some(10)), &sum(None), None, false);
    let continued = totals(continued.unwrap());
    assert_eq!(
        continued
            .changes()
            .map(|total| total.accumulator.sum)
            .collect::<Vec<_>>(),
        [5]
    );
    for reset in [Reset::FromEarliest, Reset::Continue] {
        assert_eq!(
            found
                .clone()
                .check(&assigned(Some(10)), &sum(Some(reset)), None, false),
            Err(Mismatch::UnknownRules { partition: 1 }),
            "the rules may have changed"
        );
    }
    found.observe(
        written(10, None, 5),
        1_000,
        Some(ours().with(number(3))),
        Delivery::ExactlyOnce,
    );
    let named = found.check(&assigned(Some(10)), &sum(None), None, false);
    assert!(!totals(named.unwrap()).is_changed());
}

#[test]
fn totals_by_the_same_rules_bear_the_largest_number_that_they_ever_had() {
    for (found, expected, is_changed) in [(0, 3, true), (2, 3, true), (3, 3, false), (7, 7, false)] {
        let mut known = Found::default();
        known.observe(
            written(10, None, 5),
            1_000,
            Some(ours().with(number(found))),
            Delivery::ExactlyOnce,
        );
        let continued = known.check(&assigned(Some(10)), &sum(None), None, false);
        let continued = totals(continued.unwrap());
        assert_eq!(
            (continued.origin().computation, continued.is_changed()),
            (expected, is_changed)
        );
    }
}

#[test]
fn totals_of_an_earlier_computation_are_replaced_continued_or_refused_as_the_resource_says() {
    let known = || earlier([written(9, Some("a"), 5), written(10, None, 5)]);
    let check = |committed, reset, has_groups| {
        let log = Log {
            end: 10,
            younger: None,
        };
        known().check(&assigned(committed), &sum(reset), Some(log), has_groups)
    };
    for committed in [Some(10), None] {
        assert_eq!(
            check(committed, Some(Reset::FromEarliest), false),
            Ok(Restored::Anew(Superseded {
                next_offset: 10,
                groups: ["a".to_owned()].into(),
            }))
        );
        let continued = totals(check(committed, Some(Reset::Continue), true).unwrap());
        assert_eq!((continued.next_offset(), continued.origin().computation), (10, 3));
        assert!(continued.origin().mixed);
        // It is named at once, so that no worker from before takes it back.
        assert_eq!(
            continued.changes().map(|total| total.id()).collect::<Vec<_>>(),
            ["partition-1"]
        );
        let refused = check(committed, None, true).unwrap_err().to_string();
        assert!(
            refused
                .contains("are of another sum: filter \"price <= 4\", expected \"price <= 5\"; set reset to"),
            "{refused}"
        );
    }
}

#[test]
fn totals_that_are_to_be_replaced_must_agree_with_the_offset_but_not_reach_the_log() {
    let anew = |assigned: &Assigned| {
        let known = earlier([written(10, None, 5)]);
        known.check(assigned, &sum(Some(Reset::FromEarliest)), None, false)
    };
    let mismatch = Mismatch::Differ {
        partition: 1,
        committed: 9,
        next_offset: 10,
    };
    assert_eq!(anew(&assigned(Some(9))), Err(mismatch));
    let gone = Assigned {
        position: 15,
        start: 15,
        deleted: 5,
        ..assigned(Some(0))
    };
    assert!(anew(&gone).is_ok(), "what is there is summed");
}

#[test]
fn a_group_that_is_gone_is_not_restored() {
    let mut known = found([
        written(9, Some("a"), 5),
        written(10, Some("b"), 5),
        written(10, None, 5),
    ]);
    known.removed("a");
    let restored = known.check(&assigned(Some(10)), &sum(None), None, true);
    assert!(restored.is_ok(), "{restored:?}");
}
