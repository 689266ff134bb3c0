//! What the output topic says about a partition, against what the consumer group has committed.
//!
//! Both were written in one transaction, so they agree, or something outside naru has changed one of them: then
//! the partition is not read, because no sum of it would be right.

use std::collections::BTreeMap;

use naru_worker_core::kafka::consumer::Assigned;
use snafu::{Snafu, ensure};

use crate::accumulator::Accumulator;
use crate::partition::PartitionTotals;
use crate::total::{Scope, Total};

/// Why a partition cannot be continued.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
pub enum Mismatch {
    #[snafu(display(
        "the output topic has totals of input partition {partition} up to offset {next_offset}, but the consumer group \
         has committed no offset: set the group's offset to {next_offset} to continue, or delete the output topic to \
         start anew"
    ))]
    NoOffset { partition: i32, next_offset: i64 },
    #[snafu(display(
        "the consumer group has committed offset {committed} of input partition {partition}, but the output topic has \
         no totals of it: delete the group's offsets to start anew"
    ))]
    NoTotals { partition: i32, committed: i64 },
    #[snafu(display(
        "the consumer group has committed offset {committed} of input partition {partition}, but the totals in the \
         output topic go up to offset {next_offset}: set the group's offset to {next_offset} to continue"
    ))]
    Differ {
        partition: i32,
        committed: i64,
        next_offset: i64,
    },
    #[snafu(display(
        "records of input partition {partition} from offset {committed} to {start} were deleted before they were \
         summed: delete the group's offsets and the output topic to start anew without them"
    ))]
    Deleted {
        partition: i32,
        committed: i64,
        start: i64,
    },
    #[snafu(display(
        "the totals of the groups of input partition {partition} in the output topic do not add up to the total of \
         the partition: were the fields to group by changed? use another output topic and group for them"
    ))]
    Groups { partition: i32 },
}

/// The newest totals of one partition in the output topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    all: Option<(i64, Accumulator)>,
    groups: BTreeMap<String, Accumulator>,
}

impl Found {
    /// Takes in a record of the partition's output partition, in their order.
    pub fn observe(&mut self, total: Total) {
        match (total.scope, total.group) {
            (Scope::Partition { next_offset, .. }, None) => self.all = Some((next_offset, total.accumulator)),
            (Scope::Partition { .. }, Some(group)) => {
                self.groups.insert(group, total.accumulator);
            }
            (Scope::Overall { .. }, _) => {}
        }
    }

    /// Whether totals that are committed are not there, or not yet: the offsets and the totals of a transaction
    /// become visible one after the other.
    pub fn is_behind(&self, assigned: &Assigned) -> bool {
        committed(assigned)
            .is_some_and(|committed| self.all.is_none_or(|(next_offset, _)| next_offset < committed))
    }

    /// The totals with which `assigned` is continued.
    pub fn check(self, assigned: &Assigned, has_groups: bool) -> Result<PartitionTotals, Mismatch> {
        let partition = assigned.partition;
        let (next_offset, all) = match (committed(assigned), self.all) {
            (None, None) => return Ok(PartitionTotals::fresh(partition, assigned.position)),
            (None, Some((next_offset, _))) => {
                return NoOffsetSnafu {
                    partition,
                    next_offset,
                }
                .fail();
            }
            (Some(committed), None) => return NoTotalsSnafu { partition, committed }.fail(),
            (Some(committed), Some((next_offset, _))) if committed != next_offset => {
                return DifferSnafu {
                    partition,
                    committed,
                    next_offset,
                }
                .fail();
            }
            (Some(_), Some(found)) => found,
        };
        let start = assigned.position;
        ensure!(
            assigned.deleted == 0,
            DeletedSnafu {
                partition,
                committed: next_offset,
                start
            }
        );
        let grouped = self
            .groups
            .values()
            .try_fold(Accumulator::default(), |sum, group| sum.merge(*group));
        let adds_up = match grouped {
            Ok(grouped) if has_groups => (grouped.count, grouped.sum) == (all.count, all.sum),
            _ => self.groups.is_empty() && !has_groups,
        };
        ensure!(adds_up, GroupsSnafu { partition });
        Ok(PartitionTotals::restored(
            partition,
            next_offset,
            all,
            self.groups,
        ))
    }
}

fn committed(assigned: &Assigned) -> Option<i64> {
    assigned
        .metadata
        .as_ref()
        .map(|_| assigned.position - assigned.deleted)
}

#[cfg(test)]
mod tests {
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

    fn found(totals: impl IntoIterator<Item = Total>) -> Found {
        totals.into_iter().fold(Found::default(), |mut found, total| {
            found.observe(total);
            found
        })
    }

    #[test]
    fn what_nobody_has_read_begins_at_the_start_of_the_log_with_zero() {
        assert_eq!(
            Found::default().check(&assigned(None), false),
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
        let mut restored = found.check(&assigned(Some(12)), false).unwrap();
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
        let restore = |sum, has_groups| found(totals(sum).map(two)).check(&assigned(Some(10)), has_groups);
        assert!(restore(5, true).is_ok());
        assert_eq!(restore(6, true), Err(Mismatch::Groups { partition: 1 }));
        assert_eq!(
            restore(5, false),
            Err(Mismatch::Groups { partition: 1 }),
            "nothing is grouped any more"
        );
        let ungrouped = found([written(10, None, 5)]);
        assert_eq!(
            ungrouped.check(&assigned(Some(10)), true),
            Err(Mismatch::Groups { partition: 1 })
        );
    }

    #[test]
    fn totals_and_offset_that_disagree_stop_the_partition() {
        let totals = found([written(10, None, 5)]);
        for (found, committed, expected) in [
            (
                &totals,
                None,
                Mismatch::NoOffset {
                    partition: 1,
                    next_offset: 10,
                },
            ),
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
            assert_eq!(found.clone().check(&assigned(committed), false), Err(expected));
        }
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
        assert_eq!(found([written(10, None, 5)]).check(&gone, false), Err(expected));
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
}
