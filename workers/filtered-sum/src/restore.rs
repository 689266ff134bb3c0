//! What the output topic says about a partition, against what the consumer group has committed.
//!
//! Both were written in one transaction, so they agree, or something outside naru has changed one of them: then
//! the partition is not read, because no sum of it would be right. Offsets expire when a group has been without
//! members for long; the totals say as well where to go on.

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
         has committed no offset, and the input topic has ended before that offset or has younger records before it: it \
         was made anew; delete the output topic to start anew too, or set the group's offset to {next_offset} to continue"
    ))]
    OtherLog { partition: i32, next_offset: i64 },
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
    /// When the total of all was written, ms since the epoch.
    written: i64,
    groups: BTreeMap<String, Accumulator>,
}

/// What is to be known of an input partition that has totals and no committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// Where it ends.
    pub end: i64,
    /// First record that is younger than the totals, if there is one.
    pub younger: Option<i64>,
}

impl Found {
    /// Takes in a record of the partition's output partition, in their order, with its time in ms since the epoch.
    pub fn observe(&mut self, total: Total, written: i64) {
        match (total.scope, total.group) {
            (Scope::Partition { next_offset, .. }, None) => {
                self.all = Some((next_offset, total.accumulator));
                self.written = written;
            }
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

    /// When the totals were written, ms since the epoch, if the group's offset is gone: then [`Self::check`] needs to
    /// know of the input partition what is younger.
    pub fn outlived(&self, assigned: &Assigned) -> Option<i64> {
        (self.all.is_some() && committed(assigned).is_none()).then_some(self.written)
    }

    /// The totals with which `assigned` is continued. `log` is needed where [`Self::outlived`] says so.
    pub fn check(
        self,
        assigned: &Assigned,
        log: Option<Log>,
        has_groups: bool,
    ) -> Result<PartitionTotals, Mismatch> {
        let partition = assigned.partition;
        let (next_offset, all) = match (committed(assigned), self.all) {
            (None, None) => return Ok(PartitionTotals::fresh(partition, assigned.position)),
            (None, Some((next_offset, all))) => {
                // All that the totals cover is older than they are.
                let fits = |log: Log| {
                    log.end >= next_offset && log.younger.is_none_or(|younger| younger >= next_offset)
                };
                ensure!(
                    log.is_some_and(fits),
                    OtherLogSnafu {
                        partition,
                        next_offset
                    }
                );
                (next_offset, all)
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
        let deleted = match committed(assigned) {
            Some(_) => assigned.deleted > 0,
            None => start > next_offset,
        };
        ensure!(
            !deleted,
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
        let totals = PartitionTotals::restored(partition, next_offset, all, self.groups);
        Ok(match committed(assigned) {
            Some(_) => totals,
            None => totals.without_offset(),
        })
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
            found.observe(total, 1_000);
            found
        })
    }

    #[test]
    fn what_nobody_has_read_begins_at_the_start_of_the_log_with_zero() {
        assert_eq!(
            Found::default().check(&assigned(None), None, false),
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
        let mut restored = found.check(&assigned(Some(12)), None, false).unwrap();
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
            |sum, has_groups| found(totals(sum).map(two)).check(&assigned(Some(10)), None, has_groups);
        assert!(restore(5, true).is_ok());
        assert_eq!(restore(6, true), Err(Mismatch::Groups { partition: 1 }));
        assert_eq!(
            restore(5, false),
            Err(Mismatch::Groups { partition: 1 }),
            "nothing is grouped any more"
        );
        let ungrouped = found([written(10, None, 5)]);
        assert_eq!(
            ungrouped.check(&assigned(Some(10)), None, true),
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
                found.clone().check(&assigned(committed), None, false),
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
            totals.clone().check(&expired, Some(Log { end, younger }), false)
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
            found([written(10, None, 5)]).check(&gone, None, false),
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
}
