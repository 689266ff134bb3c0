use super::*;
use crate::partition::Outcome;
use crate::total::Offsets;

fn assigned(committed: Option<i64>) -> Assigned {
    Assigned {
        partition: 1,
        position: committed.unwrap_or(7),
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

fn found(totals: impl IntoIterator<Item = Total>) -> Found {
    totals.into_iter().fold(Found::default(), |mut found, total| {
        found.observe(total, 1_000, Some(ours()));
        found
    })
}

#[test]
fn what_nobody_has_read_begins_at_the_start_of_the_log_with_zero() {
    assert_eq!(
        Found::default().check(&assigned(None), &ours(), None, false),
        Ok(PartitionTotals::fresh(1, 7))
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
    let mut restored = found.check(&assigned(Some(12)), &ours(), None, false).unwrap();
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
    let totals = |sum| {
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
        |sum, has_groups| found(totals(sum).map(two)).check(&assigned(Some(10)), &ours(), None, has_groups);
    assert!(restore(5, true).is_ok());
    assert_eq!(restore(6, true), Err(Mismatch::Groups { partition: 1 }));
    assert_eq!(
        restore(5, false),
        Err(Mismatch::Groups { partition: 1 }),
        "nothing is grouped any more"
    );
    let ungrouped = found([written(10, None, 5)]);
    assert_eq!(
        ungrouped.check(&assigned(Some(10)), &ours(), None, true),
        Err(Mismatch::Groups { partition: 1 })
    );
}

#[test]
fn totals_and_offset_that_disagree_stop_the_partition() {
    let totals = found([written(10, None, 5)]);
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
            &totals,
            Some(0),
            Mismatch::Differ {
                partition: 1,
                committed: 0,
                next_offset: 10,
            },
        ),
        (
            &totals,
            Some(11),
            Mismatch::Differ {
                partition: 1,
                committed: 11,
                next_offset: 10,
            },
        ),
    ] {
        assert_eq!(
            found.clone().check(&assigned(committed), &ours(), None, false),
            Err(expected)
        );
    }
}

#[test]
fn totals_that_have_outlived_the_offset_are_continued_if_the_log_is_the_same() {
    let totals = found([written(10, None, 5)]);
    let expired = assigned(None);
    assert_eq!(totals.outlived(&expired), Some(1_000));
    assert_eq!(totals.outlived(&assigned(Some(10))), None);
    assert_eq!(Found::default().outlived(&expired), None);
    let check = |end, younger, start| {
        let expired = Assigned {
            position: start,
            ..expired.clone()
        };
        totals
            .clone()
            .check(&expired, &ours(), Some(Log { end, younger }), false)
    };
    for (name, end, younger, start) in [
        ("nothing has come since", 10, None, 0),
        ("something has come since", 15, Some(12), 0),
        ("retention has passed by", 15, Some(12), 10),
    ] {
        let continued = check(end, younger, start).unwrap();
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
        deleted: 5,
        ..assigned(Some(0))
    };
    let expected = Mismatch::Deleted {
        partition: 1,
        committed: 10,
        start: 15,
    };
    assert_eq!(
        found([written(10, None, 5)]).check(&gone, &ours(), None, false),
        Err(expected)
    );
}

#[test]
fn totals_that_may_still_become_visible_are_worth_waiting_for() {
    let totals = found([written(10, None, 5)]);
    assert!(totals.is_behind(&assigned(Some(11))));
    assert!(Found::default().is_behind(&assigned(Some(11))));
    assert!(!totals.is_behind(&assigned(Some(10))));
    assert!(!totals.is_behind(&assigned(Some(9))));
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
        found.observe(written(10, None, 5), 1_000, Some(other));
        let log = Some(Log {
            end: 10,
            younger: None,
        });
        for committed in [None, Some(10)] {
            let mismatch = found
                .clone()
                .check(&assigned(committed), &ours(), log, false)
                .unwrap_err();
            let differences = differences.to_owned();
            assert_eq!(
                mismatch,
                Mismatch::OtherSum {
                    partition: 1,
                    differences
                }
            );
        }
    }
}

#[test]
fn totals_that_do_not_say_what_sum_they_are_of_are_continued_at_the_offset_only_and_say_it_then() {
    let mut found = Found::default();
    found.observe(written(10, None, 5), 1_000, None);
    let log = Some(Log {
        end: 10,
        younger: None,
    });
    assert_eq!(
        found.clone().check(&assigned(None), &ours(), log, false),
        Err(Mismatch::UnknownSum {
            partition: 1,
            next_offset: 10
        })
    );
    let continued = found
        .clone()
        .check(&assigned(Some(10)), &ours(), None, false)
        .unwrap();
    assert_eq!(
        continued
            .changes()
            .map(|total| total.accumulator.sum)
            .collect::<Vec<_>>(),
        [5]
    );
    found.observe(written(10, None, 5), 1_000, Some(ours()));
    let named = found.check(&assigned(Some(10)), &ours(), None, false).unwrap();
    assert!(!named.is_changed());
}
