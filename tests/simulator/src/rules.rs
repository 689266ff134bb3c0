//! What a rule of scaling is.

use naru_autoscale::Partition;

/// What a rule sees, each second. It takes what it would have in a cluster, when it would have it.
pub struct Seen {
    pub second: u32,
    pub replicas: i32,
    pub ready: i32,
    /// None: Kafka is down.
    pub partitions: Option<Vec<Partition>>,
    /// Records worked on since the beginning, as the workers say.
    pub worked: f64,
    /// How busy the busiest pod is, 0 to 1, as the workers say.
    pub busy: f64,
}

impl Seen {
    /// Records between what is committed and the end.
    pub fn lag(&self) -> Option<f64> {
        let partitions = self.partitions.as_ref()?;
        Some(partitions.iter().map(|partition| partition.lag as f64).sum())
    }
}

/// A rule of scaling.
pub trait Rule {
    /// The pods that there should be from now on, if that is to change, and why.
    fn tick(&mut self, seen: &Seen) -> Option<(i32, String)>;
}

/// What a rule does, once it is set up.
pub struct Setup {
    pub name: &'static str,
    pub about: &'static str,
    /// One that the bars are held against.
    pub yardstick: bool,
    pub make: fn(min_replicas: i32) -> Box<dyn Rule>,
}
