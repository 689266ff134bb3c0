//! KEDA's rule: the lag goes to a HorizontalPodAutoscaler, which divides it by a threshold.

use std::collections::VecDeque;

use crate::{
    rules::{Rule, Seen},
    world::PARTITIONS,
};

/// KEDA's `pollingInterval`, which matters from and to zero.
const POLL: u32 = 30;
/// KEDA's `cooldownPeriod`, to zero.
const COOLDOWN: u32 = 300;
/// The controller's sync period.
const SYNC: u32 = 15;
/// Of the ratio of what is to what should be.
const TOLERANCE: f64 = 0.1;
/// `stabilizationWindowSeconds` of scaling down.
const STABLE: u32 = 300;

pub struct Keda {
    min_replicas: i32,
    threshold: f64,
    /// What was wanted at each sync within the window.
    wanted: VecDeque<(u32, i32)>,
    active: u32,
}

impl Keda {
    /// A threshold of what a pod does in 10 s, which is also what naru gives a pod while it knows nothing.
    pub fn ten_seconds(min_replicas: i32) -> Box<dyn Rule> {
        Self::rule(min_replicas, 10_000.0)
    }

    /// The threshold that KEDA has if nothing is said.
    pub fn plain(min_replicas: i32) -> Box<dyn Rule> {
        Self::rule(min_replicas, 10.0)
    }

    fn rule(min_replicas: i32, threshold: f64) -> Box<dyn Rule> {
        Box::new(Self {
            min_replicas,
            threshold,
            wanted: VecDeque::new(),
            active: 0,
        })
    }

    /// The HorizontalPodAutoscaler, which has one pod at least.
    fn sync(&mut self, seen: &Seen, lag: f64) -> Option<i32> {
        let limit = PARTITIONS as i32;
        let lag = lag.min(f64::from(limit) * self.threshold);
        if self.wanted.is_empty() {
            // As the controller does when it begins.
            self.wanted.push_back((seen.second, seen.replicas));
        }
        let ratio = lag / (self.threshold * f64::from(seen.replicas));
        let near = (ratio - 1.0).abs() <= TOLERANCE;
        let desired = if near {
            seen.replicas
        } else {
            (lag / self.threshold).ceil() as i32
        };
        let desired = desired.clamp(self.min_replicas.max(1), limit);
        self.wanted.push_back((seen.second, desired));
        while self
            .wanted
            .front()
            .is_some_and(|(at, _)| at + STABLE < seen.second)
        {
            self.wanted.pop_front();
        }
        let stable = self
            .wanted
            .iter()
            .map(|(_, wanted)| *wanted)
            .max()
            .unwrap_or(desired);
        // Up by the larger of 100 % and 4 pods each 15 s, which is each sync.
        let most = (seen.replicas * 2).max(seen.replicas + 4);
        let to = if desired > seen.replicas {
            desired.min(most)
        } else {
            stable.min(seen.replicas)
        };
        (to != seen.replicas).then_some(to)
    }
}

impl Rule for Keda {
    fn tick(&mut self, seen: &Seen) -> Option<(i32, String)> {
        // Without a metric nothing is done.
        let lag = seen.lag()?;
        let why = format!("lag {lag:.0}");
        if seen.second.is_multiple_of(POLL) {
            if lag > 0.0 {
                self.active = seen.second;
                if seen.replicas == 0 {
                    self.wanted.clear();
                    return Some((self.min_replicas.max(1), why));
                }
            } else if self.min_replicas == 0 && seen.replicas > 0 && seen.second - self.active >= COOLDOWN {
                return Some((0, why));
            }
        }
        if !seen.second.is_multiple_of(SYNC) || seen.replicas == 0 {
            return None;
        }
        self.sync(seen, lag).map(|to| (to, why))
    }
}
