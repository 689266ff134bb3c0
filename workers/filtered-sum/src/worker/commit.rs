//! Snapshots: what has changed since the last one, dead letters and offsets.

use std::time::{Duration, Instant};

use naru_contract::Progress;
use naru_worker_core::kafka::consumer::GroupConsumer;
use naru_worker_core::kafka::transaction::Record;
use snafu::ResultExt;
use tracing::{debug, info, warn};

use super::error::{AbortingSnafu, EncodeSnafu, OverallSnafu};
use super::writer::{Snapshot, Written};
use super::{Error, Sum, Worker};
use crate::identity::{self, Origin};
use crate::output::Tail;
use crate::overall::Changes;
use crate::partition::PartitionTotals;
use crate::total::{Scope, Total};

/// A session in which nothing is committed for this long gives way to a new one.
const PATIENCE: Duration = Duration::from_secs(60);

impl<'a> Worker<'a> {
    /// Commits what has changed, if anything. One that fails changes nothing in memory, so the next commit is a snapshot
    /// of what there is then.
    pub(super) fn commit(&mut self, consumer: &GroupConsumer) -> Result<(), Error> {
        self.write_again();
        self.choose_keys();
        let overall = self.overall()?;
        let mut snapshot = Snapshot {
            parts: Vec::new(),
            totals: Vec::new(),
            offsets: Vec::new(),
            progress: Progress {
                busy: self.busy.ratio(),
            },
        };
        for (partition, totals) in self.active() {
            // The overall total goes with the offset of partition 0, changed or not: whoever has lost the partition
            // can write neither.
            if totals.is_changed() || (partition == 0 && !overall.totals.is_empty()) {
                snapshot.offsets.push((partition, totals.next_offset()));
            }
            let scope = Scope::Partition {
                partition,
                next_offset: totals.next_offset(),
            };
            if totals.is_changed() {
                self.put_keys(partition, totals, &mut snapshot);
            }
            for group in totals.retired() {
                snapshot
                    .parts
                    .push(self.tombstone(partition, scope.id(Some(group))));
            }
            for total in totals.changes() {
                self.put(partition, &total, totals.origin(), &mut snapshot)?;
            }
        }
        if snapshot.offsets.is_empty() {
            return Ok(());
        }
        for group in &overall.removed {
            snapshot.parts.push(self.tombstone(0, format!("total/{group}")));
        }
        let origin = Origin {
            mixed: self.tail.as_ref().is_some_and(Tail::is_mixed),
            ..self.computation.identity.origin
        };
        for total in &overall.totals {
            self.put(0, total, origin, &mut snapshot)?;
        }
        let (input, dead) = (&self.config.input_topic, &self.config.dead_letter_topic);
        let letters = self.dead_letters.iter().map(|letter| letter.record(input, dead));
        snapshot.parts.extend(letters);
        let started = Instant::now();
        let written = self.writer.write(consumer, snapshot);
        let took = started.elapsed();
        self.busy.committed(took);
        self.metrics.commit_seconds.observe(took.as_secs_f64());
        match written? {
            Written::All => {
                self.committed(overall);
                Ok(())
            }
            Written::NotAll(reason) => self.aborted(reason),
            Written::Lost => {
                debug!("the partitions are lost: nothing more is written");
                Ok(())
            }
        }
    }

    /// Writes all totals again of partitions that were taken over from one who may have written after they were read, once
    /// it can do so no more.
    fn write_again(&mut self) {
        while let Some((at, partition)) = self.unfenced.front().copied()
            && Instant::now() >= at
        {
            self.unfenced.pop_front();
            if let Some(totals) = self.totals_mut(partition) {
                totals.write_again();
                if let Some(tail) = self.tail.as_mut().filter(|_| partition == 0) {
                    tail.write_again();
                }
            }
        }
    }

    fn committed(&mut self, overall: Changes) {
        self.metrics.commits.inc();
        self.aborted_since = None;
        self.backoff.reset();
        self.dead_letters.retain(|_| false);
        if let Some(tail) = &mut self.tail {
            overall.removed.into_iter().for_each(|group| tail.removed(group));
            overall.totals.into_iter().for_each(|total| tail.written(total));
        }
        for partition in self.owned.iter_mut().flat_map(|owned| owned.values_mut()) {
            if let Some(Sum::Active(totals)) = &mut partition.sum {
                totals.committed();
            }
        }
        self.measure_keys();
    }

    /// During a rebalance that is quite usual.
    fn aborted(&mut self, reason: String) -> Result<(), Error> {
        self.metrics.aborts.inc();
        warn!(%reason, "the totals were not committed, which will be tried again");
        let since = self.aborted_since.get_or_insert_with(Instant::now).elapsed();
        if since > PATIENCE {
            return AbortingSnafu { since, reason }.fail();
        }
        self.context.pause(self.backoff.next_delay());
        Ok(())
    }

    /// The overall totals that are to be written, if they are ours to write.
    fn overall(&mut self) -> Result<Changes, Error> {
        let is_ours = self.active().any(|(partition, _)| partition == 0);
        let Some(tail) = self.tail.as_mut().filter(|_| is_ours) else {
            return Ok(Changes::default());
        };
        let was_alone = tail.other().is_none();
        let changes = match tail.follow()? {
            Some(overall) => overall.changes().context(OverallSnafu)?,
            None => Changes::default(),
        };
        if was_alone != tail.other().is_none() {
            match tail.other() {
                Some(other) => warn!(other, "no overall total is written"),
                None => info!("all totals are of this sum again"),
            }
            self.report();
        }
        Ok(changes)
    }

    pub(super) fn active(&self) -> impl Iterator<Item = (i32, &PartitionTotals)> {
        let owned = self.owned.iter().flatten();
        owned.filter_map(|(number, partition)| match &partition.sum {
            Some(Sum::Active(totals)) => Some((*number, totals)),
            _ => None,
        })
    }

    fn put(
        &self,
        partition: i32,
        total: &Total,
        origin: Origin,
        snapshot: &mut Snapshot<'a>,
    ) -> Result<(), Error> {
        let record = self.record(partition, total, origin)?;
        match total.group {
            Some(_) => snapshot.parts.push(record),
            None => snapshot.totals.push(record),
        }
        Ok(())
    }

    fn record(&self, partition: i32, total: &Total, origin: Origin) -> Result<Record<'a>, Error> {
        // Whoever restores a partition, or goes on with the overall total, goes by this one of all groups. Without
        // transactions those of groups are not known to belong to it.
        let names_the_sum = total.group.is_none() || !self.writer.is_fenced();
        let identity = || self.computation.identity.with(origin);
        let header = names_the_sum.then(|| (identity::HEADER, identity().to_header()));
        Ok(Record {
            topic: &self.config.output_topic,
            partition: Some(partition),
            key: Some(total.id().into_bytes()),
            value: Some(total.encode(self.schema_id, self.form).context(EncodeSnafu)?),
            headers: header.into_iter().collect(),
        })
    }

    /// There is no total with this id any more.
    fn tombstone(&self, partition: i32, id: String) -> Record<'a> {
        Record {
            topic: &self.config.output_topic,
            partition: Some(partition),
            key: Some(id.into_bytes()),
            value: None,
            headers: Vec::new(),
        }
    }
}
