//! Windows that are there, those that are gone, and the total of their partition.

use naru_contract::Window;

use super::*;

fn windowed(retention_ms: u64, computation: i64, reset: Option<Reset>) -> Computation {
    let window = Window {
        size_ms: 10_000,
        time: None,
        grace_ms: 0,
        retention_ms,
    };
    let window = serde_json::to_string(&window).unwrap();
    let header = format!(
        r#"{{"group": "ours", "inputTopic": "items", "filter": null, "field": "price", "groupBy": [], "window": {window}}}"#
    );
    let identity = serde_json::from_str::<Identity>(&header).unwrap();
    Computation {
        identity: identity.with(number(computation)),
        reset,
    }
}

fn part(start: i64, sum: i128) -> Total {
    Total {
        windowed: Windowed::In {
            start,
            end: start + 10_000,
        },
        ..written(10, Some(&window::name_of(start, None)), sum)
    }
}

/// Of two windows that are there and one that is gone.
fn whole(count: i64, sum: i128, expired_sum: i128) -> Total {
    let mut all = Total {
        windowed: Windowed::All(Progress {
            watermark: Some(25_000),
            expired: Some(Accumulator::summed(Some(expired_sum))),
        }),
        ..written(10, None, sum)
    };
    all.accumulator.count = count;
    all
}

fn check(totals: impl IntoIterator<Item = Total>, ours: &Computation) -> Result<Restored, Mismatch> {
    let wrote = windowed(15_000, 3, None).identity;
    let found = totals.into_iter().fold(Found::default(), |mut found, total| {
        found.observe(total, 1_000, Some(wrote.clone()), Delivery::ExactlyOnce);
        found
    });
    found.check(&assigned(Some(10)), ours, None, false)
}

fn of(start: i64, time: i64) -> Outcome<'static> {
    Outcome::Windowed {
        name: Box::leak(window::name_of(start, None).into_boxed_str()),
        start,
        time,
        value: Some(1),
    }
}

#[test]
fn windows_and_what_is_gone_of_them_are_the_total_of_their_partition() {
    let ours = windowed(15_000, 3, None);
    let all = |whole| [part(10_000, 2), part(20_000, 3), whole];
    let mut restored = totals(check(all(whole(3, 9, 4)), &ours).unwrap());
    // The first is closed, and the next record ends it.
    restored.apply(10, of(10_000, 10_000)).unwrap();
    assert_eq!((restored.late(), restored.retired().count()), (1, 0));
    restored.apply(11, of(30_000, 35_000)).unwrap();
    assert_eq!(restored.retired().collect::<Vec<_>>(), ["1970-01-01T00:00:10Z"]);
    let last = restored.changes().last().unwrap();
    let progress = Progress {
        watermark: Some(35_000),
        expired: Some(Accumulator {
            count: 2,
            sum: 6,
            ..Accumulator::default()
        }),
    };
    assert_eq!(last.windowed, Windowed::All(progress));

    for wrong in [whole(3, 9, 5), whole(3, 8, 4), whole(4, 9, 4), whole(2, 5, 0)] {
        assert_eq!(check(all(wrong), &ours), Err(Mismatch::Groups { partition: 1 }));
    }
}

#[test]
fn windows_that_are_over_and_still_there_have_expired_and_go() {
    let ours = windowed(15_000, 3, None);
    // Of -10 s to 0 s, which was over at 15 s.
    let all = |whole| [part(-10_000, 4), part(10_000, 2), part(20_000, 3), whole];
    let mut restored = totals(check(all(whole(3, 9, 4)), &ours).unwrap());
    assert!(restored.is_changed());
    assert_eq!(restored.retired().collect::<Vec<_>>(), ["1969-12-31T23:59:50Z"]);
    let written = restored.changes().map(|total| total.id()).collect::<Vec<_>>();
    assert_eq!(written, ["partition-1"]);
    restored.committed();
    assert_eq!((restored.retired().count(), restored.is_changed()), (0, false));
    // What expired says is not made up for.
    let wrong = all(whole(3, 9, 0));
    assert_eq!(check(wrong, &ours), Err(Mismatch::Groups { partition: 1 }));
    // All of it is replaced by a sum that is summed anew.
    let Ok(Restored::Anew(superseded)) = check(
        all(whole(3, 9, 4)),
        &windowed(20_000, 4, Some(Reset::FromEarliest)),
    ) else {
        panic!("the totals are superseded")
    };
    assert_eq!(superseded.groups.len(), 3);
}

#[test]
fn what_is_named_as_no_window_is_no_total_of_a_sum_with_windows() {
    let ours = windowed(15_000, 3, None);
    let totals = [part(10_000, 2), written(10, Some("Seoul"), 3), whole(3, 9, 4)];
    assert_eq!(check(totals, &ours), Err(Mismatch::Groups { partition: 1 }));
}

#[test]
fn other_windows_are_another_sum_and_only_summed_anew() {
    let all = || [part(10_000, 2), part(20_000, 3), whole(3, 9, 4)];
    let other = |reset| check(all(), &windowed(20_000, 4, reset));
    for (reset, says) in [
        (
            None,
            "with a grace of 0 ms and a retention of 15000 ms, expected 10000 ms long by the time of Kafka",
        ),
        (Some(Reset::Continue), "by other groups or windows"),
    ] {
        let Err(mismatch) = other(reset) else {
            panic!("{reset:?}")
        };
        assert!(mismatch.to_string().contains(says), "{mismatch}");
    }
    let Ok(Restored::Anew(superseded)) = other(Some(Reset::FromEarliest)) else {
        panic!("the totals are superseded")
    };
    let names = [10_000, 20_000].map(|start| window::name_of(start, None));
    assert_eq!(superseded.groups, names.into());
}
