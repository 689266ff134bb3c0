//! How many workers there should be: decided here with plain data, observed and carried out elsewhere.
//!
//! Out at once: lag is what people wait for. In only after a window in which fewer would always have been enough, and
//! then to the most that the window asked for: each change moves partitions, which costs work. What cannot be seen
//! changes nothing.

pub mod observe;
pub mod run;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What the user and the chart ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Fewest workers.
    pub min_replicas: i32,
    /// Most workers. The partition count is a further bound, and the stronger one.
    pub max_replicas: i32,
    /// Lag that one worker is given, records. At least 1.
    pub lag_per_replica: i64,
    /// How long fewer workers must have been enough.
    pub scale_in_after: Duration,
}

impl Policy {
    /// Up to this lag the minimum is enough, so that the exact lag makes no difference.
    pub fn negligible_lag(&self) -> u64 {
        let records = self.lag_per_replica.saturating_mul(self.min_replicas.into());
        u64::try_from(records).unwrap_or(0)
    }
}

/// What a consumer group has before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Records that the group has yet to work on.
    pub records: u64,
    /// Partitions of the topic.
    pub partitions: i32,
}

/// What was seen of a group of workers.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    pub at: Instant,
    /// Replicas that the Deployment asks for.
    pub replicas: i32,
    /// None: it could not be found out.
    pub lag: Option<Lag>,
}

/// What is to be done, and why, as a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Hold { reason: String },
    ScaleTo { replicas: i32, reason: String },
}

/// What was wanted before: the replicas for the lag of the looks that had data. Only what can still be the most that was
/// wanted within a window is kept, which are few numbers however long the window is.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The first of the looks without a longer gap, and the last.
    looks: Option<(Instant, Instant)>,
    /// Each is less than the one before, and was wanted later.
    falling: VecDeque<(Instant, i32)>,
}

impl History {
    /// Remembers what is wanted now. A look without data is no look: a gap of less than a window counts as what was
    /// seen around it, and after a longer one the window begins anew.
    pub fn remember(&mut self, policy: &Policy, seen: &Observation) {
        let Some(lag) = seen.lag else { return };
        let window = policy.scale_in_after;
        let age = |at: Instant| seen.at.saturating_duration_since(at);
        let first = match self.looks {
            Some((first, last)) if age(last) <= window => first,
            _ => {
                self.falling.clear();
                seen.at
            }
        };
        self.looks = Some((first, seen.at));
        let wanted = wanted(policy, lag);
        while self.falling.back().is_some_and(|(_, before)| *before <= wanted) {
            self.falling.pop_back();
        }
        self.falling.push_back((seen.at, wanted));
        while self.falling.front().is_some_and(|(at, _)| age(*at) > window) {
            self.falling.pop_front();
        }
    }

    /// The most that was wanted within the window that ends now. None if the looks do not reach back that far.
    fn most_wanted(&self, window: Duration, now: Instant) -> Option<i32> {
        let age = |at: Instant| now.saturating_duration_since(at);
        let (first, _) = self.looks?;
        if age(first) < window {
            return None;
        }
        let (_, most) = self.falling.iter().find(|(at, _)| age(*at) <= window)?;
        Some(*most)
    }
}

/// How many replicas there should be. `history` holds the looks before this one, or this one too.
pub fn decide(policy: &Policy, history: &History, seen: &Observation) -> Decision {
    let Some(lag) = seen.lag else {
        return Decision::Hold {
            reason: "the lag is not known".to_owned(),
        };
    };
    let now = wanted(policy, lag);
    let reason = format!(
        "lag {} over {} wants {}",
        lag.records,
        count(lag.partitions, "partition"),
        replicas(now)
    );
    let limit = most(policy, lag);
    if seen.replicas > limit {
        let reason = format!("{} are above the limit of {limit}", replicas(seen.replicas));
        return Decision::ScaleTo {
            replicas: limit,
            reason,
        };
    }
    if now > seen.replicas {
        return Decision::ScaleTo {
            replicas: now,
            reason,
        };
    }
    if now == seen.replicas {
        return Decision::Hold { reason };
    }
    let window = policy.scale_in_after;
    match history
        .most_wanted(window, seen.at)
        .map(|most_wanted| most_wanted.min(limit).max(now))
    {
        Some(enough) if enough < seen.replicas => Decision::ScaleTo {
            replicas: enough,
            reason: format!(
                "{reason}, and for {} s never more than {enough} were wanted",
                window.as_secs()
            ),
        },
        _ => Decision::Hold {
            reason: format!("{reason}, but not yet for {} s", window.as_secs()),
        },
    }
}

/// Replicas for this lag, within the bounds. Never less for more lag.
fn wanted(policy: &Policy, lag: Lag) -> i32 {
    let per_replica = u64::try_from(policy.lag_per_replica).unwrap_or(1).max(1);
    let needed = i32::try_from(lag.records.div_ceil(per_replica)).unwrap_or(i32::MAX);
    needed.max(policy.min_replicas).min(most(policy, lag))
}

/// A worker without a partition has nothing to do.
fn most(policy: &Policy, lag: Lag) -> i32 {
    policy.max_replicas.min(lag.partitions).max(0)
}

fn replicas(n: i32) -> String {
    count(n, "replica")
}

fn count(n: i32, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
