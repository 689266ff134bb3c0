//! A group as the tests play it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use naru_autoscale::{Decision, History, Look, Obstacle, Partition, Policy, decide};

pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// A group that is looked at every five seconds.
pub(crate) struct Group {
    pub(crate) policy: Policy,
    pub(crate) history: History,
    pub(crate) at: Instant,
    pub(crate) wall: Timestamp,
    pub(crate) replicas: i32,
    pub(crate) ready: i32,
    pub(crate) obstacle: Option<Obstacle>,
    pub(crate) ends: Vec<f64>,
    pub(crate) positions: Vec<f64>,
}

impl Group {
    pub(crate) fn new(policy: Policy, replicas: i32, partitions: usize) -> Self {
        Self {
            policy,
            history: History::default(),
            at: Instant::now(),
            wall: "2026-03-02T12:00:00Z".parse().expect("a time"),
            replicas,
            ready: replicas,
            obstacle: None,
            ends: vec![1e6; partitions],
            positions: vec![1e6; partitions],
        }
    }

    /// The same, where a replica is known to do 1000/s.
    pub(crate) fn knowing(policy: Policy, replicas: i32, partitions: usize) -> Self {
        Self {
            history: History::with_capacity(Some(1000.0)),
            ..Self::new(policy, replicas, partitions)
        }
    }

    pub(crate) fn look(&mut self, seen: bool) -> Decision {
        let pairs = self.ends.iter().zip(&self.positions);
        let partitions = pairs
            .map(|(end, position)| Partition::new(*position as u64, *end as u64))
            .collect();
        let look = Look {
            at: self.at,
            replicas: self.replicas,
            ready: self.ready,
            obstacle: self.obstacle,
            busy: None,
            partitions: seen.then_some(partitions),
        };
        self.history.remember(&self.policy, &look);
        let decision = decide(&self.policy, &self.history, &look, self.wall);
        self.at += EVERY;
        self.wall += EVERY;
        decision
    }

    /// So much arrives and so much is worked on for five seconds, after which it is looked at.
    pub(crate) fn after(&mut self, arrive: f64, work: f64) -> Decision {
        let (count, seconds) = (self.ends.len() as f64, EVERY.as_secs_f64());
        for (end, position) in self.ends.iter_mut().zip(&mut self.positions) {
            *end += arrive * seconds / count;
            *position = (*position + work * seconds / count).min(*end);
        }
        self.look(true)
    }

    /// The same for this long; the last decision.
    pub(crate) fn during(&mut self, seconds: u32, arrive: f64, work: f64) -> Decision {
        (0..seconds / 5)
            .map(|_| self.after(arrive, work))
            .last()
            .expect("one look at least")
    }

    /// The decision is carried out, and the replicas work at once.
    pub(crate) fn obey(&mut self, decision: &Decision) -> bool {
        let Some(to) = decision.scale_to() else {
            return false;
        };
        self.history.changed(self.at - EVERY, self.replicas, to);
        (self.replicas, self.ready) = (to, to);
        true
    }
}

pub(crate) fn policy(min_replicas: i32, max_replicas: i32) -> Policy {
    Policy {
        min_replicas,
        max_replicas,
        ..Policy::default()
    }
}
