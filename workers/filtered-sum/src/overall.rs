//! The overall total: the sum of the newest totals of all partitions.
//!
//! Whoever owns input partition 0 reads the whole output topic, adds up what every partition's owner wrote, and
//! writes the result beside its own totals. It adds whole states, not changes, so no partition is ever counted
//! twice, however often it moves; and the vector of offsets says exactly which records a total covers. While partitions
//! have totals of an earlier computation nothing is written, so that all that a total adds up is of one.
//!
//! Only groups of which something was read since the last commit are added up again: of a sum with windows nearly all have
//! come to their end. A window is over for all partitions when it is for the one whose time is farthest: from then on that one may
//! have removed its part.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::accumulator::{Accumulator, Overflow};
use crate::total::{Offsets, Removed, Scope, Total};
use crate::window::{self, AT_A_TIME, Progress, Tumbling, Windowed};

/// What the output topic says.
#[derive(Debug, Default)]
pub struct Overall {
    partitions: BTreeMap<i32, Subtotal>,
    /// `None`: it is to be written again.
    written: BTreeMap<Option<String>, Option<Accumulator>>,
    /// Groups whose totals may be others than those that were written, but for windows that are over.
    touched: BTreeSet<Option<String>>,
    windows: Option<Tumbling>,
    written_offsets: Offsets,
    /// Whether what was written is of our computation.
    written_is_ours: bool,
}

/// What is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// That of all groups last.
    pub totals: Vec<Total>,
    /// Groups whose totals in the output topic are of nothing any more. Of windows that are over only some, and the others with
    /// the next commits.
    pub removed: Vec<String>,
}

/// A total with the next offset that it does not cover yet.
type Known = (i64, Accumulator);

/// The newest totals of one partition.
#[derive(Debug, Default)]
struct Subtotal {
    next_offset: Option<i64>,
    watermark: Option<i64>,
    /// Whether they are of our computation.
    is_ours: bool,
    /// By group; `None` is the whole partition.
    totals: BTreeMap<Option<String>, Known>,
    /// Groups of which the total of the partition has not been read yet. `None`: they are gone.
    pending: BTreeMap<String, Option<Known>>,
}

impl Overall {
    /// Of a sum with these windows, if there are any.
    pub fn of(windows: Option<Tumbling>) -> Self {
        Self {
            windows,
            ..Self::default()
        }
    }

    /// Takes in a record of the output topic. Records of one output partition must come in their order, without those of
    /// which [`Self::knows_better`]. `is_ours` says whether it is of our computation; of a group it does not matter.
    pub fn observe(&mut self, total: Total, is_ours: bool) {
        match (total.scope, total.group) {
            (
                Scope::Partition {
                    partition,
                    next_offset,
                },
                Some(group),
            ) => {
                self.partitions
                    .entry(partition)
                    .or_default()
                    .pending
                    .insert(group, Some((next_offset, total.accumulator)));
            }
            (
                Scope::Partition {
                    partition,
                    next_offset,
                },
                None,
            ) => {
                let subtotal = self.partitions.entry(partition).or_default();
                // A crash may have left groups without it. They belong to one that is still to come.
                let mut groups = subtotal.pending.values().flatten();
                if groups.any(|(end, _)| *end > next_offset) {
                    return;
                }
                for (group, total) in std::mem::take(&mut subtotal.pending) {
                    let group = Some(group);
                    match total {
                        Some(total) => subtotal.totals.insert(group.clone(), total),
                        None => subtotal.totals.remove(&group),
                    };
                    self.touched.insert(group);
                }
                subtotal.watermark = match total.windowed {
                    Windowed::All(progress) => progress.watermark,
                    _ => None,
                };
                subtotal.totals.insert(None, (next_offset, total.accumulator));
                subtotal.next_offset = Some(next_offset);
                subtotal.is_ours = is_ours;
                self.leave_over();
            }
            // What was written comes back later, when something newer may have been written already.
            (Scope::Overall { offsets }, group) if version(&offsets) >= version(&self.written_offsets) => {
                // The last one of them.
                if group.is_none() {
                    self.written_offsets = offsets;
                    self.written_is_ours = is_ours;
                }
                let written = Some(total.accumulator);
                if self.written.insert(group.clone(), written) != Some(written) {
                    self.touched.insert(group);
                }
            }
            (Scope::Overall { .. }, _) => {}
        }
    }

    /// Takes in that there is no total of a group any more.
    pub fn remove(&mut self, removed: Removed) {
        match removed.partition {
            Some(partition) => {
                let subtotal = self.partitions.entry(partition).or_default();
                subtotal.pending.insert(removed.group, None);
            }
            None => {
                let group = Some(removed.group);
                self.written.remove(&group);
                self.touched.insert(group);
            }
        }
    }

    /// Whether a total of a partition that covers more than this one has been taken in: this one is of somebody who had
    /// lost the partition, if it was written without a transaction.
    pub fn knows_better(&self, total: &Total) -> bool {
        let Scope::Partition {
            partition,
            next_offset,
        } = &total.scope
        else {
            return false;
        };
        let Some(subtotal) = self.partitions.get(partition) else {
            return false;
        };
        let pending = total.group.as_ref().and_then(|group| subtotal.pending.get(group));
        let known = match pending {
            Some(pending) => pending.as_ref(),
            None => subtotal.totals.get(&total.group),
        };
        known.is_some_and(|(known, _)| next_offset < known)
    }

    /// Whether every group that was taken in belongs to a total of its partition that was taken in too.
    pub fn is_settled(&self) -> bool {
        self.partitions
            .values()
            .all(|subtotal| subtotal.pending.is_empty())
    }

    /// Lets all of it be written again.
    pub fn write_again(&mut self) {
        self.written.values_mut().for_each(|written| *written = None);
        self.written_offsets.clear();
        self.touched = self.groups();
    }

    /// The output topic holds all changes.
    pub fn committed(&mut self) {
        self.touched.clear();
    }

    /// Windows that are over are found by what was written of them. Without this they would gather while nothing is committed.
    fn leave_over(&mut self) {
        let first_kept = self.first_kept();
        while self
            .touched
            .first()
            .is_some_and(|group| is_over(group, first_kept.as_ref()))
        {
            self.touched.pop_first();
        }
    }

    fn groups(&self) -> BTreeSet<Option<String>> {
        let known = self
            .partitions
            .values()
            .flat_map(|subtotal| subtotal.totals.keys());
        known.chain(self.written.keys()).cloned().collect()
    }

    /// The overall totals that differ from those in the output topic. None as long as a partition's are of an earlier
    /// computation.
    pub fn changes(&self) -> Result<Changes, Overflow> {
        let offsets = self.offsets();
        let first_kept = self.first_kept();
        let over = first_kept.iter().flat_map(|first| {
            let over = (Bound::Excluded(&None), Bound::Excluded(first));
            self.written.range(over)
        });
        let removed = over
            .filter_map(|(group, _)| group.clone())
            .take(AT_A_TIME)
            .collect::<Vec<_>>();
        let is_written = offsets == self.written_offsets && self.written_is_ours && removed.is_empty();
        if offsets.is_empty() || is_written || self.known().any(|subtotal| !subtotal.is_ours) {
            return Ok(Changes::default());
        }
        // By other rules the same digits may be another number.
        let is_of_others = !self.written_is_ours && !self.written_offsets.is_empty();
        let all = is_of_others.then(|| self.groups());
        let touched = all.as_ref().unwrap_or(&self.touched).iter();
        let watermark = self.watermark();
        let total = |group: Option<String>, accumulator| Total {
            scope: Scope::Overall {
                offsets: offsets.clone(),
            },
            windowed: self.windowed(group.as_deref(), watermark),
            group,
            accumulator,
        };
        let mut changes = Changes {
            removed,
            ..Changes::default()
        };
        for group in touched.filter(|group| group.is_some() && !is_over(group, first_kept.as_ref())) {
            match (self.sum(group)?, self.written.get(group)) {
                (Some(sum), written) if is_of_others || written != Some(&Some(sum)) => {
                    changes.totals.push(total(group.clone(), sum));
                }
                (None, Some(_)) => changes.removed.extend(group.clone()),
                _ => {}
            }
        }
        let all = self.sum(&None)?.unwrap_or_default();
        changes.totals.push(total(None, all));
        Ok(changes)
    }

    /// The sum of a group, or of all. `None` if no partition has a total of it.
    fn sum(&self, group: &Option<String>) -> Result<Option<Accumulator>, Overflow> {
        let mut known = self.known().filter_map(|subtotal| subtotal.totals.get(group));
        known.try_fold(None, |sum, (_, part)| {
            Ok(Some(sum.unwrap_or_else(Accumulator::default).merge(*part)?))
        })
    }

    /// The farthest time of a partition of our computation.
    fn watermark(&self) -> Option<i64> {
        let ours = self.known().filter(|subtotal| subtotal.is_ours);
        ours.filter_map(|subtotal| subtotal.watermark).max()
    }

    /// What the first window is named whose total is kept.
    fn first_kept(&self) -> Option<Option<String>> {
        let (windows, watermark) = (self.windows?, self.watermark()?);
        Some(Some(window::name_of(windows.first_kept(watermark), None)))
    }

    fn windowed(&self, group: Option<&str>, watermark: Option<i64>) -> Windowed {
        let Some(windows) = self.windows else {
            return Windowed::No;
        };
        match group.and_then(window::parse) {
            Some((start, _)) => windows.window(start),
            None => Windowed::All(Progress {
                watermark,
                expired: None,
            }),
        }
    }

    fn known(&self) -> impl Iterator<Item = &Subtotal> {
        let subtotals = self.partitions.values();
        subtotals.filter(|subtotal| subtotal.next_offset.is_some())
    }

    fn offsets(&self) -> Offsets {
        let offset = |(partition, subtotal): (&i32, &Subtotal)| Some((*partition, subtotal.next_offset?));
        self.partitions.iter().filter_map(offset).collect()
    }
}

/// Names stand in the order of time.
fn is_over(group: &Option<String>, first_kept: Option<&Option<String>>) -> bool {
    first_kept.is_some_and(|first_kept| group < first_kept)
}

/// Grows with every total, because the offset of a partition never goes back.
fn version(offsets: &Offsets) -> i128 {
    offsets.values().map(|offset| i128::from(*offset)).sum()
}

#[cfg(test)]
mod tests;
