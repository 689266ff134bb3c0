//! What each key adds: read when partitions are assigned, written with their totals.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use naru_worker_core::kafka::consumer::{Assigned, GroupConsumer};
use naru_worker_core::kafka::transaction::Record;

use super::writer::Snapshot;
use super::{Error, Sum, Worker};
use crate::keys::Keys;
use crate::keys::record::{Mark, of_key, of_mark};
use crate::keys::topic::{FoundKeys, KeysTopic};
use crate::partition::PartitionTotals;
use crate::restore::Found;

/// Most keys that change between two commits, all partitions together: what a transaction takes well below a second for.
const CHANGES: usize = 20_000;
/// Most keys of partitions with more that go with one commit, also all together. More than change in between, so that they
/// become fewer: the fewer partitions have any left, the more each of them writes.
const ROOM: usize = 3 * CHANGES;
/// How long partitions that are given up are kept for keys that are left to be written.
const LEFT: Duration = Duration::from_secs(5);

/// How many keys of one partition may change before a commit, where so many of each other one have.
fn room_beside(others: impl Iterator<Item = usize>) -> usize {
    CHANGES.saturating_sub(others.sum())
}

/// How many keys go with a commit of each of so many partitions that have some left.
fn share(partitions: usize) -> usize {
    (ROOM / partitions.max(1)).max(1)
}

impl<'a> Worker<'a> {
    /// What the keys of the new partitions add; of none if each record counts.
    pub(super) fn restore_keys(
        &self,
        assigned: &[Assigned],
        found: &BTreeMap<i32, Found>,
        started: Instant,
    ) -> Result<BTreeMap<i32, FoundKeys>, Error> {
        let Some(topic) = &self.config.keys_topic else {
            return Ok(BTreeMap::new());
        };
        let topic = KeysTopic {
            kafka: &self.config.kafka,
            topic,
            context: self.context,
        };
        let expected = |one: &Assigned| found.get(&one.partition).and_then(Found::expects_keys);
        let partitions = assigned.iter().map(|one| (one.partition, expected(one)));
        Ok(topic.restore(&partitions.collect(), started)?)
    }

    /// How many keys of `partition` may change before a commit, beside those that have of the others. What is not written yet has
    /// no bound but the number of keys.
    pub(super) fn most_changes(&self, partition: i32) -> usize {
        let is_active = |(number, _): (i32, _)| number == partition;
        if self.config.keys_topic.is_none() || !self.active().any(is_active) {
            return usize::MAX;
        }
        let others = self.active().filter(|(number, _)| *number != partition);
        room_beside(others.map(|(_, totals)| totals.keys().map_or(0, Keys::changes)))
    }

    /// Whether there is as much as goes with one commit.
    pub(super) fn is_full(&self) -> bool {
        let changes = self.active().filter_map(|(_, totals)| totals.keys());
        self.dead_letters.is_full() || room_beside(changes.map(Keys::changes)) == 0
    }

    /// Chooses which keys go with the next commit, of those that do not all.
    pub(super) fn choose_keys(&mut self) {
        let keys = self.active().filter_map(|(_, totals)| totals.keys());
        let room = share(keys.filter(|keys| keys.has_left()).count());
        for partition in self.owned.iter_mut().flat_map(BTreeMap::values_mut) {
            if let Some(Sum::Active(totals)) = &mut partition.sum
                && let Some(keys) = totals.keys_mut()
            {
                keys.choose(room);
            }
        }
    }

    /// Puts the keys that go with the totals of `partition` into `snapshot`, and behind them how far they go.
    pub(super) fn put_keys(&self, partition: i32, totals: &PartitionTotals, snapshot: &mut Snapshot<'a>) {
        let (Some(topic), Some(keys)) = (&self.config.keys_topic, totals.keys()) else {
            return;
        };
        let record = |(key, value): (Vec<u8>, Option<Vec<u8>>)| Record {
            topic,
            partition: Some(partition),
            key: Some(key),
            value,
            headers: Vec::new(),
        };
        let chosen = keys.chosen();
        let chosen = chosen.map(|(key, added)| record(of_key(key, added.as_ref())));
        snapshot.parts.extend(chosen);
        let is_missing = keys.is_missing();
        let mark = Mark {
            next_offset: totals.next_offset(),
            is_missing,
            start: keys.start().filter(|_| is_missing),
        };
        snapshot.parts.push(record(of_mark(mark)));
    }

    /// Goes on committing for a while if keys of these partitions are left to be written: whoever takes over one that has some
    /// has to sum it anew.
    pub(super) fn write_keys_that_are_left(
        &mut self,
        consumer: &GroupConsumer,
        is_given_up: impl Fn(i32) -> bool,
    ) -> Result<(), Error> {
        let started = Instant::now();
        while has_keys_left(self.active(), &is_given_up)
            && self.aborted_since.is_none()
            && started.elapsed() < LEFT
        {
            let before = self.metrics.commits.get();
            self.commit(consumer)?;
            if self.metrics.commits.get() == before {
                // The partitions are lost.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Tells the metrics how many there are.
    pub(super) fn measure_keys(&self) {
        let owned = self.owned.iter().flat_map(BTreeMap::values);
        let keys = owned.filter_map(|partition| partition.totals()?.keys());
        let count = keys.map(Keys::len).sum::<usize>();
        self.metrics.keys.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// Whether one of these partitions has keys that are not written yet.
fn has_keys_left<'a>(
    mut all: impl Iterator<Item = (i32, &'a PartitionTotals)>,
    is_meant: impl Fn(i32) -> bool,
) -> bool {
    all.any(|(partition, totals)| is_meant(partition) && totals.keys().is_some_and(Keys::has_left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::Groups;

    #[test]
    fn one_busy_partition_among_many_has_all_the_room_and_together_they_have_no_more() {
        assert_eq!(room_beside([0; 49].into_iter()), CHANGES);
        assert_eq!(room_beside([100; 49].into_iter()), CHANGES - 4_900);
        assert_eq!(room_beside([CHANGES, 5].into_iter()), 0);
    }

    #[test]
    fn only_partitions_that_are_given_up_are_waited_for() {
        let totals =
            |number, keys: Keys| PartitionTotals::fresh(number, 0, Groups::new()).with_keys(Some(keys));
        let (left, written) = (totals(1, Keys::default().retired(0)), totals(2, Keys::default()));
        let owned = || [(1, &left), (2, &written)].into_iter();
        assert!(has_keys_left(owned(), |partition| partition == 1));
        assert!(!has_keys_left(owned(), |partition| partition == 2));
    }
}
