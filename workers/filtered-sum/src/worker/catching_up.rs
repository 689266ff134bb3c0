//! Partitions that are summed anew beside totals of an earlier computation.

use std::time::{Duration, Instant};

use naru_worker_core::kafka::consumer::GroupConsumer;
use naru_worker_core::kafka::topic;
use tracing::info;

use super::{Error, Partition, Sum, Worker};
use crate::catch_up::{CatchUp, Superseded};
use crate::identity::Origin;
use crate::keys::Keys;
use crate::partition::PartitionTotals;

/// How often it is told how far they are.
const TELL: Duration = Duration::from_secs(1);

impl Worker<'_> {
    /// Begins `partition` at the start of its log.
    pub(super) fn sum_anew(
        &mut self,
        consumer: &GroupConsumer,
        partition: i32,
        superseded: Superseded,
        keys: Option<Keys>,
        origin: Origin,
    ) -> Result<(), Error> {
        let start = topic::log_starts(consumer.inner(), &self.config.input_topic, &[partition])?[0];
        let until = superseded.next_offset;
        info!(
            partition,
            start,
            until,
            "the totals are of earlier rules, or not all keys of them are known: they stay until the input is summed anew up to them"
        );
        let anew = CatchUp::new(partition, start, origin, superseded)
            .in_windows(self.computation.identity.windows())
            .with_keys(keys);
        consumer.seek(partition, start)?;
        self.owned
            .get_or_insert_default()
            .insert(partition, Partition::new(Sum::CatchingUp(Box::new(anew))));
        self.caught_up(partition);
        Ok(())
    }

    /// Lets the next commit replace the earlier totals of `partition`, if they have been caught up with.
    pub(super) fn caught_up(&mut self, partition: i32) {
        let owned = self.owned.as_mut();
        let Some(owned) = owned.and_then(|owned| owned.get_mut(&partition)) else {
            return;
        };
        let is_over = |sum: &mut Sum| matches!(sum, Sum::CatchingUp(anew) if anew.is_over());
        let Some(Sum::CatchingUp(anew)) = owned.sum.take_if(is_over) else {
            return;
        };
        let offset = anew.totals().next_offset();
        owned.sum = Some(Sum::Active(anew.finish()));
        info!(
            partition,
            offset, "the totals of earlier rules are caught up with, and are replaced"
        );
        self.report();
    }

    /// Partitions whose records are added up, with what they are added to.
    pub(super) fn summed(&self) -> impl Iterator<Item = (i32, &PartitionTotals)> {
        let owned = self.owned.iter().flatten();
        let summed = owned.filter(|(_, partition)| partition.stopped.is_none());
        summed.filter_map(|(number, partition)| Some((*number, partition.totals()?)))
    }

    /// How far the partitions are that catch up, a clause each.
    pub(super) fn progress(&self) -> Vec<String> {
        let clause = |(partition, anew): (i32, &CatchUp)| {
            let (done, all) = anew.progress();
            format!(
                "the totals of partition {partition} are of earlier rules until it is summed anew: {done} of {all} offsets"
            )
        };
        self.catching_up().map(clause).collect()
    }

    /// From time to time, as long as there is progress.
    pub(super) fn tell_progress(&mut self) {
        if self.told.elapsed() > TELL && self.catching_up().next().is_some() {
            self.told = Instant::now();
            self.report();
        }
    }

    /// Tells the metrics of it.
    pub(super) fn measure_catching_up(&self) {
        let (mut partitions, mut left) = (0, 0_i64);
        for (_, anew) in self.catching_up() {
            let (done, all) = anew.progress();
            partitions += 1;
            left = left.saturating_add(all - done);
        }
        self.metrics.catching_up_partitions.set(partitions);
        self.metrics.catching_up_offsets.set(left);
    }

    fn catching_up(&self) -> impl Iterator<Item = (i32, &CatchUp)> {
        let owned = self.owned.iter().flatten();
        owned.filter_map(|(number, partition)| match &partition.sum {
            Some(Sum::CatchingUp(anew)) => Some((*number, &**anew)),
            _ => None,
        })
    }
}
