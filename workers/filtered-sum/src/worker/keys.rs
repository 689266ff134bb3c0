//! What each key adds: read when partitions are assigned, written with their totals.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use naru_worker_core::kafka::consumer::{Assigned, GroupConsumer};
use naru_worker_core::kafka::transaction::Record;

use super::writer::Snapshot;
use super::{Error, Partition, Sum, Worker};
use crate::keys::Keys;
use crate::keys::record::{Mark, of_key, of_mark};
use crate::keys::topic::{FoundKeys, KeysTopic};
use crate::partition::PartitionTotals;
use crate::restore::Found;

/// Most keys that change between two commits, all partitions together: what a transaction takes well below a second for.
const CHANGES: usize = 20_000;
/// Most keys of partitions with more that go with one commit, also all together. More than change in between, so that they
/// become fewer.
const ROOM: usize = 3 * CHANGES;
/// How long partitions that are given up are kept for keys that are left to be written.
const LEFT: Duration = Duration::from_secs(5);

impl Partition {
    /// How many keys may change before a commit. What is not written yet has no bound but the number of keys.
    pub(super) fn most_changes(&self, partitions: usize) -> usize {
        match &self.sum {
            Some(Sum::Active(totals)) if totals.keys().is_some() => share(CHANGES, partitions),
            _ => usize::MAX,
        }
    }
}

fn share(of: usize, partitions: usize) -> usize {
    (of / partitions.max(1)).max(1)
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

    /// Chooses which keys go with the next commit, of those that do not all.
    pub(super) fn choose_keys(&mut self) {
        let room = share(ROOM, self.owned.as_ref().map_or(0, BTreeMap::len));
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
        let mark = Mark {
            next_offset: totals.next_offset(),
            is_missing: keys.is_missing(),
        };
        snapshot.parts.push(record(of_mark(mark)));
    }

    /// Goes on committing for a while if keys are left to be written: whoever takes over a partition that has some has to sum it
    /// anew.
    pub(super) fn write_keys_that_are_left(&mut self, consumer: &GroupConsumer) -> Result<(), Error> {
        let started = Instant::now();
        while self.has_keys_left() && self.aborted_since.is_none() && started.elapsed() < LEFT {
            let before = self.metrics.commits.get();
            self.commit(consumer)?;
            if self.metrics.commits.get() == before {
                // The partitions are lost.
                return Ok(());
            }
        }
        Ok(())
    }

    fn has_keys_left(&self) -> bool {
        let mut keys = self.active().filter_map(|(_, totals)| totals.keys());
        keys.any(Keys::has_left)
    }

    /// Tells the metrics how many there are.
    pub(super) fn measure_keys(&self) {
        let owned = self.owned.iter().flat_map(BTreeMap::values);
        let keys = owned.filter_map(|partition| partition.totals()?.keys());
        let count = keys.map(Keys::len).sum::<usize>();
        self.metrics.keys.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
