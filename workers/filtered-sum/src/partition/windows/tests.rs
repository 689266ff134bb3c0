//! Against windows that are worked out from all records at once.

use std::collections::BTreeSet;

use naru_contract::Window;
use proptest::prelude::*;

use super::*;
use crate::accumulator::MAX_SUM;
use crate::partition::{Groups, Outcome};
use crate::total::{Scope, Total};

/// A record: its time, its group and what it adds; or nothing of them.
type Record = Option<(i64, Option<&'static str>, i64)>;

/// What the output topic holds of the partition.
#[derive(Clone, Debug, Default, PartialEq)]
struct Topic {
    all: Option<(i64, Accumulator, Progress)>,
    groups: Groups,
}

impl Topic {
    fn take(&mut self, totals: &mut PartitionTotals) {
        let gone = totals.retired().count();
        assert!(gone <= AT_A_TIME, "{gone} at once");
        assert!(
            gone == 0 || totals.changes().any(|total| total.group.is_none()),
            "whoever reads what has gone waits for the total behind it"
        );
        for name in totals.retired() {
            assert!(
                self.groups.remove(name).is_some(),
                "a tombstone of {name}, which was never written"
            );
        }
        for total in totals.changes() {
            let Total {
                scope: Scope::Partition { next_offset, .. },
                group,
                accumulator,
                windowed,
            } = total
            else {
                panic!("{total:?}")
            };
            match (group, windowed) {
                (Some(name), Windowed::In { start, .. }) => {
                    assert_eq!(window::parse(&name).unwrap().0, start);
                    self.groups.insert(name, (next_offset, accumulator));
                }
                (None, Windowed::All(progress)) => self.all = Some((next_offset, accumulator, progress)),
                other => panic!("{other:?}"),
            }
        }
        totals.committed();
    }

    fn restore(&self, rule: Tumbling) -> PartitionTotals {
        let totals = match self.all {
            None => PartitionTotals::fresh(0, 0, Groups::new()),
            Some((next_offset, all, _)) => {
                PartitionTotals::restored(0, next_offset, all, self.groups.clone())
            }
        };
        let progress = self.all.map(|(_, _, progress)| progress);
        totals.in_windows(Some(rule), progress.unwrap_or_default())
    }
}

fn rule(window: &Window) -> Tumbling {
    Tumbling::of(window)
}

fn window_of(size_ms: u64, grace_ms: u64, retention_ms: u64) -> Window {
    let time = None;
    Window {
        size_ms,
        time,
        grace_ms,
        retention_ms,
    }
}

fn add(totals: &mut PartitionTotals, rule: Tumbling, offset: usize, record: Record) {
    let offset = i64::try_from(offset).unwrap();
    let Some((time, group, value)) = record else {
        totals.apply(offset, Outcome::Dropped).unwrap();
        return;
    };
    let start = rule.start(time).unwrap();
    let name = window::name_of(start, group);
    let outcome = Outcome::Windowed {
        name: &name,
        start,
        time,
        value: Some(value.into()),
    };
    assert_eq!(totals.apply(offset, outcome), Ok(true));
}

/// What should be there after these records, from the definition alone.
fn expected(window: &Window, records: &[Record]) -> Topic {
    let length = |ms| i64::try_from(ms).unwrap();
    let (size, grace, retention) = (
        length(window.size_ms),
        length(window.grace_ms),
        length(window.retention_ms),
    );
    let (mut watermark, mut all) = (None, Accumulator::default());
    let mut held = BTreeMap::<(i64, Option<&str>), Accumulator>::new();
    for record in records {
        let one = match record {
            None => Accumulator::dropped(),
            Some((time, group, value)) => {
                let start = time - time.rem_euclid(size);
                match watermark.is_some_and(|watermark| watermark >= start + size + grace) {
                    true => Accumulator::late(),
                    false => {
                        watermark = watermark.max(Some(*time));
                        let one = Accumulator::summed(Some((*value).into()));
                        let held = held.entry((start, *group)).or_default();
                        *held = held.merge(one).unwrap();
                        one
                    }
                }
            }
        };
        all = all.merge(one).unwrap();
    }
    let mut topic = Topic::default();
    let mut expired = Accumulator::default();
    for ((start, group), figures) in held {
        match watermark.is_some_and(|watermark| watermark >= start + size + grace + retention) {
            true => expired = expired.merge(figures).unwrap(),
            false => {
                topic.groups.insert(window::name_of(start, group), (0, figures));
            }
        }
    }
    let (next_offset, expired) = (i64::try_from(records.len()).unwrap(), Some(expired));
    topic.all = Some((next_offset, all, Progress { watermark, expired }));
    topic
}

/// Without where each group was written, which nothing is said about, and without windows that are over: they may still have to go.
fn figures(topic: &Topic, window: &Window) -> Topic {
    let watermark = topic.all.and_then(|(_, _, progress)| progress.watermark);
    let kept = i64::try_from(window.size_ms + window.grace_ms + window.retention_ms).unwrap();
    let is_over = |name: &str| {
        let (start, _) = window::parse(name).unwrap();
        watermark.is_some_and(|watermark| watermark >= start + kept)
    };
    let groups = topic
        .groups
        .iter()
        .filter(|(name, _)| !is_over(name))
        .map(|(name, (_, figures))| (name.clone(), (0, *figures)));
    Topic {
        all: topic.all,
        groups: groups.collect(),
    }
}

/// Times that mostly go on, and now and then far back or ahead.
fn any_records() -> impl Strategy<Value = Vec<Record>> {
    let jitter = prop_oneof![8 => -9_000..9_000_i64, 1 => -90_000..90_000_i64];
    let record = (
        jitter,
        prop::option::of(prop_oneof![Just("a"), Just("b")]),
        -9..9_i64,
    );
    prop::collection::vec(prop::option::weighted(0.9, record), 0..80).prop_map(|records| {
        let records = (0..).zip(records);
        let time = |index: i64| index * 2_000 - 60_000;
        records
            .map(|(index, record)| record.map(|(jitter, group, value)| (time(index) + jitter, group, value)))
            .collect()
    })
}

fn any_window() -> impl Strategy<Value = Window> {
    let times = [0, 1, 4_000, 10_000, 33_000];
    let length = || prop::sample::select(times.to_vec());
    (
        prop::sample::select(vec![1_000, 7_000, 10_000]),
        length(),
        length(),
    )
        .prop_map(|(size, grace, retention)| window_of(size, grace, retention))
}

proptest! {
    /// Commits and crashes anywhere: what the topic holds is what follows from the records before its offset, and the windows
    /// and what is gone of them are the total of the partition.
    #[test]
    fn a_restart_anywhere_gives_the_same_windows(
        records in any_records(), window in any_window(), fates in prop::collection::vec(0..10, 80),
    ) {
        let rule = rule(&window);
        let (mut topic, mut at) = (Topic::default(), 0);
        let mut totals = topic.restore(rule);
        for fate in fates.into_iter().chain([9; 81]) {
            match fate {
                0 => {
                    totals = topic.restore(rule);
                    at = usize::try_from(totals.next_offset()).unwrap();
                }
                1..4 => {
                    topic.take(&mut totals);
                    prop_assert_eq!(figures(&topic, &window), expected(&window, &records[..at]));
                }
                _ if at < records.len() => {
                    add(&mut totals, rule, at, records[at]);
                    at += 1;
                }
                _ => {}
            }
        }
        topic.take(&mut totals);
        prop_assert_eq!(at, records.len());
        // A crash before what is over has gone, and then all goes.
        let mut totals = topic.restore(rule);
        while totals.is_changed() {
            topic.take(&mut totals);
        }
        prop_assert_eq!(&figures(&topic, &window), &expected(&window, &records));
        prop_assert_eq!(topic.groups.len(), expected(&window, &records).groups.len());

        let (_, all, progress) = topic.all.unwrap();
        let held = topic.groups.values().try_fold(progress.expired.unwrap(), |sum, (_, figures)| sum.merge(*figures)).unwrap();
        prop_assert_eq!((held.count, held.sum), (all.count, all.sum));
        prop_assert_eq!(all.count + all.dropped + all.late, i64::try_from(records.len()).unwrap());
    }
}

/// Count of the window, or of the partition, what is late, and what goes.
fn state(totals: &PartitionTotals) -> (i64, i64, Vec<&str>) {
    (totals.all.count, totals.late(), totals.retired().collect())
}

#[test]
fn a_window_takes_what_is_late_until_grace_is_over_and_goes_when_retention_is() {
    let rule = rule(&window_of(10_000, 5_000, 20_000));
    let mut totals = PartitionTotals::fresh(0, 0, Groups::new()).in_windows(Some(rule), Progress::default());
    let mut topic = Topic::default();
    for (offset, (time, expected)) in [
        (9_999, (1, 0)),
        (14_999, (2, 0)),
        // Grace has not passed.
        (0, (3, 0)),
        (15_000, (4, 0)),
        // Now it has.
        (9_999, (4, 1)),
        (34_999, (5, 1)),
    ]
    .into_iter()
    .enumerate()
    {
        add(&mut totals, rule, offset, Some((time, None, 1)));
        assert_eq!((totals.all.count, totals.late()), expected, "at {time}");
    }
    topic.take(&mut totals);
    assert_eq!(state(&totals), (5, 1, vec![]));
    add(&mut totals, rule, 6, Some((35_000, None, 1)));
    assert_eq!(state(&totals), (6, 1, vec!["1970-01-01T00:00:00Z"]));
    topic.take(&mut totals);
    assert_eq!(
        topic.groups.keys().collect::<Vec<_>>(),
        ["1970-01-01T00:00:10Z", "1970-01-01T00:00:30Z"]
    );
    assert_eq!(state(&totals), (6, 1, vec![]), "it goes once");
}

#[test]
fn windows_that_one_record_ends_go_a_few_with_each_commit_also_after_a_crash() {
    let rule = rule(&window_of(1_000, 0, 100_000));
    let mut topic = Topic::default();
    let mut totals = topic.restore(rule);
    for second in 0..8 {
        apply(&mut totals, second, second, 1).unwrap();
    }
    topic.take(&mut totals);
    assert!(!totals.is_changed());
    apply(&mut totals, 8, 1_000, 1).unwrap();
    assert_eq!((totals.groups.len(), totals.retired().count()), (1, AT_A_TIME));
    topic.take(&mut totals);
    assert_eq!(topic.groups.len(), 6);
    for left in [3, 1] {
        let mut restored = topic.restore(rule);
        assert!(restored.is_changed() && totals.is_changed());
        totals.apply(9, Outcome::Dropped).unwrap();
        restored.apply(9, Outcome::Dropped).unwrap();
        assert_eq!(restored.groups.len(), 1, "what is over is no window any more");
        topic.clone().take(&mut totals);
        topic.take(&mut restored);
        assert_eq!(topic.groups.len(), left);
        assert_eq!(totals.retired().count(), restored.retired().count());
    }
    assert!(!totals.is_changed());
    let (next_offset, all, progress) = topic.all.unwrap();
    assert_eq!(
        (next_offset, all.count, progress.expired.unwrap().count),
        (10, 9, 8)
    );
}

#[test]
fn what_was_never_written_leaves_no_tombstone_and_no_memory() {
    let rule = rule(&window_of(1_000, 0, 5_000));
    let mut totals = PartitionTotals::fresh(0, 0, Groups::new()).in_windows(Some(rule), Progress::default());
    for second in 0..10_000 {
        add(
            &mut totals,
            rule,
            second,
            Some((i64::try_from(second).unwrap() * 1_000, Some("a"), 1)),
        );
        assert!(totals.groups.len() <= 7 && totals.changed_groups.len() <= 7);
        let windows = totals.windows.as_ref().unwrap();
        assert!(windows.names.values().map(Vec::len).sum::<usize>() <= 7);
    }
    assert_eq!(totals.retired().count(), 0);
    let names = totals
        .changes()
        .filter_map(|total| total.group)
        .collect::<BTreeSet<_>>();
    assert_eq!(names.len(), 6);
    let Windowed::All(progress) = totals.windowed(None) else {
        panic!("it has windows")
    };
    assert_eq!(progress.expired.unwrap().count, 10_000 - 6);
}

fn apply(totals: &mut PartitionTotals, offset: i64, second: i64, value: i128) -> Result<bool, ApplyError> {
    let time = second * 1_000;
    let name = window::name_of(time, None);
    let outcome = Outcome::Windowed {
        name: &name,
        start: time,
        time,
        value: Some(value),
    };
    totals.apply(offset, outcome)
}

#[test]
fn a_record_that_does_not_fit_changes_no_window() {
    let rule = rule(&window_of(1_000, 0, 100_000));
    let mut totals = PartitionTotals::fresh(0, 0, Groups::new()).in_windows(Some(rule), Progress::default());
    apply(&mut totals, 0, 0, MAX_SUM).unwrap();
    let before = totals.clone();
    for second in [0, 1] {
        assert!(apply(&mut totals, 1, second, 1).is_err());
        assert_eq!(totals, before);
    }
    // All fit together, and those that are gone would not.
    for (offset, second, value) in [(1, 1, -7), (2, 50, -5), (3, 50, -5), (4, 50, 5), (5, 50, -5)] {
        apply(&mut totals, offset, second, value).unwrap();
    }
    assert!(apply(&mut totals, 6, 51, 7).is_ok() && apply(&mut totals, 7, 102, 1).is_ok());
    let Windowed::All(progress) = totals.windowed(None) else {
        panic!("it has windows")
    };
    assert_eq!(progress.expired.unwrap().sum, MAX_SUM - 7);
}

#[test]
fn windows_that_are_gone_and_do_not_fit_together_stop_the_partition_before_the_record() {
    let rule = rule(&window_of(1_000, 60_000, 40_000));
    let mut totals = PartitionTotals::fresh(0, 0, Groups::new()).in_windows(Some(rule), Progress::default());
    for (offset, second, value) in [(0, 0, MAX_SUM), (1, 50, -10), (2, 1, 5)] {
        apply(&mut totals, offset, second, value).unwrap();
    }
    let before = totals.clone();
    assert!(apply(&mut totals, 3, 102, 1).is_err());
    assert_eq!(totals, before);
}
