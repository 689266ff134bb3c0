//! The ledger, step by step and through random lives of a fetcher.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn range(from: u64, to: u64) -> Range {
    Range { from, to, attempt: 1 }
}

fn progress(offset: i64, done: u64) -> Option<Progress> {
    Some(Progress { offset, done })
}

fn at(partition: i32, offset: i64, progress: Option<Progress>) -> Committed {
    Committed {
        partition,
        offset,
        progress,
    }
}

#[test]
fn a_range_is_committed_bit_by_bit_and_then_passed() {
    let mut ledger = Ledger::new();
    ledger.assigned(3, 10, None);
    let task = ledger.range(3, 10, range(5, 7)).unwrap();
    assert_eq!(task.ids, (5, 7));
    assert!(ledger.settled(task.work, 5, "five"));
    assert!(ledger.settled(task.work, 6, "six"));
    let expected = Snapshot {
        settled: vec![&"five", &"six"],
        partitions: vec![at(3, 10, progress(10, 6))],
    };
    assert_eq!(ledger.snapshot(), expected);
    assert!(ledger.committed().is_empty());
    assert!(ledger.snapshot().partitions.is_empty());
    assert!(ledger.settled(task.work, 7, "seven"));
    assert!(ledger.has_finished());
    let expected = Snapshot {
        settled: vec![&"seven"],
        partitions: vec![at(3, 11, progress(10, 7))],
    };
    assert_eq!(ledger.snapshot(), expected);
    assert_eq!(ledger.committed(), [3]);
    assert!(ledger.snapshot().partitions.is_empty());
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
    ledger.assigned(0, 10, progress(10, 6));
    let task = ledger.range(0, 10, range(5, 7)).unwrap();
    assert_eq!(task.ids, (7, 7));
    // Offsets without records lie between ranges: the progress was of another range.
    ledger.assigned(1, 10, progress(10, 6));
    assert_eq!(ledger.range(1, 11, range(5, 7)).unwrap().ids, (5, 7));
    ledger.assigned(2, 10, None);
    assert_eq!(ledger.range(2, 10, range(5, 7)).unwrap().ids, (5, 7));
}

#[test]
fn an_offset_without_progress_becomes_progress_before_anything_is_done() {
    let mut ledger = Ledger::<u64>::new();
    ledger.assigned_at(0, 10);
    assert!(ledger.has_passed());
    let known = progress(9, u64::MAX);
    assert_eq!(ledger.snapshot().partitions, [at(0, 10, known)]);
    assert!(ledger.committed().is_empty());
    assert!(ledger.snapshot().partitions.is_empty());
    // The offset is lost later: what was before it is passed.
    ledger.assigned(0, 0, known);
    assert_eq!(ledger.range(0, 9, range(1, 20)), None);
    assert_eq!(ledger.range(0, 10, range(1, 20)).unwrap().ids, (1, 20));
}

#[test]
fn ranges_that_are_settled_are_passed_and_the_offset_follows() {
    let mut ledger = Ledger::<u64>::new();
    ledger.assigned(0, 0, progress(4, 57));
    assert_eq!(ledger.range(0, 0, range(1, 20)), None);
    assert!(!ledger.no_range(0, 2, 0));
    assert!(ledger.has_passed() && !ledger.is_busy(0));
    assert_eq!(ledger.snapshot().partitions, [at(0, 3, progress(4, 57))]);
    assert!(ledger.committed().is_empty());
    assert!(!ledger.has_passed() && ledger.snapshot().partitions.is_empty());
    // The half of it that is not settled, with an id that is still the group's.
    let task = ledger.range(0, 4, range(41, 60)).unwrap();
    assert_eq!(task.ids, (58, 60));
    assert!(ledger.settled(task.work, 58, 58));
    assert_eq!(ledger.snapshot().partitions, [at(0, 4, progress(4, 58))]);
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
        partitions: vec![at(0, 6, None)],
    };
    assert_eq!(ledger.snapshot(), expected);
    assert_eq!(ledger.committed(), [0]);
    ledger.assigned(1, 5, progress(3, 57));
    assert!(ledger.no_range(1, 5, "dead letter"));
    assert_eq!(ledger.snapshot().partitions, [at(1, 6, progress(5, 57))]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Settle,
    Commit,
    Abort,
    /// The partition goes to another fetcher, which reads what was committed.
    Restart,
    /// And what was committed beside the offset is gone with it.
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![8 => Just(Step::Settle), 3 => Just(Step::Commit), 1 => Just(Step::Abort), 1 => Just(Step::Restart),
                1 => Just(Step::Expire)]
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
        let (mut committed, mut offset, mut kept) = (Vec::new(), 0_i64, None);
        // Offset of the next record that arrives.
        let mut arriving = 0_i64;
        let mut task: Option<(Task, u64)> = None;
        ledger.assigned(0, 0, None);
        // After the random steps, everything is brought to its end.
        let ending = std::iter::repeat_n([Step::Settle, Step::Commit], 100).flatten();
        for step in steps.into_iter().chain(ending) {
            while task.is_none() && let Some(range) = ranges.get(usize::try_from(arriving).unwrap()) {
                task = ledger.range(0, arriving, *range).map(|task| (task, task.ids.0));
                arriving += 1;
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
                    let Snapshot { settled, partitions } = ledger.snapshot();
                    committed.extend(settled.into_iter().copied());
                    for partition in partitions {
                        (offset, kept) = (partition.offset, partition.progress);
                    }
                    if ledger.committed() == [0] {
                        task = None;
                    }
                }
                Step::Restart | Step::Expire => {
                    if matches!(step, Step::Expire) {
                        offset = 0;
                    }
                    ledger.revoked(0);
                    ledger.assigned(0, offset, kept);
                    (task, arriving) = (None, offset);
                }
            }
        }
        prop_assert_eq!(offset, i64::try_from(ranges.len()).unwrap());
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
    let partitions = snapshot.partitions.iter().map(|at| at.partition);
    assert_eq!(partitions.collect::<Vec<_>>(), [0, 2]);
    assert_eq!(ledger.uncommitted(), 2);
}
