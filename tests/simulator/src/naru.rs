//! naru's own rule: it sees offsets every five seconds and how many pods are ready, and nothing else.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use naru_autoscale::{History, Look, Policy, decide};

use crate::{
    rules::{Rule, Seen},
    world::{CAPACITY, PARTITIONS},
};

const EVERY: u32 = 5;

pub struct Naru {
    start: Instant,
    policy: Policy,
    history: History,
}

impl Naru {
    /// With all settings as they are if nothing is said. What a pod can do is not known at the beginning.
    pub fn unknowing(min_replicas: i32) -> Box<dyn Rule> {
        Self::rule(min_replicas, History::default())
    }

    /// The same for a group that it has known for a while.
    pub fn knowing(min_replicas: i32) -> Box<dyn Rule> {
        Self::rule(min_replicas, History::with_capacity(Some(CAPACITY)))
    }

    fn rule(min_replicas: i32, history: History) -> Box<dyn Rule> {
        Box::new(Self {
            start: Instant::now(),
            policy: Policy {
                min_replicas,
                max_replicas: PARTITIONS as i32,
                ..Policy::default()
            },
            history,
        })
    }
}

impl Rule for Naru {
    fn tick(&mut self, seen: &Seen) -> Option<(i32, String)> {
        if !seen.second.is_multiple_of(EVERY) {
            return None;
        }
        let look = Look {
            at: self.start + Duration::from_secs(seen.second.into()),
            replicas: seen.replicas,
            ready: seen.ready,
            obstacle: None,
            busy: None,
            partitions: seen.partitions.clone(),
        };
        self.history.remember(&self.policy, &look);
        let decision = decide(&self.policy, &self.history, &look, Timestamp::UNIX_EPOCH);
        let to = decision.scale_to()?;
        self.history.changed(look.at, seen.replicas, to);
        Some((to, decision.to_string()))
    }
}
