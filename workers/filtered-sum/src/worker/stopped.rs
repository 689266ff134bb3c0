//! Partitions to which nothing is added until somebody has helped.

use std::time::{Duration, Instant};

use naru_worker_core::kafka::consumer::GroupConsumer;
use tracing::error;

use super::{Error, Partition, Worker};

/// How often the record at which a partition has stopped is tried again: its schema may have been registered since.
const TRIAL: Duration = Duration::from_secs(10);

/// Why a partition has stopped.
pub(super) struct Stopped {
    pub(super) reason: String,
    since: Instant,
    /// The record is tried again. It is not over until that has gone well.
    pub(super) is_on_trial: bool,
}

impl Worker<'_> {
    /// Stops `partition` before its next record, or for good if it has no totals.
    pub(super) fn stop(
        &mut self,
        consumer: &GroupConsumer,
        partition: i32,
        reason: String,
    ) -> Result<(), Error> {
        consumer.pause(partition)?;
        let owned = self.owned.get_or_insert_default();
        let stopped = &mut owned
            .entry(partition)
            .or_insert(Partition {
                sum: None,
                stopped: None,
            })
            .stopped;
        if stopped.as_ref().is_none_or(|before| before.reason != reason) {
            error!(partition, %reason, "the partition is stopped");
        }
        *stopped = Some(Stopped {
            reason,
            since: Instant::now(),
            is_on_trial: false,
        });
        self.report();
        Ok(())
    }

    /// Tries again what has stopped at a record, every few seconds.
    pub(super) fn try_stopped(&mut self, consumer: &GroupConsumer) -> Result<(), Error> {
        let mut due = Vec::new();
        for (number, partition) in self.owned.iter_mut().flatten() {
            if let (Some(_), Some(stopped)) = (&partition.sum, &mut partition.stopped)
                && stopped.since.elapsed() > TRIAL
                // Its schema is asked for, and it goes on with the answer.
                && !self.schemas.is_awaited_by(*number)
            {
                stopped.since = Instant::now();
                stopped.is_on_trial = true;
                due.push(*number);
            }
        }
        if !due.is_empty() {
            self.schemas.judge.decoder.forget_unreadable();
        }
        for partition in due {
            self.go_on(consumer, partition)?;
        }
        Ok(())
    }
}
