//! When now is not the time for a change.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::look::Obstacle;

/// The least time between two changes: partitions come to rest, and what was gained can be measured.
const LEAST_APART: Duration = Duration::from_secs(30);
/// The same, however long replicas take to start.
const MOST_APART: Duration = Duration::from_secs(300);
/// How long replicas that do not come to work hold up that there are fewer.
const STUCK: Duration = Duration::from_secs(300);
/// How long nothing is added after that gained nothing.
pub const BARREN: Duration = Duration::from_secs(1800);

/// What a change waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The group is being rearranged by somebody else.
    Obstacle(Obstacle),
    /// Not all replicas work yet.
    Starting { ready: i32, replicas: i32 },
    /// The last change is too recent.
    Recent { seconds: u64 },
    /// The last replicas that were added gained nothing.
    Ineffective,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Obstacle(Obstacle::Rebalancing) => write!(f, "the group is sharing out its partitions"),
            Self::Obstacle(Obstacle::Rollout) => write!(f, "a rollout is going on"),
            Self::Starting { ready, replicas } => write!(f, "only {ready} of {replicas} replicas work"),
            Self::Recent { seconds } => write!(f, "the last change was {seconds} s ago"),
            Self::Ineffective => write!(
                f,
                "the last replicas that were added did not make the group faster"
            ),
        }
    }
}

/// What guards look at.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    pub at: Instant,
    pub replicas: i32,
    pub ready: i32,
    pub obstacle: Option<Obstacle>,
    /// When the replicas were changed last.
    pub changed: Option<Instant>,
    /// How long after the last change there may be fewer, if that is longer than after any.
    pub apart: Duration,
    /// How long replicas take from being asked for to working.
    pub latency: Duration,
    /// Until when nothing is to be added.
    pub barren: Option<Instant>,
}

impl Situation {
    /// What more replicas wait for.
    pub fn out(&self) -> Option<Guard> {
        let ineffective = self.barren.is_some_and(|until| self.at < until);
        self.obstacle
            .map(Guard::Obstacle)
            .or_else(|| self.starting())
            .or_else(|| self.recent(Duration::ZERO))
            .or_else(|| ineffective.then_some(Guard::Ineffective))
    }

    /// What fewer replicas wait for. Some that never come to work do not keep the others.
    pub fn fewer(&self) -> Option<Guard> {
        let stuck = self
            .changed
            .is_none_or(|changed| self.at.saturating_duration_since(changed) > STUCK);
        self.obstacle
            .map(Guard::Obstacle)
            .or_else(|| self.starting().filter(|_| !stuck))
            .or_else(|| self.recent(self.apart))
    }

    fn starting(&self) -> Option<Guard> {
        (self.ready < self.replicas).then_some(Guard::Starting {
            ready: self.ready,
            replicas: self.replicas,
        })
    }

    fn recent(&self, apart: Duration) -> Option<Guard> {
        let ago = self.at.saturating_duration_since(self.changed?);
        let least = (self.latency * 3).clamp(LEAST_APART, MOST_APART).max(apart);
        (ago < least).then_some(Guard::Recent {
            seconds: ago.as_secs(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_wait_for_what_is_going_on() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let well = Situation {
            at: at(1000),
            replicas: 3,
            ready: 3,
            obstacle: None,
            changed: None,
            apart: Duration::ZERO,
            latency: Duration::from_secs(10),
            barren: None,
        };
        let (rebalancing, rollout) = (Obstacle::Rebalancing, Obstacle::Rollout);
        let starting = Guard::Starting {
            ready: 2,
            replicas: 3,
        };
        // (case, situation, what more replicas wait for, what fewer do)
        let cases = [
            ("nothing", well, None, None),
            (
                "a rebalance",
                Situation {
                    obstacle: Some(rebalancing),
                    ..well
                },
                Some(Guard::Obstacle(rebalancing)),
                Some(Guard::Obstacle(rebalancing)),
            ),
            (
                "a rollout comes before what it causes",
                Situation {
                    obstacle: Some(rollout),
                    ready: 2,
                    ..well
                },
                Some(Guard::Obstacle(rollout)),
                Some(Guard::Obstacle(rollout)),
            ),
            (
                "replicas that start",
                Situation {
                    ready: 2,
                    changed: Some(at(960)),
                    ..well
                },
                Some(starting),
                Some(starting),
            ),
            (
                "some that never will",
                Situation {
                    ready: 2,
                    changed: Some(at(600)),
                    ..well
                },
                Some(starting),
                None,
            ),
            (
                "a change just now",
                Situation {
                    changed: Some(at(971)),
                    ..well
                },
                Some(Guard::Recent { seconds: 29 }),
                Some(Guard::Recent { seconds: 29 }),
            ),
            (
                "one before",
                Situation {
                    changed: Some(at(970)),
                    ..well
                },
                None,
                None,
            ),
            (
                "fewer a while ago",
                Situation {
                    changed: Some(at(900)),
                    apart: Duration::from_secs(150),
                    ..well
                },
                None,
                Some(Guard::Recent { seconds: 100 }),
            ),
            (
                "replicas that are slow to start",
                Situation {
                    changed: Some(at(900)),
                    latency: Duration::from_secs(60),
                    ..well
                },
                Some(Guard::Recent { seconds: 100 }),
                Some(Guard::Recent { seconds: 100 }),
            ),
            (
                "ones that gained nothing",
                Situation {
                    barren: Some(at(1001)),
                    ..well
                },
                Some(Guard::Ineffective),
                None,
            ),
            (
                "long ago",
                Situation {
                    barren: Some(at(1000)),
                    ..well
                },
                None,
                None,
            ),
        ];
        for (case, situation, out, fewer) in cases {
            assert_eq!((situation.out(), situation.fewer()), (out, fewer), "{case}");
        }
    }
}
