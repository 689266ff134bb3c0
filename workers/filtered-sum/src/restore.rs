//! What the output topic says about a partition, against what the consumer group has committed.
//!
//! Totals that were written in a transaction agree with the offset, or something outside naru has changed one of them:
//! then the partition is not read, because no sum of it would be right. Offsets expire when a group has been without
//! members for long; the totals say as well where to go on. Totals of an earlier computation are gone on with or
//! replaced, if the resource says so.
//!
//! Totals that were written without a transaction are the truth by themselves; the offset follows and is a hint. A crash
//! may have left totals of groups that are newer than that of their partition, and one who has lost the partition may
//! have written older totals behind newer ones: each says which records it covers, and of which computation it is.

pub mod keys;

use naru_contract::{Delivery, Reset};
use naru_worker_core::kafka::consumer::Assigned;
use snafu::{Snafu, ensure};

use self::keys::KeysMismatch;
use crate::accumulator::Accumulator;
use crate::catch_up::Superseded;
use crate::computation::{Computation, Relation};
use crate::identity::{Identity, Origin};
use crate::partition::{Groups, PartitionTotals};
use crate::total::{Scope, Total};
use crate::window::{self, Progress, Windowed};

/// Why a partition cannot be continued.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
pub enum Mismatch {
    #[snafu(display(
        "the totals of input partition {partition} in the output topic are of another sum: {differences}; {advice}"
    ))]
    OtherSum {
        partition: i32,
        differences: String,
        advice: &'static str,
    },
    #[snafu(display(
        "the totals of input partition {partition} in the output topic do not say by what rules they were summed, and with \
         reset these may be others than now: use another output topic, or delete it and the group's offsets to start anew"
    ))]
    UnknownRules { partition: i32 },
    #[snafu(display(
        "the output topic has totals of input partition {partition} up to offset {next_offset} that do not say what sum \
         they are of, and the consumer group has committed no offset: delete the output topic to start anew, or set the \
         group's offset to {next_offset} if they are of this one"
    ))]
    UnknownSum { partition: i32, next_offset: i64 },
    #[snafu(display(
        "the output topic has totals of input partition {partition} up to offset {next_offset}, but the input topic \
         has ended before that offset, or has younger records before it and the consumer group has committed no offset: it \
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
    #[snafu(display(
        "a worker was killed after it had written totals of groups of input partition {partition}, and before that of the          partition, so that these groups cover records from offset {next_offset} on that the earlier rules have summed: go \
         back to the earlier rules until the totals have caught up, or set reset to fromEarliest"
    ))]
    Ahead { partition: i32, next_offset: i64 },
    #[snafu(transparent)]
    Keys { source: KeysMismatch },
}

/// The newest totals of one partition in the output topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    all: Option<(i64, Accumulator)>,
    /// What the total of all says about windows.
    progress: Progress,
    /// When the total of all was written, ms since the epoch.
    written: i64,
    /// What sum they are of. Totals of the first versions do not say it.
    identity: Option<Identity>,
    /// How the total of all was written.
    delivery: Delivery,
    groups: Groups,
}

/// With what a partition goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// With these totals.
    Totals(PartitionTotals),
    /// With none, from the start of its log, beside these totals of an earlier computation.
    Anew(Superseded),
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
    pub fn observe(&mut self, total: Total, written: i64, identity: Option<Identity>, delivery: Delivery) {
        let Scope::Partition { next_offset, .. } = total.scope else {
            return;
        };
        let known = match &total.group {
            None => self.all,
            Some(group) => self.groups.get(group).copied(),
        };
        let covers_less = known.is_some_and(|(known, _)| next_offset < known);
        let is_earlier = match (&identity, &self.identity) {
            (Some(found), Some(known)) => found.origin.computation < known.origin.computation,
            _ => false,
        };
        // Late, by one who had lost the partition.
        if delivery == Delivery::IdempotentUpsert && (covers_less || is_earlier) {
            return;
        }
        let found = (next_offset, total.accumulator);
        match total.group {
            None => {
                self.all = Some(found);
                self.progress = match total.windowed {
                    Windowed::All(progress) => progress,
                    _ => Progress::default(),
                };
                self.written = written;
                self.identity = identity;
                self.delivery = delivery;
            }
            Some(group) => {
                self.groups.insert(group, found);
            }
        }
    }

    /// The total of this group of the partition's is gone.
    pub fn removed(&mut self, group: &str) {
        self.groups.remove(group);
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.all.is_none()
    }

    /// Whether who wrote these totals may still be writing, with nobody to refuse it.
    pub fn is_unfenced(&self) -> bool {
        self.delivery == Delivery::IdempotentUpsert
    }

    /// Whether totals that are committed are not there, or not yet: the offsets and the totals of a transaction
    /// become visible one after the other.
    pub fn is_behind(&self, assigned: &Assigned) -> bool {
        committed(assigned)
            .is_some_and(|committed| self.all.is_none_or(|(next_offset, _)| next_offset < committed))
    }

    /// When the totals were written, ms since the epoch, if it is they that say where to go on, since the group's offset
    /// is gone or another one: then [`Self::check`] needs to know of the input partition what is younger.
    pub fn outlived(&self, assigned: &Assigned) -> Option<i64> {
        let (next_offset, _) = self.all?;
        let goes_elsewhere = match committed(assigned) {
            None => true,
            Some(committed) => self.is_unfenced() && committed != next_offset,
        };
        goes_elsewhere.then_some(self.written)
    }

    /// With what `assigned` is continued by the computation `ours`. `log` is needed where [`Self::outlived`] says so.
    pub fn check(
        self,
        assigned: &Assigned,
        ours: &Computation,
        log: Option<Log>,
        has_groups: bool,
    ) -> Result<Restored, Mismatch> {
        let partition = assigned.partition;
        let windows = ours.identity.windows();
        let has_groups = has_groups || windows.is_some();
        let relation = self
            .identity
            .as_ref()
            .map_or(Relation::Same, |found| ours.relation(found));
        let found = self
            .identity
            .as_ref()
            .map_or_else(Origin::default, |found| found.origin);
        let origin = Origin {
            // Totals that bear a later number by the same rules keep it: it bars those that linger from in between.
            computation: found.computation.max(ours.identity.origin.computation),
            mixed: found.mixed || relation == Relation::Earlier(Reset::Continue),
        };
        let is_named = match (&self.identity, self.all) {
            (Some(_), _) => {
                if let Relation::Other(other) = relation {
                    return OtherSumSnafu {
                        partition,
                        differences: other.differences,
                        advice: other.advice,
                    }
                    .fail();
                }
                relation == Relation::Same && found == origin
            }
            (None, Some((next_offset, _))) if committed(assigned).is_none() => {
                return UnknownSumSnafu {
                    partition,
                    next_offset,
                }
                .fail();
            }
            (None, Some(_)) => {
                ensure!(ours.reset.is_none(), UnknownRulesSnafu { partition });
                false
            }
            (None, None) => false,
        };
        let outlived = self.outlived(assigned).is_some();
        let (next_offset, all) = match (committed(assigned), self.all) {
            (None, None) => {
                ensure!(has_groups || self.groups.is_empty(), GroupsSnafu { partition });
                let fresh = PartitionTotals::fresh(partition, assigned.position, self.groups);
                let fresh = fresh.with(origin).in_windows(windows, Progress::default());
                return Ok(Restored::Totals(fresh));
            }
            (_, Some((next_offset, all))) if outlived => {
                // All that the totals cover is older than they are.
                let fits = |log: Log| {
                    // An offset went with the log that it was of.
                    let is_same = committed(assigned).is_some()
                        || log.younger.is_none_or(|younger| younger >= next_offset);
                    log.end >= next_offset && is_same
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
            (_, Some(found)) => found,
        };
        if relation == Relation::Earlier(Reset::FromEarliest) {
            return Ok(Restored::Anew(Superseded {
                next_offset,
                groups: self.groups.into_keys().collect(),
            }));
        }
        let start = assigned.start;
        ensure!(
            start <= next_offset,
            DeletedSnafu {
                partition,
                committed: next_offset,
                start
            }
        );
        let Progress { watermark, expired } = self.progress;
        // What windows hold that are over, but were too many for one commit, has expired already. Names stand in the order of time.
        let first_kept = windows
            .zip(watermark)
            .map_or_else(String::new, |(windows, watermark)| {
                window::name_of(windows.first_kept(watermark), None)
            });
        let grouped = self
            .groups
            .range(first_kept..)
            .try_fold(expired.unwrap_or_default(), |sum, (_, (_, group))| {
                sum.merge(*group)
            });
        // What a group has more than the partition is no part of the partition's total.
        let is_ahead = self.groups.values().any(|(end, _)| *end > next_offset);
        ensure!(
            !is_ahead || relation != Relation::Earlier(Reset::Continue),
            AheadSnafu {
                partition,
                next_offset
            }
        );
        let adds_up = match grouped {
            Ok(_) if has_groups && is_ahead => true,
            Ok(grouped) if has_groups => {
                (grouped.count, grouped.retracted, grouped.sum) == (all.count, all.retracted, all.sum)
            }
            _ => self.groups.is_empty() && !has_groups,
        };
        let are_windows = windows.is_none() || self.groups.keys().all(|name| window::parse(name).is_some());
        ensure!(adds_up && are_windows, GroupsSnafu { partition });
        let totals = PartitionTotals::restored(partition, next_offset, all, self.groups)
            .with(origin)
            .in_windows(windows, self.progress);
        let totals = match is_named {
            true => totals,
            false => totals.without_identity(),
        };
        Ok(Restored::Totals(match outlived {
            true => totals.without_offset(),
            false => totals,
        }))
    }
}

fn committed(assigned: &Assigned) -> Option<i64> {
    assigned
        .metadata
        .as_ref()
        .map(|_| assigned.position - assigned.deleted)
}

#[cfg(test)]
mod tests;
