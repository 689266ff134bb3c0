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
    /// First and last id.
    pub(super) ids: (u64, u64),
}

/// What one transaction commits. `T` is what is known of a settled id.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot<'a, T> {
    pub(super) settled: Vec<&'a T>,
    pub(super) partitions: Vec<Committed>,
}

/// How far a partition is after a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) partition: i32,
    /// Offset of the first record that is not settled, or not wholly.
    pub(super) offset: i64,
    /// None as long as no range of the partition was ever worked on.
    pub(super) progress: Option<Progress>,
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
    /// As of the last commit.
    progress: Option<Progress>,
    /// What was committed last does not say yet what is known to be settled, without work.
    passed: bool,
    work: Option<Work<T>>,
}

impl<T> Partition<T> {
    /// The record at `offset` needs no work.
    fn pass(&mut self, offset: i64) {
        self.next_offset = offset + 1;
        self.passed = true;
    }

    fn news(&self, number: i32) -> Option<Committed> {
        match &self.work {
            Some(work) => work.has_news().then(|| work.committed(number, self.progress)),
            None => self.passed.then_some(Committed {
                partition: number,
                offset: self.next_offset,
                progress: self.progress,
            }),
        }
    }
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

    fn committed(&self, partition: i32, before: Option<Progress>) -> Committed {
        let offset = self.offset;
        let progress = match self.to {
            // There is news, so `next_id` is above the first id.
            Some(_) => Some(Progress {
                offset,
                done: self.next_id - 1,
            }),
            None => before.map(|Progress { done, .. }| Progress { offset, done }),
        };
        Committed {
            partition,
            offset: if self.is_finished() { offset + 1 } else { offset },
            progress,
        }
    }
}

impl<T> Ledger<T> {
    pub(super) const fn new() -> Self {
        Self {
            partitions: BTreeMap::new(),
            next_work: 0,
        }
    }

    /// A partition is ours and continues at `position`; `progress` was committed last.
    pub(super) fn assigned(&mut self, partition: i32, position: i64, progress: Option<Progress>) {
        self.partitions.insert(
            partition,
            Partition {
                next_offset: position,
                progress,
                passed: false,
                work: None,
            },
        );
    }

    /// A partition is ours and continues at `position`, of which nothing is known but that it was committed. The progress
    /// that this means is news.
    pub(super) fn assigned_at(&mut self, partition: i32, position: i64) {
        self.assigned(partition, position, Some(Progress::before(position)));
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.passed = true;
        }
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

    /// A range arrived. None when it is not to be worked on now: it is settled or was taken up already, the
    /// partition is not ours, or another range of it is being worked on.
    pub(super) fn range(&mut self, partition: i32, offset: i64, range: Range) -> Option<Task> {
        let state = self.free(partition, offset)?;
        let first = match state.progress {
            None => Some(range.from),
            Some(progress) => progress.first_unsettled(offset, range),
        };
        let Some(first) = first else {
            state.pass(offset);
            return None;
        };
        let work = self.take_up(partition, offset, first, Some(range.to), Vec::new())?;
        Some(Task {
            work,
            partition,
            ids: (first, range.to),
        })
    }

    /// A message arrived that is no range; `settled` says so and is committed together with its offset. False when
    /// there is nothing to do, as with [`Self::range`].
    pub(super) fn no_range(&mut self, partition: i32, offset: i64, settled: T) -> bool {
        let Some(state) = self.free(partition, offset) else {
            return false;
        };
        if state.progress.is_some_and(|progress| offset <= progress.offset) {
            state.pass(offset);
            return false;
        }
        self.take_up(partition, offset, 0, None, vec![settled]).is_some()
    }

    /// The partition, if it can take up the record at `offset`.
    fn free(&mut self, partition: i32, offset: i64) -> Option<&mut Partition<T>> {
        let state = self.partitions.get_mut(&partition)?;
        (offset >= state.next_offset && state.work.is_none()).then_some(state)
    }

    fn take_up(
        &mut self,
        partition: i32,
        offset: i64,
        next_id: u64,
        to: Option<u64>,
        settled: Vec<T>,
    ) -> Option<WorkId> {
        let id = WorkId(self.next_work);
        let state = self.free(partition, offset)?;
        state.next_offset = offset + 1;
        state.work = Some(Work {
            id,
            offset,
            next_id,
            to,
            settled,
        });
        self.next_work += 1;
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

    /// An idle partition has news.
    pub(super) fn has_passed(&self) -> bool {
        let mut idle = self
            .partitions
            .values()
            .filter(|partition| partition.work.is_none());
        idle.any(|partition| partition.passed)
    }

    /// All news, for one transaction.
    pub(super) fn snapshot(&self) -> Snapshot<'_, T> {
        let partitions = self
            .partitions
            .iter()
            .filter_map(|(number, partition)| partition.news(*number));
        let news = self.works().filter(|(_, work)| work.has_news());
        Snapshot {
            partitions: partitions.collect(),
            settled: news.flat_map(|(_, work)| &work.settled).collect(),
        }
    }

    /// The snapshot, which nothing was added to, is committed. Gives the partitions that can take up another range.
    pub(super) fn committed(&mut self) -> Vec<i32> {
        let mut free = Vec::new();
        for (number, partition) in &mut self.partitions {
            if let Some(Committed { progress, .. }) = partition.news(*number) {
                partition.progress = progress;
                partition.passed = false;
            }
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
