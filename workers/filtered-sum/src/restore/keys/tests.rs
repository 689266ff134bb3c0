use naru_contract::Delivery;

use super::*;
use crate::keys::record::Mark;
use crate::total::{Scope, Total};
use crate::window::Windowed;

fn identity(filter: &str, computation: i64) -> Identity {
    let header = format!(
        r#"{{"group": "ours", "inputTopic": "items", "filter": "{filter}", "field": "price", "retract": true, "groupBy": [],
            "computation": {computation}}}"#
    );
    serde_json::from_str(&header).unwrap()
}

fn ours(reset: Option<Reset>) -> Computation {
    Computation {
        identity: identity("price <= 5", 3),
        reset,
    }
}

fn assigned(committed: i64) -> Assigned {
    Assigned {
        partition: 1,
        position: committed,
        start: 0,
        deleted: 0,
        metadata: Some(String::new()),
    }
}

/// Totals up to offset 10: 5 records added 9, of which one was taken back, in these groups.
fn totals(identity: &Identity, groups: &[(&str, i64, i128)]) -> Found {
    let total = |group: Option<&str>, stands: i64, sum: i128| Total {
        scope: Scope::Partition {
            partition: 1,
            next_offset: 10,
        },
        windowed: Windowed::No,
        group: group.map(str::to_owned),
        accumulator: Accumulator {
            count: stands + 1,
            retracted: 1,
            sum,
            ..Accumulator::default()
        },
    };
    let mut found = Found::default();
    let mut observe = |total| found.observe(total, 1_000, Some(identity.clone()), Delivery::ExactlyOnce);
    for (group, stands, sum) in groups {
        observe(total(Some(group), *stands, *sum));
    }
    let mut all = total(None, 4, 9);
    if !groups.is_empty() {
        all.accumulator.count = groups.iter().map(|(_, stands, _)| stands + 1).sum();
        all.accumulator.retracted = i64::try_from(groups.len()).unwrap();
    }
    observe(all);
    found
}

fn keys(added: &[(&str, Option<&str>, i128)], mark: Option<(i64, bool)>) -> FoundKeys {
    let mut keys = Keys::default();
    for (key, group, value) in added {
        keys.observe(key.as_bytes(), Some((*group, *value)));
    }
    let mark = mark.map(|(next_offset, is_missing)| Mark {
        next_offset,
        is_missing,
        start: Some(3).filter(|_| is_missing),
    });
    FoundKeys { keys, mark }
}

const FOUR: [(&str, Option<&str>, i128); 4] =
    [("a", None, 2), ("b", None, 3), ("c", None, 4), ("d", None, 0)];

fn resume(found: Found, reset: Option<Reset>, keys: FoundKeys) -> Result<Resumed, String> {
    let resumed = found.resume(&assigned(10), &ours(reset), None, false, Some(keys));
    resumed.map_err(|mismatch| mismatch.to_string())
}

#[test]
fn totals_are_gone_on_with_by_the_keys_that_they_are_of() {
    let found = totals(&identity("price <= 5", 3), &[]);
    assert_eq!(found.expects_keys(), Some(10));
    let Ok(Resumed::Totals(resumed)) = resume(found, None, keys(&FOUR, Some((10, false)))) else {
        panic!("they add up")
    };
    assert_eq!(resumed.keys().map(Keys::len), Some(4));
    assert!(!resumed.is_changed());
    // Also by other rules.
    let found = totals(&identity("price <= 4", 2), &[]);
    let resumed = resume(found, Some(Reset::Continue), keys(&FOUR, Some((10, false))));
    assert!(
        matches!(resumed, Ok(Resumed::Totals(totals)) if totals.origin().mixed && totals.keys().is_some())
    );
}

#[test]
fn keys_that_are_of_other_totals_stop_the_partition() {
    for (found, expected) in [
        (
            keys(&[], None),
            "says what each key adds of no record: was it deleted",
        ),
        (
            keys(&FOUR, Some((9, false))),
            "says what each key adds up to offset 9:",
        ),
        (
            keys(&FOUR, Some((11, false))),
            "says what each key adds up to offset 11:",
        ),
        (
            keys(&FOUR[..3], Some((10, false))),
            "does not add up to the totals",
        ),
        (
            keys(&[FOUR[0], FOUR[1], FOUR[2], ("d", None, 1)], Some((10, false))),
            "does not add up to the totals",
        ),
    ] {
        let message = resume(totals(&identity("price <= 5", 3), &[]), None, found).unwrap_err();
        assert!(message.contains(expected), "{message}");
        assert!(
            message.contains("partition 1") && message.contains("reset: fromEarliest"),
            "{message}"
        );
    }
}

#[test]
fn each_group_is_what_its_keys_add() {
    let found = || {
        totals(
            &identity("price <= 5", 3),
            &[("x", 2, 7), ("y", 1, 2), ("gone", 0, 0)],
        )
    };
    let resume = |keys| {
        let found = found().resume(&assigned(10), &ours(None), None, true, Some(keys));
        found.map_err(|mismatch| mismatch.to_string())
    };
    let right = [("a", Some("x"), 3), ("b", Some("x"), 4), ("c", Some("y"), 2)];
    assert!(matches!(
        resume(keys(&right, Some((10, false)))),
        Ok(Resumed::Totals(_))
    ));
    let swapped = [("a", Some("x"), 3), ("b", Some("y"), 4), ("c", Some("x"), 2)];
    let message = resume(keys(&swapped, Some((10, false)))).unwrap_err();
    assert!(message.contains("does not add up"), "{message}");
}

#[test]
fn totals_without_all_of_their_keys_are_summed_anew_and_not_gone_on_with_by_other_rules() {
    let later = identity("price <= 5", 7);
    let Ok(Resumed::Anew {
        superseded,
        keys: found,
        origin,
    }) = resume(totals(&later, &[]), None, keys(&FOUR[..1], Some((10, true))))
    else {
        panic!("some keys are missing")
    };
    assert_eq!(
        (superseded.next_offset, found.map(|keys| keys.len())),
        (10, Some(1))
    );
    assert_eq!(origin.computation, 7, "the number does not go back");

    let earlier = totals(&identity("price <= 4", 2), &[]);
    let message = resume(earlier, Some(Reset::Continue), keys(&FOUR[..1], Some((10, true)))).unwrap_err();
    assert!(message.contains("set reset to fromEarliest"), "{message}");
}

#[test]
fn totals_without_all_of_their_keys_are_not_summed_anew_without_records_that_are_gone_unless_that_is_asked_for()
 {
    let resume = |computation, reset, start| {
        let assigned = Assigned {
            start,
            ..assigned(10)
        };
        let found = totals(&identity("price <= 5", computation), &[]);
        let keys = keys(&FOUR[..1], Some((10, true)));
        let resumed = found.resume(&assigned, &ours(reset), None, false, Some(keys));
        resumed.map_err(|mismatch| mismatch.to_string())
    };
    assert!(matches!(resume(3, None, 3), Ok(Resumed::Anew { .. })));
    let message = resume(3, None, 4).unwrap_err();
    assert!(message.contains("from offset 3 to 4"), "{message}");
    assert!(
        message.contains("fromEarliest to sum the input anew without them"),
        "{message}"
    );
    let found = totals(&identity("price <= 4", 2), &[]);
    let gone = Assigned {
        start: 4,
        ..assigned(10)
    };
    let keys = keys(&FOUR[..1], Some((10, true)));
    let resumed = found.resume(&gone, &ours(Some(Reset::FromEarliest)), None, false, Some(keys));
    assert!(matches!(resumed, Ok(Resumed::Anew { .. })), "{resumed:?}");
}

#[test]
fn keys_of_earlier_totals_go_with_those_whatever_they_are() {
    let earlier = identity("price <= 4", 2);
    for mark in [None, Some((3, false)), Some((10, true))] {
        let resumed = resume(
            totals(&earlier, &[]),
            Some(Reset::FromEarliest),
            keys(&FOUR, mark),
        );
        let Ok(Resumed::Anew { keys: found, .. }) = resumed else {
            panic!("{resumed:?}")
        };
        assert_eq!(found.map(|keys| keys.len()), Some(4));
    }
    // Of totals that were deleted.
    let new = Assigned {
        metadata: None,
        ..assigned(7)
    };
    let found = keys(&FOUR, Some((10, false)));
    let resumed = Found::default().resume(&new, &ours(None), None, false, Some(found));
    let Ok(Resumed::Totals(mut totals)) = resumed else {
        panic!("{resumed:?}")
    };
    let keys = totals.keys_mut().unwrap();
    keys.choose(100);
    assert!(keys.chosen().all(|(_, added)| added.is_none()) && keys.chosen().len() == 4);
}

#[test]
fn totals_of_records_that_each_count_have_no_keys_to_wait_for() {
    let mut header = serde_json::to_value(identity("price <= 5", 3)).unwrap();
    header["retract"] = false.into();
    let each: Identity = serde_json::from_value(header).unwrap();
    assert_eq!(totals(&each, &[]).expects_keys(), None);
    assert_eq!(Found::default().expects_keys(), None);
    // They are not what a sum that takes records back could go on with.
    let message = resume(totals(&each, &[]), Some(Reset::Continue), keys(&[], None)).unwrap_err();
    assert!(message.contains("retract false, expected true"), "{message}");
}
