//! What is remembered of a group between looks, and what follows from the last of them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    capacity::{Capacity, ENOUGH_TO_MEASURE_S, Stretch, flat_out},
    demand::{Demand, Load},
    guard::{BARREN, Situation},
    look::{Look, Partition},
    policy::{Basis, Policy},
    samples::Samples,
    window::Wanted,
};

/// Replicas take so long to work while nobody has seen any start, seconds.
const LATENCY_S: f64 = 10.0;
/// Starts that are remembered.
const STARTS: usize = 4;
/// Growth of what arrives is taken to go on for so long when replicas are added, seconds.
const FORESIGHT_S: f64 = 90.0;
/// A rate over a minute is that of half a minute ago, seconds.
const LATE_S: f64 = 30.0;
/// The busiest replica is too busy from here on.
const TOO_BUSY: f64 = 0.9;
/// A backlog that takes so many times longer than it may is too large for the replicas that there are.
const TOO_SLOW: f64 = 1.5;
/// Replicas for a backlog are kept this long after it is gone. Those for what arrives are kept for the whole window.
const AFTER_BACKLOG: Duration = Duration::from_secs(60);
/// What would be enough is acted on once it has been the same for so long: what falls step by step is followed in one.
const SETTLED: Duration = Duration::from_secs(30);
/// Replicas have gained something if there is at least this part of what they should have (Flink's 0.1).
const GAIN: f64 = 0.1;
/// How long the gain is measured, seconds.
const TRIAL_S: f64 = 25.0;
/// Until it is known what one can do, there are never more than so many times as many.
const PROBE: i32 = 4;

/// What is remembered of a group.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: Samples,
    capacity: Capacity,
    /// Wanted for what arrives.
    steady: Wanted,
    /// Wanted for what waits, too.
    all: Wanted,
    /// What would be enough, and since when.
    enough: Option<(i32, Instant)>,
    change: Option<Change>,
    /// How long the last starts took, seconds.
    starts: VecDeque<f64>,
    /// Until when more replicas are no use.
    barren: Option<Instant>,
    pub(crate) latest: Option<Assessment>,
}

/// The last change of replicas.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: Instant,
    from: i32,
    to: i32,
    /// All of them work.
    started: bool,
    /// Records per second of the group before, working flat out, until the gain is known.
    before: Option<f64>,
}

/// What a look says. Replicas are bounded by the partitions, and not yet by the policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assessment {
    pub(crate) at: Instant,
    pub(crate) arrival: f64,
    pub(crate) consumption: f64,
    pub(crate) capacity: Option<f64>,
    /// Wanted now.
    pub(crate) wanted: i32,
    pub(crate) pressure: Option<Pressure>,
    pub(crate) skewed: bool,
    /// The most that was wanted for what arrives, and for what waits, within their windows. None: not seen for so long.
    pub(crate) enough: Option<Enough>,
    pub(crate) situation: Situation,
}

/// Replicas that would have been enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enough {
    pub(crate) replicas: i32,
    /// It does not change any more.
    pub(crate) settled: bool,
}

/// Why more replicas are needed, if they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    /// Lag would be beyond what is allowed before more replicas work.
    Behind,
    /// The busiest replica has no room left.
    Busy,
    /// The backlog takes too long.
    Slow,
    /// There is so much lag, and no more is known.
    Lag,
}

impl History {
    /// A group of which it was once found out what a replica can do, records per second.
    pub fn with_capacity(per_replica: Option<f64>) -> Self {
        Self {
            capacity: Capacity::known(per_replica),
            ..Self::default()
        }
    }

    /// Records per second that one replica can do, if that is known.
    pub fn capacity(&self) -> Option<f64> {
        self.capacity.per_replica()
    }

    /// How long replicas take from being asked for to working: the longest of the last few.
    pub fn latency(&self) -> Duration {
        let longest = self.starts.iter().copied().reduce(f64::max);
        Duration::from_secs_f64(longest.unwrap_or(LATENCY_S))
    }

    /// The replicas were changed.
    pub fn changed(&mut self, at: Instant, from: i32, to: i32) {
        let flat = self
            .latest
            .as_ref()
            .and_then(|latest| latest.pressure.map(|_| latest.consumption));
        self.change = Some(Change {
            at,
            from,
            to,
            started: to <= from,
            before: flat.filter(|_| to > from && from > 0),
        });
    }

    /// From now on other partitions count: rates of before say nothing of them.
    pub fn count_anew(&mut self) {
        self.samples.clear();
    }

    /// Takes in a look. One without data is none.
    pub fn remember(&mut self, policy: &Policy, look: &Look) {
        let Some(partitions) = look.partitions.as_deref() else {
            self.latest = None;
            return;
        };
        let before = self.latest.take();
        self.samples.add(look);
        self.starting(look);
        let stretch = flat_out(&self.samples, partitions, policy.commits.as_secs_f64());
        let doubted = self.change.is_some_and(|change| change.before.is_some());
        self.capacity
            .learn(look, &self.samples, stretch.as_ref(), doubted);
        self.gain(look.at, stretch.as_ref(), doubted);
        let mut now = match (self.capacity.per_replica(), policy.basis) {
            (Some(capacity), Basis::Rates) => self.by_rates(policy, look, partitions, stretch, capacity),
            _ => self.by_lag(policy, look, before.as_ref()),
        };
        let backlog_window = policy.scale_in_after.min(AFTER_BACKLOG);
        self.steady.remember(policy.scale_in_after, look.at, now.steady);
        self.all.remember(backlog_window, look.at, now.said.wanted);
        let steady = self.steady.most(policy.scale_in_after, look.at);
        let all = self.all.most(backlog_window, look.at);
        let enough = steady.zip(all).map(|(steady, all)| steady.max(all));
        let before = self.enough.filter(|(before, _)| Some(*before) == enough);
        self.enough = enough.map(|enough| before.unwrap_or((enough, look.at)));
        now.said.enough = self.enough.map(|(enough, since)| Enough {
            replicas: enough,
            settled: look.at.saturating_duration_since(since) >= SETTLED,
        });
        self.latest = Some(now.said);
    }

    /// From rates of arrival and work.
    fn by_rates(
        &self,
        policy: &Policy,
        look: &Look,
        partitions: &[Partition],
        stretch: Option<Stretch>,
        capacity: f64,
    ) -> Said {
        let mut said = self.said(policy, look);
        let growth = self.samples.growth(self.change.map(|change| change.at));
        let latency = self.latency().as_secs_f64();
        let shares = self.samples.shares();
        let lag: f64 = partitions.iter().map(|partition| partition.lag as f64).sum();
        // While it works flat out, the stretch since it does is what counts: a minute has the time before in it.
        let rising = stretch.filter(|stretch| stretch.arrival > stretch.consumption);
        let (arrival, more) = match rising {
            Some(stretch) => (stretch.arrival, (stretch.arrival - stretch.consumption) * latency),
            // All that waits has come since somebody looked last.
            None if look.replicas == 0 => (self.samples.newest_arrival(), 0.0),
            None => (said.arrival, 0.0),
        };
        let backlog: Vec<f64> = partitions
            .iter()
            .zip(&shares)
            .map(|(partition, share)| partition.lag as f64 + more * share)
            .collect();
        let load = |arrival: f64, backlog| Load {
            arrival,
            shares: &shares,
            backlog,
            catch_up: policy.catch_up.as_secs_f64().max(1.0),
            utilization: policy.utilization,
            capacity,
        };
        // More are added later if it was too few, and taken away much later if it was too many.
        let at_best = |arrival: f64, backlog| Load {
            capacity: self.capacity.at_best().unwrap_or(capacity),
            ..load(arrival, backlog)
        };
        let steady = at_best(said.arrival + growth * FORESIGHT_S, &[]).demand();
        let all = at_best(arrival, &backlog).demand();
        let soon = load(said.arrival + growth * (LATE_S + latency), &[]);
        let can = f64::from(look.ready.max(look.replicas)) * capacity;
        let behind =
            rising.is_some_and(|stretch| (lag + more) / stretch.consumption > policy.max_lag.as_secs_f64());
        let left = (can - said.arrival).max(capacity * 0.01);
        let slow = said.consumption > 0.0
            && lag / can.max(1.0) > policy.max_lag.as_secs_f64()
            && lag / left > policy.catch_up.as_secs_f64() * TOO_SLOW;
        said.pressure = if behind {
            Some(Pressure::Behind)
        } else if soon.busiest(look.replicas) > TOO_BUSY {
            Some(Pressure::Busy)
        } else if slow {
            Some(Pressure::Slow)
        } else {
            None
        };
        said.skewed = steady.skewed || all.skewed;
        self.conclude(said, look, all, steady)
    }

    fn conclude(&self, mut said: Assessment, look: &Look, all: Demand, steady: Demand) -> Said {
        let least = i32::from(said.arrival > 0.0 || look.lag().is_some_and(|lag| lag > 0));
        said.wanted = all.replicas.max(steady.replicas).max(least);
        Said {
            said,
            steady: steady.replicas.max(least),
        }
    }

    /// From lag alone: it is not known what one can do, or does not matter.
    fn by_lag(&self, policy: &Policy, look: &Look, before: Option<&Assessment>) -> Said {
        let mut said = self.said(policy, look);
        let needed = |lag: u64| {
            let needed = lag.div_ceil(policy.lag_per_replica.max(1));
            i32::try_from(needed)
                .unwrap_or(i32::MAX)
                .min(look.count().unwrap_or(0))
        };
        let lag = look.lag().unwrap_or(0);
        let mut wanted = needed(lag);
        let mut steady = wanted;
        if policy.basis == Basis::Rates {
            // A second look may know more, and lag that is gone by then needs nobody.
            let again = before.is_some_and(|before| before.wanted > look.replicas);
            // By then it is known what one can do, if they do anything.
            let behind = lag as f64 > 2.0 * ENOUGH_TO_MEASURE_S * said.consumption;
            said.pressure = (wanted > look.replicas && again && behind).then_some(Pressure::Lag);
            if look.replicas > 0 {
                wanted = wanted.min(look.replicas.saturating_mul(PROBE));
            }
            // They keep up, and perhaps half of them would: that shows what they can do, if not.
            let half = (look.replicas + 1) / 2;
            steady = steady.max(if said.arrival > 0.0 { half } else { 0 });
        } else {
            said.pressure = (wanted > look.replicas).then_some(Pressure::Lag);
        }
        said.wanted = wanted;
        Said { said, steady }
    }

    fn said(&self, policy: &Policy, look: &Look) -> Assessment {
        Assessment {
            at: look.at,
            arrival: self.samples.arrival().unwrap_or(0.0).max(0.0),
            consumption: self.samples.consumption().unwrap_or(0.0).max(0.0),
            capacity: self.capacity.per_replica(),
            wanted: 0,
            pressure: None,
            skewed: false,
            enough: None,
            situation: Situation {
                at: look.at,
                replicas: look.replicas,
                ready: look.ready,
                obstacle: look.obstacle,
                changed: self.change.map(|change| change.at),
                apart: self.apart(policy),
                latency: self.latency(),
                barren: self.barren,
            },
        }
    }

    /// After replicas were taken away, more are not at once.
    fn apart(&self, policy: &Policy) -> Duration {
        let fewer = self.change.is_some_and(|change| change.to < change.from);
        if fewer {
            policy.scale_in_after / 2
        } else {
            Duration::ZERO
        }
    }

    /// How long did the last replicas take to work?
    fn starting(&mut self, look: &Look) {
        let Some(change) = self.change.as_mut().filter(|change| !change.started) else {
            return;
        };
        if look.ready >= change.to && look.obstacle.is_none() {
            change.started = true;
            if self.starts.len() >= STARTS {
                self.starts.pop_front();
            }
            let took = look.at.saturating_duration_since(change.at);
            self.starts.push_back(took.as_secs_f64());
        }
    }

    /// Did the last replicas that were added make the group faster?
    fn gain(&mut self, at: Instant, stretch: Option<&Stretch>, doubted: bool) {
        let Some(change) = self.change.as_mut().filter(|change| change.started) else {
            return;
        };
        let (Some(before), true) = (change.before, doubted) else {
            return;
        };
        match stretch {
            Some(now) if now.replicas < change.to || now.seconds < TRIAL_S => {}
            Some(now) => {
                let due = f64::from(change.to) / f64::from(change.from) - 1.0;
                if now.consumption / before - 1.0 < GAIN * due {
                    self.barren = Some(at + BARREN);
                }
                change.before = None;
            }
            // It keeps up.
            None => {
                if self.samples.back().next().is_some_and(|last| last.calm)
                    && at.saturating_duration_since(change.at).as_secs_f64() > TRIAL_S * 4.0
                {
                    change.before = None;
                }
            }
        }
    }
}

/// What a look says, and how many replicas what arrives takes.
struct Said {
    said: Assessment,
    steady: i32,
}
