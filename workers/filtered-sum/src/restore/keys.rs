//! Totals together with what each key adds to them.
//!
//! Both are of one transaction, so they go up to the same offset and add up. If they do not, something outside naru has changed
//! one of them, and the partition is not read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use naru_contract::Reset;
use naru_worker_core::kafka::consumer::Assigned;
use snafu::{OptionExt, Snafu, ensure};

use super::{Found, Log, Mismatch, Restored};
use crate::accumulator::Accumulator;
use crate::catch_up::Superseded;
use crate::computation::{Computation, Relation};
use crate::identity::{Identity, Origin};
use crate::keys::Keys;
use crate::keys::topic::FoundKeys;
use crate::partition::PartitionTotals;

/// What can be done about state of keys that is not what it was, as a clause.
const ADVICE: &str =
    "change the filter, if only by a space, together with reset: fromEarliest to sum the input anew";

/// Why the keys of a partition cannot be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
pub enum KeysMismatch {
    #[snafu(display(
        "the totals of input partition {partition} go up to offset {next_offset}, but the topic of keys (the output topic's \
         name and -keys) says what each key adds {known}: was it deleted or changed? {ADVICE}"
    ))]
    Elsewhere {
        partition: i32,
        next_offset: i64,
        known: String,
    },
    #[snafu(display(
        "what the keys of input partition {partition} add by the topic of keys (the output topic's name and -keys) does not \
         add up to the totals in the output topic up to offset {next_offset}: {ADVICE}"
    ))]
    Sum { partition: i32, next_offset: i64 },
    #[snafu(display(
        "a worker was stopped before it had written what all keys of input partition {partition} add, so that its totals \
         cannot be gone on with by other rules: set reset to fromEarliest, or go back to the earlier rules until the partition \
         is summed anew"
    ))]
    Missing { partition: i32 },
    #[snafu(display(
        "a worker was stopped before it had written what all keys of input partition {partition} add, and the records from \
         offset {summed} to {start} that it had summed were deleted since, so that they cannot be summed again: {ADVICE} \
         without them"
    ))]
    Deleted { partition: i32, summed: i64, start: i64 },
}

/// With what a partition goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// With these totals.
    Totals(PartitionTotals),
    /// With none, from the start of its log, beside these totals and these keys, which are replaced.
    Anew {
        superseded: Superseded,
        keys: Option<Keys>,
        /// How the totals come about that replace them.
        origin: Origin,
    },
}

impl Found {
    /// Up to where the topic of keys must go, if it is of these totals.
    pub fn expects_keys(&self) -> Option<i64> {
        let retracts = self.identity.as_ref().is_some_and(Identity::retracts);
        self.all.filter(|_| retracts).map(|(next_offset, _)| next_offset)
    }

    /// As [`Self::check`], with what the topic of keys says if a record takes the place of the one before of its key.
    pub fn resume(
        self,
        assigned: &Assigned,
        ours: &Computation,
        log: Option<Log>,
        has_groups: bool,
        keys: Option<FoundKeys>,
    ) -> Result<Resumed, Mismatch> {
        let Some(keys) = keys else {
            let restored = self.check(assigned, ours, log, has_groups)?;
            return Ok(match restored {
                Restored::Totals(totals) => Resumed::Totals(totals),
                Restored::Anew(superseded) => Resumed::Anew {
                    superseded,
                    keys: None,
                    origin: ours.identity.origin,
                },
            });
        };
        let partition = assigned.partition;
        let is_new = self.is_empty();
        let relation = self.identity.as_ref().map(|found| ours.relation(found));
        let groups = self.groups.clone();
        let all = self.all;
        let restored = self.check(assigned, ours, log, has_groups)?;
        let totals = match restored {
            Restored::Anew(superseded) => {
                return Ok(Resumed::Anew {
                    superseded,
                    keys: Some(keys.keys),
                    origin: ours.identity.origin,
                });
            }
            Restored::Totals(totals) if is_new => {
                // What there is belongs to totals that were deleted.
                let keys = match keys.keys.is_empty() {
                    true => keys.keys,
                    false => keys.keys.retired(totals.next_offset()),
                };
                return Ok(Resumed::Totals(totals.with_keys(Some(keys))));
            }
            Restored::Totals(totals) => totals,
        };
        let next_offset = totals.next_offset();
        let mark = keys.mark.filter(|mark| mark.next_offset == next_offset);
        let mark = mark.with_context(|| {
            let known = keys.mark.map(|mark| format!("up to offset {}", mark.next_offset));
            ElsewhereSnafu {
                partition,
                next_offset,
                known: known.unwrap_or_else(|| "of no record".to_owned()),
            }
        })?;
        if mark.is_missing {
            let is_continued = relation == Some(Relation::Earlier(Reset::Continue));
            ensure!(!is_continued, MissingSnafu { partition });
            // Nobody has asked for a sum without them.
            if let Some(summed) = mark.start.filter(|summed| *summed < assigned.start) {
                let start = assigned.start;
                return Err(KeysMismatch::Deleted {
                    partition,
                    summed,
                    start,
                }
                .into());
            }
            return Ok(Resumed::Anew {
                superseded: Superseded {
                    next_offset,
                    groups: groups.into_keys().collect(),
                },
                keys: Some(keys.keys),
                // They keep a later number by the same rules.
                origin: totals.origin(),
            });
        }
        let stands = |all: Accumulator| (all.count - all.retracted, all.sum);
        let mut expected = BTreeMap::new();
        match has_groups {
            true => expected.extend(
                groups
                    .into_iter()
                    .map(|(name, (_, sum))| (Some(name), stands(sum))),
            ),
            false => expected.extend(all.map(|(_, all)| (None, stands(all)))),
        }
        ensure!(
            adds_up(&keys.keys.sums(), expected),
            SumSnafu {
                partition,
                next_offset
            }
        );
        Ok(Resumed::Totals(totals.with_keys(Some(keys.keys))))
    }
}

/// Whether what the keys add, by group, is what the totals say. One of nothing may be without keys.
fn adds_up(
    sums: &HashMap<Option<Arc<str>>, (i64, i128)>,
    mut expected: BTreeMap<Option<String>, (i64, i128)>,
) -> bool {
    let mut each = sums.iter();
    let is_expected = each.all(|(name, sum)| {
        let name = name.as_deref().map(str::to_owned);
        expected.remove(&name) == Some(*sum)
    });
    is_expected && expected.values().all(|rest| *rest == (0, 0))
}

#[cfg(test)]
mod tests;
