//! Which range each owned partition works on, and what of it is settled but not committed.
//!
//! Pure: the fetcher's thread tells it what happened and asks it what to commit. It accepts the ids of a range only
//! in order, so what a commit holds is always the next stretch of each range, and a restart continues right after
//! the last commit.

use std::collections::BTreeMap;

use crate::frontier::{Progress, Range};

/// One range, once taken up. Results carry it, so that those of work that was dropped are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WorkId(u64);

/// Work that is to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) work: WorkId,
    pub(super) partition: i32,
    /// First and last id; none when there is nothing left to do but to commit.
    pub(super) ids: Option<(u64, u64)>,
}

/// What one transaction commits. `T` is what is known of a settled id.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot<'a, T> {
    pub(super) settled: Vec<&'a T>,
    /// Partition, offset and metadata.
    pub(super) offsets: Vec<(i32, i64, String)>,
}

#[derive(Debug)]
pub(super) struct Ledger<T> {
    partitions: BTreeMap<i32, Partition<T>>,
    next_work: u64,
}

#[derive(Debug)]
struct Partition<T> {
    /// Offset of the next message to be taken up.
    next_offset: i64,
    /// Progress in the range at this offset.
    progress: Option<(i64, Progress)>,
    work: Option<Work<T>>,
}

#[derive(Debug)]
struct Work<T> {
    id: WorkId,
    offset: i64,
    /// First id that is not settled; after `to` when all are.
    next_id: u64,
    /// None for a message that is no range.
    to: Option<u64>,
    /// Settled, not committed, in order.
    settled: Vec<T>,
}

impl<T> Work<T> {
    fn is_finished(&self) -> bool {
        self.to.is_none_or(|to| self.next_id > to)
    }

    fn has_news(&self) -> bool {
        self.is_finished() || !self.settled.is_empty()
    }
}

impl<T> Ledger<T> {
    pub(super) const fn new() -> Self {
        Self {
            partitions: BTreeMap::new(),
            next_work: 0,
        }
    }

    /// A partition is ours and continues at `position`, beside which `metadata` was committed.
    pub(super) fn assigned(&mut self, partition: i32, position: i64, metadata: Option<&str>) {
        let progress = metadata
            .and_then(Progress::parse)
            .map(|progress| (position, progress));
        self.partitions.insert(
            partition,
            Partition {
                next_offset: position,
                progress,
                work: None,
            },
        );
    }

    /// A partition is not ours any more.
    pub(super) fn revoked(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    pub(super) fn assigned_count(&self) -> usize {
        self.partitions.len()
    }

    /// A range of the partition is worked on or not committed.
    pub(super) fn is_busy(&self, partition: i32) -> bool {
        self.partitions
            .get(&partition)
            .is_some_and(|partition| partition.work.is_some())
    }

    /// A range arrived. None when it is not to be worked on now: it was taken up already, the partition is not
    /// ours, or another range of it is being worked on.
    pub(super) fn range(&mut self, partition: i32, offset: i64, range: Range) -> Option<Task> {
        let progress = self.partitions.get(&partition)?.progress;
        let done = progress
            .filter(|(at, _)| *at == offset)
            .map(|(_, progress)| progress.done);
        let from = done.map_or(range.from, |done| done.saturating_add(1).max(range.from));
        let work = self.take_up(partition, offset, from, Some(range.to), Vec::new())?;
        Some(Task {
            work,
            partition,
            ids: (from <= range.to).then_some((from, range.to)),
        })
    }

    /// A message arrived that is no range; `settled` says so and is committed together with its offset.
    pub(super) fn no_range(&mut self, partition: i32, offset: i64, settled: T) -> bool {
        self.take_up(partition, offset, 0, None, vec![settled]).is_some()
    }

    fn take_up(
        &mut self,
        partition: i32,
        offset: i64,
        next_id: u64,
        to: Option<u64>,
        settled: Vec<T>,
    ) -> Option<WorkId> {
        let state = self.partitions.get_mut(&partition)?;
        if offset < state.next_offset || state.work.is_some() {
            return None;
        }
        let id = WorkId(self.next_work);
        self.next_work += 1;
        state.next_offset = offset + 1;
        state.work = Some(Work {
            id,
            offset,
            next_id,
            to,
            settled,
        });
        Some(id)
    }

    /// `id` is settled. False when its work was dropped or it is not the next id of the range: it is not counted.
    pub(super) fn settled(&mut self, work: WorkId, id: u64, what: T) -> bool {
        let works = self
            .partitions
            .values_mut()
            .filter_map(|partition| partition.work.as_mut());
        match works.into_iter().find(|candidate| candidate.id == work) {
            Some(work) if work.next_id == id && !work.is_finished() => {
                work.next_id += 1;
                work.settled.push(what);
                true
            }
            _ => false,
        }
    }

    /// Ids that are settled but not committed.
    pub(super) fn uncommitted(&self) -> usize {
        self.works().map(|(_, work)| work.settled.len()).sum()
    }

    /// A range is finished and its partition idle until that is committed.
    pub(super) fn has_finished(&self) -> bool {
        self.works().any(|(_, work)| work.is_finished())
    }

    /// All news, for one transaction.
    pub(super) fn snapshot(&self) -> Snapshot<'_, T> {
        let news = self.works().filter(|(_, work)| work.has_news());
        let offsets = news.clone().map(|(partition, work)| {
            if work.is_finished() {
                (partition, work.offset + 1, String::new())
            } else {
                // There is news, so `next_id` is above the first id.
                (
                    partition,
                    work.offset,
                    Progress {
                        done: work.next_id - 1,
                    }
                    .to_json(),
                )
            }
        });
        Snapshot {
            offsets: offsets.collect(),
            settled: news.flat_map(|(_, work)| &work.settled).collect(),
        }
    }

    /// The snapshot, which nothing was added to, is committed. Gives the partitions that can take up another range.
    pub(super) fn committed(&mut self) -> Vec<i32> {
        let mut free = Vec::new();
        for (number, partition) in &mut self.partitions {
            if let Some(work) = &mut partition.work {
                work.settled.clear();
                if work.is_finished() {
                    partition.work = None;
                    free.push(*number);
                }
            }
        }
        free
    }

    fn works(&self) -> impl Iterator<Item = (i32, &Work<T>)> + Clone {
        self.partitions
            .iter()
            .filter_map(|(number, partition)| Some((*number, partition.work.as_ref()?)))
    }
}

#[cfg(test)]
mod tests;
