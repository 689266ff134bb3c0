//! How many workers there should be: observed here, decided by `naru_autoscale` with plain data, and carried out here.

pub mod observe;
pub mod run;
pub mod times;

pub use naru_autoscale::{
    Basis, Decision, Figures, History, Look, Mode, Obstacle, Partition, Policy, Verdict, Why, decide,
};

/// What a consumer group has before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lag {
    /// Records that the group has yet to work on.
    pub records: u64,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Each of them.
    pub offsets: Vec<Partition>,
    /// How much of its time a worker works rather than waits, 0 to 1, if the workers say.
    pub busy: Option<f64>,
}

impl Lag {
    fn of(offsets: Vec<Partition>) -> Self {
        Self {
            records: offsets
                .iter()
                .fold(0, |sum, partition| sum.saturating_add(partition.lag)),
            partitions: i32::try_from(offsets.len()).unwrap_or(i32::MAX),
            offsets,
            busy: None,
        }
    }
}
