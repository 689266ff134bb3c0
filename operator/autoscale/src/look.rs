//! What is seen of a group.

use std::time::Instant;

/// One look at a group of workers.
#[derive(Clone, Debug)]
pub struct Look {
    pub at: Instant,
    /// Replicas that the Deployment asks for.
    pub replicas: i32,
    /// Replicas that work.
    pub ready: i32,
    /// Why nothing is to be changed just now.
    pub obstacle: Option<Obstacle>,
    /// How much of its time a replica works rather than waits, 0 to 1, if the workers say.
    pub busy: Option<f64>,
    /// None: Kafka did not say.
    pub partitions: Option<Vec<Partition>>,
}

/// Partitions are on the move, or about to be: what is measured meanwhile is not what the group can do, and one more
/// change would only add to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The group shares out its partitions anew.
    Rebalancing,
    /// The Deployment replaces its pods.
    Rollout,
}

/// One partition of the topic that the group reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Where a `read_committed` reader ends.
    pub end: u64,
    /// Where the group goes on: what it has committed, or the start of the log.
    pub position: u64,
    /// Records between the two. Fewer than offsets, where transactions left markers.
    pub lag: u64,
}

impl Partition {
    /// Every offset before the end is a record.
    pub fn new(position: u64, end: u64) -> Self {
        Self {
            end,
            position,
            lag: end.saturating_sub(position),
        }
    }
}

impl Look {
    /// Lag of all partitions.
    pub fn lag(&self) -> Option<u64> {
        let partitions = self.partitions.as_ref()?;
        Some(
            partitions
                .iter()
                .fold(0, |sum, partition| sum.saturating_add(partition.lag)),
        )
    }

    /// Partitions of the topic.
    pub fn count(&self) -> Option<i32> {
        let partitions = self.partitions.as_ref()?;
        Some(i32::try_from(partitions.len()).unwrap_or(i32::MAX))
    }
}
