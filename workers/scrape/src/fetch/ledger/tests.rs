//! The ledger, step by step and through random lives of a fetcher.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn range(from: u64, to: u64) -> Range {
    Range { from, to, attempt: 1 }
}

#[test]
fn a_range_is_committed_bit_by_bit_and_then_passed() {
    let mut ledger = Ledger::new();
    ledger.assigned(3, 10, None);
    let task = ledger.range(3, 10, range(5, 7)).unwrap();
    assert_eq!(task.ids, Some((5, 7)));
    assert!(ledger.settled(task.work, 5, "five"));
    assert!(ledger.settled(task.work, 6, "six"));
    let expected = Snapshot {
        settled: vec![&"five", &"six"],
        offsets: vec![(3, 10, r#"{"done":6}"#.to_owned())],
    };
    assert_eq!(ledger.snapshot(), expected);
    assert!(ledger.committed().is_empty());
    assert!(ledger.snapshot().offsets.is_empty());
    assert!(ledger.settled(task.work, 7, "seven"));
    assert!(ledger.has_finished());
    let expected = Snapshot {
        settled: vec![&"seven"],
        offsets: vec![(3, 11, String::new())],
    };
    assert_eq!(ledger.snapshot(), expected);
    assert_eq!(ledger.committed(), [3]);
    assert!(ledger.snapshot().offsets.is_empty());
}

#[test]
fn a_snapshot_that_was_not_committed_comes_again_with_what_was_added() {
    let mut ledger = Ledger::new();
    ledger.assigned(0, 0, None);
    let task = ledger.range(0, 0, range(1, 9)).unwrap();
    ledger.settled(task.work, 1, 1);
    assert_eq!(ledger.snapshot().settled, [&1]);
    ledger.settled(task.work, 2, 2);
    assert_eq!(ledger.snapshot().settled, [&1, &2]);
}

#[test]
fn a_new_owner_continues_inside_the_range() {
    let mut ledger = Ledger::<u64>::new();
    ledger.assigned(0, 10, Some(r#"{"done":6}"#));
    let task = ledger.range(0, 10, range(5, 7)).unwrap();
    assert_eq!(task.ids, Some((7, 7)));
    ledger.assigned(1, 10, Some(r#"{"done":6}"#));
    // Offsets without records lie between ranges: the progress was of another range.
    assert_eq!(ledger.range(1, 11, range(5, 7)).unwrap().ids, Some((5, 7)));
    ledger.assigned(2, 10, Some("written by somebody else"));
    assert_eq!(ledger.range(2, 10, range(5, 7)).unwrap().ids, Some((5, 7)));
}

#[test]
fn a_range_whose_last_id_is_done_only_needs_to_be_passed() {
    let mut ledger = Ledger::<u64>::new();
    ledger.assigned(0, 10, Some(r#"{"done":7}"#));
    let task = ledger.range(0, 10, range(5, 7)).unwrap();
    assert_eq!(task.ids, None);
    assert_eq!(ledger.snapshot().offsets, [(0, 11, String::new())]);
}

#[test]
fn results_of_dropped_work_and_out_of_order_are_not_counted() {
    let mut ledger = Ledger::new();
    ledger.assigned(0, 0, None);
    let before = ledger.range(0, 0, range(1, 9)).unwrap();
    assert!(!ledger.settled(before.work, 2, ()));
    ledger.revoked(0);
    assert!(!ledger.settled(before.work, 1, ()));
    ledger.assigned(0, 0, None);
    let after = ledger.range(0, 0, range(1, 9)).unwrap();
    assert!(!ledger.settled(before.work, 1, ()));
    assert!(ledger.settled(after.work, 1, ()));
    assert_eq!(ledger.uncommitted(), 1);
}

#[test]
fn a_message_is_taken_up_once_and_only_when_the_partition_is_free() {
    let mut ledger = Ledger::<()>::new();
    assert_eq!(ledger.range(0, 0, range(1, 1)), None);
    ledger.assigned(0, 5, None);
    assert_eq!(ledger.range(0, 4, range(1, 1)), None);
    assert!(ledger.range(0, 5, range(1, 2)).is_some());
    assert_eq!(ledger.range(0, 5, range(1, 2)), None);
    assert_eq!(ledger.range(0, 6, range(3, 4)), None);
    assert!(ledger.is_busy(0) && !ledger.is_busy(1));
}

#[test]
fn a_message_that_is_no_range_is_passed_together_with_its_dead_letter() {
    let mut ledger = Ledger::new();
    ledger.assigned(0, 5, None);
    assert!(ledger.no_range(0, 5, "dead letter"));
    let expected = Snapshot {
        settled: vec![&"dead letter"],
        offsets: vec![(0, 6, String::new())],
    };
    assert_eq!(ledger.snapshot(), expected);
    assert_eq!(ledger.committed(), [0]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Settle,
    Commit,
    Abort,
    /// The partition goes to another fetcher, which reads what was committed.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![8 => Just(Step::Settle), 3 => Just(Step::Commit), 1 => Just(Step::Abort), 1 => Just(Step::Restart)]
}

proptest! {
    #[test]
    fn every_id_is_committed_exactly_once_whatever_happens(
        lengths in proptest::collection::vec(1_u64..6, 1..6),
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut ranges = Vec::new();
        let mut next = 1;
        for length in lengths {
            ranges.push(range(next, next + length - 1));
            next += length;
        }
        let mut ledger = Ledger::new();
        // What Kafka holds.
        let (mut committed, mut offset, mut metadata) = (Vec::new(), 0_i64, String::new());
        let mut task: Option<(Task, u64)> = None;
        ledger.assigned(0, 0, None);
        // After the random steps, everything is brought to its end.
        let ending = std::iter::repeat_n([Step::Settle, Step::Commit], 100).flatten();
        for step in steps.into_iter().chain(ending) {
            if task.is_none() {
                let at = usize::try_from(offset).unwrap();
                let started = ranges.get(at).and_then(|range| ledger.range(0, offset, *range));
                task = started.map(|task| (task, task.ids.map_or(0, |ids| ids.0)));
            }
            match step {
                Step::Settle => {
                    if let Some((task, next)) = &mut task
                        && ledger.settled(task.work, *next, *next)
                    {
                        *next += 1;
                    }
                }
                Step::Abort => {
                    ledger.snapshot();
                }
                Step::Commit => {
                    let Snapshot { settled, offsets } = ledger.snapshot();
                    committed.extend(settled.into_iter().copied());
                    for (_, at, with) in offsets {
                        (offset, metadata) = (at, with);
                    }
                    if ledger.committed() == [0] {
                        task = None;
                    }
                }
                Step::Restart => {
                    ledger.revoked(0);
                    ledger.assigned(0, offset, Some(&metadata));
                    task = None;
                }
            }
        }
        prop_assert_eq!(committed, (1..next).collect::<Vec<_>>());
    }
}

#[test]
fn partitions_are_committed_together() {
    let mut ledger = Ledger::new();
    let mut works = BTreeMap::new();
    for partition in 0..3 {
        ledger.assigned(partition, 0, None);
        works.insert(partition, ledger.range(partition, 0, range(1, 2)).unwrap().work);
    }
    ledger.settled(works[&2], 1, "c");
    ledger.settled(works[&0], 1, "a");
    let snapshot = ledger.snapshot();
    assert_eq!(snapshot.settled, [&"a", &"c"]);
    let partitions = snapshot.offsets.iter().map(|(partition, ..)| *partition);
    assert_eq!(partitions.collect::<Vec<_>>(), [0, 2]);
    assert_eq!(ledger.uncommitted(), 2);
}
