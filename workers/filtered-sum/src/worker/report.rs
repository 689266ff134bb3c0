//! What the world is told about a worker: its metrics, and whether it is ready.

use std::collections::BTreeMap;

use super::{Partition, Worker};
use crate::output::Tail;

impl Worker<'_> {
    /// Tells the world what is owned and whether all is well.
    pub(super) fn report(&self) {
        let count = |is: fn(&Partition) -> bool| {
            let owned = self.owned.iter().flat_map(BTreeMap::values);
            i64::try_from(owned.filter(|partition| is(partition)).count()).unwrap_or(i64::MAX)
        };
        self.metrics.assigned_partitions.set(count(|_| true));
        self.metrics
            .stopped_partitions
            .set(count(|partition| partition.stopped.is_some()));
        self.measure_catching_up();
        self.measure_keys();
        let Some(owned) = &self.owned else {
            return self
                .context
                .health
                .waiting_for("the consumer group to assign partitions");
        };
        let stopped = owned.values().filter_map(|partition| partition.stopped.as_ref());
        let stopped = stopped.map(|stopped| format!("somebody to help: {}", stopped.reason));
        let other = self.tail.as_ref().and_then(Tail::other);
        match stopped
            .chain(self.schemas.awaited())
            .chain(other.map(|reason| format!("somebody to help: {reason}")))
            .collect::<Vec<_>>()
            .as_slice()
        {
            [] => self.context.health.ready_but(self.progress().join("; ")),
            reasons => self.context.health.waiting_for(reasons.join("; ")),
        }
    }
}
