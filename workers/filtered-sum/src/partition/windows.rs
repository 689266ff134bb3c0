//! The windows of a partition: groups of records that end with the partition's time.
//!
//! The time of a partition is the largest one of its records that were summed, its watermark. So all that happens to a window
//! follows from the records before an offset, whoever reads them and whenever.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use snafu::ResultExt;

use super::{ApplyError, ApplySnafu, Group, PartitionTotals};
use crate::accumulator::{Accumulator, Overflow};
use crate::window::{self, AT_A_TIME, Progress, Tumbling, Windowed};

/// How the windows of a partition stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    rule: Tumbling,
    watermark: Option<i64>,
    /// What the windows held that are gone: count and sum.
    expired: Accumulator,
    /// What the totals of groups are named that are there, by where their window begins.
    names: BTreeMap<i64, Vec<Arc<str>>>,
    /// Totals of windows that are over, and that the output topic still has.
    over: VecDeque<Arc<str>>,
}

impl PartitionTotals {
    /// The same of a sum whose groups are windows, if it has a `rule`, which have come so far. Those of them that are over, and
    /// were too many for one commit, go with the next ones: what they held is in what has expired.
    pub fn in_windows(mut self, rule: Option<Tumbling>, progress: Progress) -> Self {
        let Some(rule) = rule else { return self };
        let mut names = BTreeMap::<_, Vec<_>>::new();
        for name in self.groups.keys() {
            if let Some((start, _)) = window::parse(name) {
                names.entry(start).or_default().push(Arc::clone(name));
            }
        }
        let first_kept = progress.watermark.map(|watermark| rule.first_kept(watermark));
        let kept = names.split_off(&first_kept.unwrap_or(i64::MIN));
        let over = names.into_values().flatten().collect::<VecDeque<_>>();
        for name in &over {
            self.groups.remove(name);
        }
        self.changed |= !over.is_empty();
        self.windows = Some(Box::new(Windows {
            rule,
            watermark: progress.watermark,
            expired: progress.expired.unwrap_or_default(),
            names: kept,
            over,
        }));
        self
    }

    /// Windows whose totals go with the next commit.
    pub(super) fn over(&self) -> impl Iterator<Item = &str> {
        let over = self.windows.iter().flat_map(|windows| &windows.over);
        over.take(AT_A_TIME).map(|name| &**name)
    }

    /// They have gone. Whether there are more.
    pub(super) fn leave_over(&mut self) -> bool {
        let Some(windows) = &mut self.windows else {
            return false;
        };
        windows.over.drain(..windows.over.len().min(AT_A_TIME));
        !windows.over.is_empty()
    }

    /// Records so far that came after their window was closed.
    pub fn late(&self) -> i64 {
        self.all.late
    }

    /// What the total of a group, or of all, says about windows.
    pub(super) fn windowed(&self, group: Option<&str>) -> Windowed {
        let Some(windows) = &self.windows else {
            return Windowed::No;
        };
        match group.and_then(window::parse) {
            Some((start, _)) => windows.rule.window(start),
            None => Windowed::All(Progress {
                watermark: windows.watermark,
                expired: Some(windows.expired),
            }),
        }
    }

    /// Adds the record at `offset` to its window, or counts it as late. After an error nothing has changed.
    pub(super) fn apply_windowed(
        &mut self,
        offset: i64,
        name: &str,
        (start, time): (i64, i64),
        value: Option<i128>,
    ) -> Result<bool, ApplyError> {
        let partition = self.partition;
        let Some(windows) = &mut self.windows else {
            let (group, outcome) = (Some(name), value);
            return self.apply(
                offset,
                super::Outcome::Summed {
                    group,
                    value: outcome,
                },
            );
        };
        let context = ApplySnafu { partition, offset };
        let closes = |watermark| windows.rule.is_closed(start, watermark);
        if windows.watermark.is_some_and(closes) {
            self.all = self.all.merge(Accumulator::late()).context(context)?;
        } else {
            let one = Accumulator::summed(value);
            let all = self.all.merge(one).context(context)?;
            let known = self.groups.get(name);
            let held = known.map_or_else(Accumulator::default, |group| group.accumulator);
            let held = held.merge(one).context(context)?;
            if windows.watermark.is_none_or(|watermark| watermark < time) {
                // The window of this record is not over: its time is in it.
                let first_kept = windows.rule.first_kept(time);
                if windows.has_before(first_kept) {
                    self.expire(first_kept).context(context)?;
                }
            }
            self.all = all;
            self.hold(name, start, held);
            if let Some(windows) = &mut self.windows {
                windows.watermark = windows.watermark.max(Some(time));
            }
        }
        self.next_offset = offset + 1;
        self.changed = true;
        Ok(true)
    }

    fn hold(&mut self, name: &str, start: i64, held: Accumulator) {
        // Only a new group costs memory.
        let group = match self.groups.get_mut(name) {
            Some(group) => group,
            None => {
                let group = Group::new(name, 0, Accumulator::default());
                if let Some(windows) = &mut self.windows {
                    let names = windows.names.entry(start).or_default();
                    names.push(Arc::clone(&group.name));
                }
                self.groups.entry(Arc::clone(&group.name)).or_insert(group)
            }
        };
        group.accumulator = held;
        if !group.changed {
            group.changed = true;
            self.changed_groups.push(Arc::clone(&group.name));
        }
    }

    /// Drops the windows that begin before `first_kept`. Those that the output topic has a total of go with the next commits.
    fn expire(&mut self, first_kept: i64) -> Result<(), Overflow> {
        let Some(windows) = &mut self.windows else {
            return Ok(());
        };
        let names = windows.names.range(..first_kept).flat_map(|(_, names)| names);
        let held = names.filter_map(|name| self.groups.get(name));
        windows.expired = held
            .map(|group| group.accumulator)
            .try_fold(windows.expired, Accumulator::merge)?;
        let kept = windows.names.split_off(&first_kept);
        for name in std::mem::replace(&mut windows.names, kept)
            .into_values()
            .flatten()
        {
            if self.groups.remove(&name).is_some_and(|group| group.written) {
                windows.over.push_back(name);
            }
        }
        self.changed_groups.retain(|name| self.groups.contains_key(name));
        Ok(())
    }
}

impl Windows {
    fn has_before(&self, start: i64) -> bool {
        self.names
            .first_key_value()
            .is_some_and(|(first, _)| *first < start)
    }
}

#[cfg(test)]
mod tests;
