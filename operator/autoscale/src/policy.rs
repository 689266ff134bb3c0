//! What the user and the chart ask for.

use std::time::Duration;

use jiff::Timestamp;

use crate::schedule::{Recurring, Schedule};

/// What a group is scaled by.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub mode: Mode,
    pub basis: Basis,
    /// Fewest replicas.
    pub min_replicas: i32,
    /// Most replicas. The partition count is a further bound, and the stronger one.
    pub max_replicas: i32,
    /// Records of lag that one replica is given while it is not known how much it can do. At least 1.
    pub lag_per_replica: u64,
    /// Time between two commits of a worker.
    pub commits: Duration,
    /// How far the group may be behind, in time. Lag that would grow beyond it is acted on at once.
    pub max_lag: Duration,
    /// Time in which a backlog is to be worked off.
    pub catch_up: Duration,
    /// How busy replicas are to be, 0 to 1. The rest is room for more and for catching up.
    pub utilization: f64,
    /// How long fewer replicas must have been enough.
    pub scale_in_after: Duration,
    /// Other bounds at certain times.
    pub schedules: Vec<Schedule>,
    /// Times at which nothing is changed.
    pub freezes: Vec<Recurring>,
}

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Auto,
    /// They are only told.
    Recommend,
    /// None are made.
    Disabled,
}

/// What replicas are reckoned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Rates of arrival and of work; lag alone until those are known.
    Rates,
    /// Lag alone: for workers whose speed does not depend on how many there are, such as those that share a limit.
    Lag,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            basis: Basis::Rates,
            min_replicas: 1,
            max_replicas: 3,
            lag_per_replica: 10_000,
            commits: Duration::from_secs(2),
            max_lag: Duration::from_secs(30),
            catch_up: Duration::from_secs(120),
            utilization: 0.8,
            scale_in_after: Duration::from_secs(300),
            schedules: Vec::new(),
            freezes: Vec::new(),
        }
    }
}

impl Policy {
    /// Fewest and most replicas at this time. Where schedules overlap, the highest of their minima and of their maxima
    /// hold; the minimum is never above the maximum.
    pub fn bounds(&self, wall: Timestamp) -> (i32, i32) {
        let now = || self.schedules.iter().filter(|schedule| schedule.when.holds(wall));
        let min = now().filter_map(|schedule| schedule.min_replicas).max();
        let max = now().filter_map(|schedule| schedule.max_replicas).max();
        let max = max.unwrap_or(self.max_replicas).max(0);
        (min.unwrap_or(self.min_replicas).clamp(0, max), max)
    }

    /// Whether nothing is to be changed at this time.
    pub fn frozen(&self, wall: Timestamp) -> bool {
        self.freezes.iter().any(|freeze| freeze.holds(wall))
    }

    /// Up to this lag the minimum is enough, so that the exact lag makes no difference.
    pub fn negligible_lag(&self) -> u64 {
        self.lag_per_replica
            .saturating_mul(u64::try_from(self.min_replicas).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_replace_bounds_while_they_hold() {
        let recurring =
            |cron, hours: u64| Recurring::new(cron, "UTC", Duration::from_secs(hours * 3600)).unwrap();
        let policy = Policy {
            min_replicas: 1,
            max_replicas: 5,
            schedules: vec![
                Schedule {
                    when: recurring("0 8 * * *", 10),
                    min_replicas: Some(4),
                    max_replicas: None,
                },
                Schedule {
                    when: recurring("0 12 * * *", 2),
                    min_replicas: Some(2),
                    max_replicas: Some(9),
                },
                Schedule {
                    when: recurring("0 22 * * *", 2),
                    min_replicas: None,
                    max_replicas: Some(0),
                },
            ],
            freezes: vec![recurring("30 9 * * *", 1)],
            ..Policy::default()
        };
        // (time, bounds, frozen)
        let cases = [
            ("07:59", (1, 5), false),
            ("08:00", (4, 5), false),
            ("09:30", (4, 5), true),
            ("10:30", (4, 5), false),
            ("12:00", (4, 9), false),
            ("17:59", (4, 5), false),
            ("18:00", (1, 5), false),
            ("23:00", (0, 0), false),
        ];
        for (time, bounds, frozen) in cases {
            let wall: Timestamp = format!("2026-03-02T{time}:00Z").parse().unwrap();
            assert_eq!(
                (policy.bounds(wall), policy.frozen(wall)),
                (bounds, frozen),
                "{time}"
            );
        }
    }
}
