//! A consumer group on a topic, second by second.

use naru_autoscale::Partition;

use crate::shape::Shape;

/// Partitions of the topic.
pub const PARTITIONS: usize = 24;
/// Records per second that a pod can do.
pub const CAPACITY: f64 = 1000.0;
/// Seconds for which the whole group stands still when its members change.
pub const REBALANCE: u32 = 3;
/// Seconds between two commits.
pub const COMMIT: u32 = 2;
/// What arrives in a second is so much more or less than it should be.
const NOISE: f64 = 0.05;

/// What it is at one moment.
pub struct World {
    shape: Shape,
    pub second: u32,
    /// Pods that are asked for.
    pub replicas: i32,
    /// When each pod joins or has joined; as many as are asked for.
    joins: Vec<u32>,
    /// Members at the last second.
    members: usize,
    /// The group stands still until then.
    halted: u32,
    ends: Vec<f64>,
    done: Vec<f64>,
    committed: Vec<f64>,
    /// Produced while the brokers were down.
    held: f64,
    noise: u64,
    /// How busy the busiest pod was in this second, 0 to 1.
    pub busy: f64,
    /// Records that arrive per second, without noise.
    pub arrival: f64,
}

impl World {
    /// As many pods as the load at its beginning takes, working.
    pub fn new(shape: Shape) -> Self {
        let arrival = shape.at(0.0);
        let minute = (0..60).map(|second| shape.at(second.into())).sum::<f64>() / 60.0;
        let replicas = ((minute / CAPACITY / 0.8).ceil() as i32).max(shape.min_replicas);
        Self {
            shape,
            second: 0,
            replicas,
            joins: vec![0; replicas.max(0) as usize],
            members: replicas.max(0) as usize,
            halted: 0,
            ends: vec![0.0; PARTITIONS],
            done: vec![0.0; PARTITIONS],
            committed: vec![0.0; PARTITIONS],
            held: 0.0,
            noise: 1,
            busy: 0.0,
            arrival,
        }
    }

    /// Asks for so many pods from now on.
    pub fn scale(&mut self, replicas: i32) {
        self.replicas = replicas;
        let joins = self.second + self.shape.start;
        self.joins.resize(replicas.max(0) as usize, joins);
    }

    /// Pods that are members of the group.
    pub fn ready(&self) -> i32 {
        self.joins.iter().filter(|joins| **joins <= self.second).count() as i32
    }

    /// Are the brokers down?
    pub fn down(&self) -> bool {
        self.shape
            .outage
            .is_some_and(|(from, to)| (from..to).contains(&self.second))
    }

    /// What Kafka says. None while it is down.
    pub fn partitions(&self) -> Option<Vec<Partition>> {
        let pairs = self.ends.iter().zip(&self.committed);
        let seen = pairs.map(|(end, committed)| Partition::new(*committed as u64, *end as u64));
        (!self.down()).then(|| seen.collect())
    }

    /// Records that nobody has worked on yet.
    pub fn lag(&self) -> f64 {
        self.ends
            .iter()
            .zip(&self.done)
            .map(|(end, done)| end - done)
            .sum::<f64>()
            + self.held
    }

    /// Records that were worked on so far.
    pub fn worked(&self) -> f64 {
        self.done.iter().sum()
    }

    /// The fewest pods that keep up with what arrives now, the busiest of them, too.
    pub fn oracle(&self) -> i32 {
        let hot = self.shape.hot.unwrap_or(1.0 / PARTITIONS as f64);
        let other = (1.0 - hot) / (PARTITIONS - 1) as f64;
        let keeps_up = |pods: &i32| {
            let each = PARTITIONS.div_ceil(*pods as usize);
            self.arrival * (hot + (each - 1) as f64 * other) <= CAPACITY
        };
        let least = i32::from(self.arrival > 0.0).max(self.shape.min_replicas);
        let pods = (1..=PARTITIONS as i32).find(keeps_up);
        // None does if one partition is too much for a pod.
        pods.unwrap_or_else(|| (self.arrival / CAPACITY).ceil() as i32)
            .max(least)
    }

    /// The next second.
    pub fn step(&mut self) {
        self.arrival = self.shape.at(f64::from(self.second));
        self.produce();
        let members = self.ready() as usize;
        if members != self.members {
            self.members = members;
            self.halted = self.second + REBALANCE;
        }
        self.busy = 0.0;
        if !self.down() && self.second >= self.halted {
            for pod in 0..members {
                let mine: Vec<_> = (0..PARTITIONS).filter(|number| number % members == pod).collect();
                self.consume(&mine);
            }
        }
        self.second += 1;
        if self.second.is_multiple_of(COMMIT) && !self.down() {
            self.committed.clone_from(&self.done);
        }
    }

    fn produce(&mut self) {
        // Any numbers will do.
        self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let between = (self.noise >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0;
        self.held += self.arrival * (1.0 + NOISE * between);
        if self.down() {
            return;
        }
        let hot = self.shape.hot.unwrap_or(1.0 / PARTITIONS as f64);
        let other = (1.0 - hot) / (PARTITIONS - 1) as f64;
        for (number, end) in self.ends.iter_mut().enumerate() {
            *end += self.held * if number == 0 { hot } else { other };
        }
        self.held = 0.0;
    }

    /// One pod's second: it takes from each of its partitions in turn, so that the ones with little are done first.
    fn consume(&mut self, mine: &[usize]) {
        let mut left = CAPACITY;
        let mut waiting: Vec<(usize, f64)> = mine
            .iter()
            .map(|number| (*number, self.ends[*number] - self.done[*number]))
            .collect();
        waiting.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        for (number, (partition, waits)) in waiting.iter().enumerate() {
            let takes = waits.min(left / (waiting.len() - number) as f64);
            self.done[*partition] += takes;
            left -= takes;
        }
        self.busy = f64::max(self.busy, 1.0 - left / CAPACITY);
    }
}
