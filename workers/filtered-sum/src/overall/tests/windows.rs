//! Windows of all partitions, and that only what was touched is added up again.

use naru_contract::Window;
use proptest::prelude::*;

use super::*;

/// Of 10 s, with a grace of 5 s and a retention of 20 s.
fn windows() -> Tumbling {
    Tumbling::of(&Window {
        size_ms: 10_000,
        time: None,
        grace_ms: 5_000,
        retention_ms: 20_000,
    })
}

fn part(partition: i32, next_offset: i64, start: i64, sum: i128) -> Total {
    let group = window::name_of(start * 1000, Some("a"));
    Total {
        windowed: windows().window(start * 1000),
        ..subtotal(partition, next_offset, Some(&group), sum)
    }
}

/// The total of a partition whose time has come to that second.
fn whole(partition: i32, next_offset: i64, watermark: i64, sum: i128) -> Total {
    Total {
        windowed: Windowed::All(Progress {
            watermark: Some(watermark * 1000),
            expired: Some(Accumulator::default()),
        }),
        ..subtotal(partition, next_offset, None, sum)
    }
}

fn take(overall: &mut Overall, totals: impl IntoIterator<Item = Total>) {
    totals.into_iter().for_each(|total| overall.observe(total, true));
}

/// As a worker commits: what is left to be read again is the same.
fn commit(overall: &mut Overall) -> Changes {
    let changes = overall.changes().unwrap();
    write(overall);
    if !changes.totals.is_empty() {
        overall.committed();
    }
    changes
}

fn ids(changes: &Changes) -> Vec<String> {
    changes.totals.iter().map(Total::id).collect()
}

#[test]
fn windows_are_added_over_the_partitions_and_the_total_of_all_says_how_far_the_time_is() {
    let mut overall = Overall::of(Some(windows()));
    take(
        &mut overall,
        [part(0, 3, 0, 1), part(0, 3, 10, 2), whole(0, 3, 12, 3)],
    );
    take(&mut overall, [part(1, 5, 10, 20), whole(1, 5, 19, 20)]);
    let changes = commit(&mut overall);
    let expected = [
        "total/1970-01-01T00:00:00Z/a",
        "total/1970-01-01T00:00:10Z/a",
        "total",
    ];
    assert_eq!(ids(&changes), expected);
    let sums = changes.totals.iter().map(|total| total.accumulator.sum);
    assert_eq!(sums.collect::<Vec<_>>(), [1, 22, 23]);
    let (start, end) = (10_000, 20_000);
    assert_eq!(changes.totals[1].windowed, Windowed::In { start, end });
    let progress = Progress {
        watermark: Some(19_000),
        expired: None,
    };
    assert_eq!(changes.totals[2].windowed, Windowed::All(progress));
}

#[test]
fn a_window_goes_with_the_first_partition_that_is_past_its_retention_and_stays_away() {
    let mut overall = Overall::of(Some(windows()));
    take(&mut overall, [part(0, 3, 0, 1), whole(0, 3, 9, 1)]);
    take(
        &mut overall,
        [part(1, 5, 0, 20), part(1, 5, 10, 30), whole(1, 5, 12, 50)],
    );
    commit(&mut overall);
    take(&mut overall, [whole(1, 6, 34, 51)]);
    assert_eq!(commit(&mut overall).removed, [""; 0], "35 s are not over");

    // The other one of 0 s to 10 s has a total as ever. It is no total of both any more.
    let removed = Removed {
        partition: Some(1),
        group: window::name_of(0, Some("a")),
    };
    overall.remove(removed);
    take(&mut overall, [whole(1, 7, 35, 52)]);
    let changes = commit(&mut overall);
    assert_eq!(changes.removed, [window::name_of(0, Some("a"))]);
    assert_eq!(ids(&changes), ["total"]);
    take(&mut overall, [part(0, 4, 0, 2), whole(0, 4, 9, 2)]);
    assert_eq!(ids(&commit(&mut overall)), ["total"]);

    // The same when nobody tells of it: no partition but one that is behind has had the second window.
    take(&mut overall, [whole(0, 5, 45, 3)]);
    let changes = commit(&mut overall);
    assert_eq!(changes.removed, [window::name_of(10_000, Some("a"))]);
    assert_eq!(overall.written.len(), 1, "only the total of all");
}

#[test]
fn windows_that_are_over_at_once_go_a_few_with_each_commit() {
    let mut overall = Overall::of(Some(windows()));
    for start in 0..7 {
        take(&mut overall, [part(0, 3, 10 * start, 1)]);
    }
    take(&mut overall, [whole(0, 3, 19, 7)]);
    commit(&mut overall);
    take(&mut overall, [part(0, 4, 1_000, 1), whole(0, 4, 1_000, 8)]);
    let name = |start: i64| window::name_of(start * 1000, Some("a"));
    for (removed, written) in [
        ([0, 10, 20].map(name).to_vec(), vec![name(1_000)]),
        ([30, 40, 50].map(name).to_vec(), vec![]),
        (vec![name(60)], vec![]),
    ] {
        let changes = commit(&mut overall);
        assert_eq!(changes.removed, removed);
        let written = written.iter().map(|name| format!("total/{name}"));
        let written = written.chain(["total".to_owned()]).collect::<Vec<_>>();
        assert_eq!(ids(&changes), written);
    }
    assert_eq!(commit(&mut overall), Changes::default());
    assert_eq!(overall.written.len(), 2);
}

#[test]
fn nothing_of_windows_that_are_over_gathers_while_nothing_is_committed() {
    let mut overall = Overall::of(Some(windows()));
    // Its worker does not get on with the new rules.
    earlier(&mut overall, whole(1, 3, 0, 1));
    for round in 0..1_000 {
        let removed = Removed {
            partition: Some(0),
            group: window::name_of((round - 4) * 10_000, Some("a")),
        };
        overall.remove(removed);
        let (next, start) = (round + 1, 10 * round);
        take(
            &mut overall,
            [part(0, next, start, 1), whole(0, next, start + 5, next.into())],
        );
        assert_eq!(commit(&mut overall), Changes::default());
        assert!(overall.touched.len() <= 5, "{:?}", overall.touched);
    }
    take(&mut overall, [whole(1, 4, 0, 1)]);
    let changes = commit(&mut overall);
    // Three windows, and all.
    assert_eq!((changes.totals.len(), changes.removed.len()), (4, 0));
}

#[test]
fn the_time_of_a_partition_of_earlier_rules_ends_no_window_of_ours() {
    let mut overall = Overall::of(Some(windows()));
    earlier(&mut overall, whole(1, 3, 1_000, 1));
    take(&mut overall, [part(0, 3, 0, 1), whole(0, 3, 9, 1)]);
    take(&mut overall, [whole(1, 4, 0, 0)]);
    assert_eq!(
        ids(&commit(&mut overall)),
        ["total/1970-01-01T00:00:00Z/a", "total"]
    );
}

#[test]
fn nothing_of_windows_that_are_over_is_kept() {
    let mut overall = Overall::of(Some(windows()));
    for round in 0..1_000 {
        for partition in [0, 1] {
            if round >= 4 {
                overall.remove(Removed {
                    partition: Some(partition),
                    group: window::name_of((round - 4) * 10_000, Some("a")),
                });
            }
            let (next, start) = (round + 1, 10 * round);
            take(
                &mut overall,
                [
                    part(partition, next, start, 1),
                    whole(partition, next, start + 5, next.into()),
                ],
            );
        }
        commit(&mut overall);
        assert!(overall.touched.is_empty());
        assert!(overall.written.len() <= 6, "{:?}", overall.written);
        let kept = overall.partitions.values().map(|subtotal| subtotal.totals.len());
        assert!(kept.max() <= Some(6));
    }
}

proptest! {
    /// What is added up again is all that differs from what was written.
    #[test]
    fn what_was_not_touched_is_as_it_was_written(
        steps in prop::collection::vec((0..2_i32, 0..3_usize, 0..5_i128, prop::bool::weighted(0.2), any::<bool>()), 1..60),
    ) {
        let mut overall = Overall::default();
        let mut sums = BTreeMap::<(i32, usize), i128>::new();
        let mut late = Vec::new();
        for (offset, (partition, group, sum, goes, commits)) in (1_i64..).zip(steps) {
            let name = ["a", "b", "c"][group];
            if goes {
                overall.remove(Removed { partition: Some(partition), group: name.to_owned() });
                sums.remove(&(partition, group));
            } else {
                overall.observe(subtotal(partition, offset, Some(name), sum), true);
                sums.insert((partition, group), sum);
            }
            let all = sums.iter().filter(|((of, _), _)| *of == partition).map(|(_, sum)| sum).sum();
            overall.observe(subtotal(partition, offset, None, all), true);
            if commits {
                let changes = commit(&mut overall);
                // They come back from the topic, together with the next ones.
                std::mem::replace(&mut late, changes.totals).into_iter().for_each(|total| overall.observe(total, true));
                for (group, name) in ["a", "b", "c"].into_iter().enumerate() {
                    let parts = [0, 1].map(|partition| sums.get(&(partition, group)));
                    let expected = parts.iter().any(Option::is_some).then(|| parts.into_iter().flatten().sum::<i128>());
                    let written = overall.written.get(&Some(name.to_owned()));
                    prop_assert_eq!(written.map(|written| written.map(|written| written.sum)), expected.map(Some), "{}", name);
                }
            }
        }
    }
}
