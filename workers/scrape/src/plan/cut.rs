//! From the newest id to ranges.

use naru_contract::Start;

use crate::frontier::{Position, Range};

/// Most ranges of one transaction: a job that starts a hundred million ids back publishes them in many.
const MOST_RANGES: usize = 1_000;

/// What one transaction of the planner holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Ranges with the partitions that they go to.
    pub(super) ranges: Vec<(i32, Range)>,
    /// Where the planner stands afterwards.
    pub(super) position: Position,
    /// There is more to plan.
    pub(super) unfinished: bool,
}

/// The next step of a planner that stands at `position` (`None`: it never ran) and has seen `newest`. `None` when
/// there is nothing to write. It never goes back: a head that shrinks changes nothing.
pub(super) fn plan(
    position: Option<Position>,
    start: Start,
    newest: u64,
    range_size: u64,
    partitions: i32,
) -> Option<Plan> {
    let Some(position) = position else {
        let first = first(start, newest);
        // Also without a range: a restart must not take a later head for the first.
        let nothing_yet = Plan {
            ranges: Vec::new(),
            position: first,
            unfinished: false,
        };
        return Some(cut(first, newest, range_size, partitions).unwrap_or(nothing_yet));
    };
    cut(position, newest, range_size, partitions)
}

/// How many ranges it takes to plan everything up to `newest`.
pub(super) fn ranges(position: Option<Position>, start: Start, newest: u64, range_size: u64) -> u64 {
    let Position { next_id, .. } = position.unwrap_or_else(|| first(start, newest));
    newest
        .saturating_add(1)
        .saturating_sub(next_id)
        .div_ceil(range_size)
}

/// Where a planner begins that never ran.
fn first(start: Start, newest: u64) -> Position {
    let next_id = match start {
        Start::Latest => newest.saturating_add(1),
        Start::Id(id) => id,
    };
    Position {
        next_id,
        next_partition: 0,
    }
}

fn cut(position: Position, newest: u64, range_size: u64, partitions: i32) -> Option<Plan> {
    let Position {
        next_id: mut from,
        next_partition: mut partition,
    } = position;
    let mut ranges = Vec::new();
    while from <= newest && from < u64::MAX && ranges.len() < MOST_RANGES {
        let to = from.saturating_add(range_size - 1).min(newest).min(u64::MAX - 1);
        partition = partition.rem_euclid(partitions);
        ranges.push((partition, Range { from, to, attempt: 1 }));
        from = to + 1;
        partition += 1;
    }
    let position = Position {
        next_id: from,
        next_partition: partition.rem_euclid(partitions),
    };
    let unfinished = from <= newest && from < u64::MAX;
    (!ranges.is_empty()).then_some(Plan {
        ranges,
        position,
        unfinished,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(next_id: u64, next_partition: i32) -> Option<Position> {
        Some(Position {
            next_id,
            next_partition,
        })
    }

    fn range(partition: i32, from: u64, to: u64) -> (i32, Range) {
        (partition, Range { from, to, attempt: 1 })
    }

    #[test]
    fn new_ids_are_cut_and_dealt_to_the_partitions_in_turn() {
        let plan = plan(at(101, 2), Start::Latest, 350, 100, 3).unwrap();
        assert_eq!(
            plan.ranges,
            [range(2, 101, 200), range(0, 201, 300), range(1, 301, 350)]
        );
        assert_eq!(
            plan.position,
            Position {
                next_id: 351,
                next_partition: 2
            }
        );
        assert!(!plan.unfinished);
    }

    #[test]
    fn the_first_run_begins_where_the_job_says() {
        let latest = plan(None, Start::Latest, 350, 100, 3).unwrap();
        assert_eq!(latest.ranges, []);
        assert_eq!(latest.position.next_id, 351);
        let from_id = plan(None, Start::Id(300), 350, 100, 3).unwrap();
        assert_eq!(from_id.ranges, [range(0, 300, 350)]);
        let not_yet = plan(None, Start::Id(400), 350, 100, 3).unwrap();
        assert_eq!((not_yet.ranges.len(), not_yet.position.next_id), (0, 400));
    }

    #[test]
    fn it_is_known_beforehand_how_many_ranges_a_head_brings() {
        for (position, start, newest, expected) in [
            (at(101, 0), Start::Latest, 350, 3),
            (at(101, 0), Start::Latest, 100, 0),
            (at(101, 0), Start::Latest, 20, 0),
            (None, Start::Latest, 350, 0),
            (None, Start::Id(300), 350, 1),
            (
                at(228_000_001, 0),
                Start::Latest,
                1_763_733_600_000,
                17_635_056_000,
            ),
        ] {
            assert_eq!(ranges(position, start, newest, 100), expected, "{newest}");
        }
        assert_eq!(ranges(at(0, 0), Start::Latest, u64::MAX, 1), u64::MAX);
    }

    #[test]
    fn a_head_that_stands_still_or_shrinks_changes_nothing() {
        assert_eq!(plan(at(351, 0), Start::Id(1), 350, 100, 3), None);
        assert_eq!(plan(at(351, 0), Start::Id(1), 20, 100, 3), None);
    }

    #[test]
    fn the_largest_ids_do_not_overflow() {
        let plan = plan(at(u64::MAX - 1, 0), Start::Latest, u64::MAX, u64::MAX, 1).unwrap();
        assert_eq!(plan.ranges, [range(0, u64::MAX - 1, u64::MAX - 1)]);
        assert!(!plan.unfinished);
    }

    proptest! {
        #[test]
        fn every_id_is_in_exactly_one_range_however_many_transactions_it_takes(
            start in 0_u64..1_000,
            heads in proptest::collection::vec(0_u64..20_000, 1..5),
            range_size in 1_u64..50,
            partitions in 1_i32..9,
        ) {
            let mut position = None;
            let mut next = start;
            for head in &heads {
                let mut unfinished = true;
                while unfinished {
                    let Some(step) = plan(position, Start::Id(start), *head, range_size, partitions) else { break };
                    prop_assert!(step.ranges.len() <= MOST_RANGES);
                    for (partition, range) in &step.ranges {
                        prop_assert!((0..partitions).contains(partition));
                        prop_assert_eq!(range.from, next);
                        prop_assert!(range.from <= range.to && range.to - range.from < range_size);
                        next = range.to + 1;
                    }
                    position = Some(step.position);
                    unfinished = step.unfinished;
                }
            }
            let newest = heads.iter().max().copied().unwrap_or(0);
            prop_assert_eq!(next, start.max(newest + 1));
            prop_assert_eq!(ranges(position, Start::Latest, newest, range_size), 0);
        }
    }
}
