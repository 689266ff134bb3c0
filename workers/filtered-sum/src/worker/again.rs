//! Messages that arrive again, since they had to wait.

use naru_worker_core::kafka::consumer::GroupConsumer;

use super::{Error, Worker};

impl Worker<'_> {
    /// Goes on with the partitions that waited for a schema that is known now.
    pub(super) fn learned(&mut self, consumer: &GroupConsumer) -> Result<(), Error> {
        let Some(partitions) = self.schemas.answered() else {
            return Ok(());
        };
        for partition in partitions {
            self.go_on(consumer, partition)?;
        }
        self.report();
        Ok(())
    }

    /// Lets the messages of `partition` arrive again, from the first one that its totals do not cover.
    pub(super) fn go_on(&mut self, consumer: &GroupConsumer, partition: i32) -> Result<(), Error> {
        if let Some(totals) = self.totals_mut(partition) {
            let next_offset = totals.next_offset();
            consumer.seek(partition, next_offset)?;
            consumer.resume(partition)?;
        }
        Ok(())
    }

    /// Lets the messages of `partition` that its totals do not cover come again with the next polls, if it is still ours.
    pub(super) fn read_again(&mut self, consumer: &GroupConsumer, partition: i32) -> Result<(), Error> {
        match self.totals_mut(partition).map(|totals| totals.next_offset()) {
            Some(next_offset) if consumer.member().is_some() => Ok(consumer.seek(partition, next_offset)?),
            _ => Ok(()),
        }
    }
}
