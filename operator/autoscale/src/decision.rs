//! The decision.

use std::fmt;

use jiff::Timestamp;

use crate::{
    guard::Guard,
    history::{Assessment, History, Pressure},
    look::Look,
    policy::{Basis, Mode, Policy},
};

/// What is to be done, why, and from which figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub verdict: Verdict,
    pub why: Why,
    /// None: nothing was seen.
    pub figures: Option<Figures>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Hold,
    ScaleTo(i32),
    /// It would be done, but for the mode.
    Recommend(i32),
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Scaling is switched off.
    Disabled,
    /// A freeze holds.
    Frozen,
    /// The lag is not known.
    Unknown,
    /// More than may be.
    AboveLimit { limit: i32 },
    /// Fewer than must be.
    BelowMinimum { minimum: i32 },
    /// There is something to do, and nobody to do it.
    Woken,
    /// Lag would be beyond what is allowed.
    Behind,
    /// The busiest replica has no room left.
    Busy,
    /// The backlog takes too long.
    Slow,
    /// So much lag, while it is not known what a replica can do.
    Lag,
    /// Fewer have been enough for the whole window.
    Calm { seconds: u64 },
    /// Fewer are enough, but not for long yet.
    NotYet { seconds: u64 },
    /// As many as there should be.
    Enough,
    /// As many as there may be, and they are not enough.
    AtLimit { limit: i32 },
    /// One partition gets more than a replica can do.
    Skewed,
    /// It must wait.
    Held(Guard),
}

/// What a decision was made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    pub replicas: i32,
    pub partitions: i32,
    /// Records.
    pub lag: u64,
    /// Seconds that the group needs for its lag at its present speed. None while it does nothing.
    pub lag_seconds: Option<f64>,
    /// Records per second.
    pub arrival: f64,
    /// Records per second.
    pub consumption: f64,
    /// Records per second of one replica. None: not known yet.
    pub capacity: Option<f64>,
    /// Replicas that the load wants, before the bounds of the policy.
    pub wanted: i32,
}

impl Decision {
    /// Replicas that there should be, done or not.
    pub fn target(&self) -> Option<i32> {
        match self.verdict {
            Verdict::Hold => None,
            Verdict::ScaleTo(replicas) | Verdict::Recommend(replicas) => Some(replicas),
        }
    }

    /// The replicas to scale to, if any.
    pub fn scale_to(&self) -> Option<i32> {
        match self.verdict {
            Verdict::ScaleTo(replicas) => Some(replicas),
            Verdict::Hold | Verdict::Recommend(_) => None,
        }
    }
}

/// What follows from what is remembered, the last look being this one. Asks nothing and changes nothing.
pub fn decide(policy: &Policy, history: &History, look: &Look, wall: Timestamp) -> Decision {
    let (verdict, why, figures) = match (policy.mode, figures(history, look)) {
        (Mode::Disabled, seen) => (None, Why::Disabled, seen.map(|(_, figures)| figures)),
        (_, None) => (None, Why::Unknown, None),
        (_, Some((_, figures))) if policy.frozen(wall) => (None, Why::Frozen, Some(figures)),
        (_, Some((now, figures))) => {
            let (to, why) = judge(policy, now, &figures, wall);
            (to.filter(|to| *to != look.replicas), why, Some(figures))
        }
    };
    let verdict = match (verdict, policy.mode) {
        (Some(to), Mode::Auto) => Verdict::ScaleTo(to),
        (Some(to), _) => Verdict::Recommend(to),
        (None, _) => Verdict::Hold,
    };
    Decision {
        verdict,
        why,
        figures,
    }
}

fn figures<'a>(history: &'a History, look: &Look) -> Option<(&'a Assessment, Figures)> {
    let now = history.latest.as_ref().filter(|latest| latest.at == look.at)?;
    let (lag, partitions) = (look.lag()?, look.count()?);
    let figures = Figures {
        replicas: look.replicas,
        partitions,
        lag,
        lag_seconds: (now.consumption > 0.0).then(|| lag as f64 / now.consumption),
        arrival: now.arrival,
        consumption: now.consumption,
        capacity: now.capacity,
        wanted: now.wanted,
    };
    Some((now, figures))
}

fn judge(policy: &Policy, now: &Assessment, figures: &Figures, wall: Timestamp) -> (Option<i32>, Why) {
    let (min, max) = policy.bounds(wall);
    // A worker without a partition has nothing to do.
    let limit = max.min(figures.partitions);
    let minimum = min.min(limit);
    let (replicas, wanted) = (figures.replicas, figures.wanted.clamp(minimum, limit));
    // Bounds are the user's word, and wait for nothing.
    if replicas > limit {
        return (Some(limit), Why::AboveLimit { limit });
    }
    if replicas < minimum {
        return (Some(wanted), Why::BelowMinimum { minimum });
    }
    if replicas == 0 {
        return if wanted > 0 {
            (Some(wanted), Why::Woken)
        } else {
            (None, Why::Enough)
        };
    }
    if let Some(pressure) = now.pressure {
        if wanted > replicas {
            // By lag alone nothing is measured, so that nothing has to come to rest for that.
            let measured =
                |guard: &Guard| policy.basis == Basis::Rates || matches!(guard, Guard::Obstacle(_));
            return match now.situation.out().filter(measured) {
                Some(guard) => (None, Why::Held(guard)),
                None => (Some(wanted), pressure.into()),
            };
        }
        if now.skewed {
            return (None, Why::Skewed);
        }
        return if figures.wanted > replicas && replicas == limit {
            (None, Why::AtLimit { limit })
        } else {
            (None, Why::Enough)
        };
    }
    if wanted >= replicas {
        return (None, Why::Enough);
    }
    let seconds = policy.scale_in_after.as_secs();
    let enough = now.enough.filter(|enough| enough.settled);
    match enough.map(|enough| enough.replicas.clamp(minimum, limit).max(wanted)) {
        Some(enough) if enough < replicas => match now.situation.fewer() {
            Some(guard) => (None, Why::Held(guard)),
            None => (Some(enough), Why::Calm { seconds }),
        },
        _ => (None, Why::NotYet { seconds }),
    }
}

impl From<Pressure> for Why {
    fn from(pressure: Pressure) -> Self {
        match pressure {
            Pressure::Behind => Self::Behind,
            Pressure::Busy => Self::Busy,
            Pressure::Slow => Self::Slow,
            Pressure::Lag => Self::Lag,
        }
    }
}

/// One sentence for people.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(figures) = &self.figures {
            write!(f, "{figures}: ")?;
        }
        write!(f, "{}", self.why)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lag {} over {}", self.lag, count(self.partitions, "partition"))?;
        write!(f, ", {} records/s arrive", rate(self.arrival))?;
        match self.capacity {
            Some(capacity) => write!(f, " and a replica does {}", rate(capacity))?,
            None => write!(f, " and {} are worked on", rate(self.consumption))?,
        }
        write!(f, ", which wants {}", count(self.wanted, "replica"))
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => write!(f, "scaling is switched off"),
            Self::Frozen => write!(f, "nothing is changed during a freeze"),
            Self::Unknown => write!(f, "the lag is not known"),
            Self::AboveLimit { limit } => write!(f, "there may be at most {limit}"),
            Self::BelowMinimum { minimum } => write!(f, "there must be at least {minimum}"),
            Self::Woken => write!(f, "there is something to do again"),
            Self::Behind => write!(f, "lag would grow beyond what is allowed"),
            Self::Busy => write!(f, "the busiest replica has no room left"),
            Self::Slow => write!(f, "the backlog would take too long"),
            Self::Lag => write!(f, "that is more lag than they are given"),
            Self::Calm { seconds } => write!(f, "fewer were enough for {seconds} s"),
            Self::NotYet { seconds } => write!(f, "fewer are enough, but not yet for {seconds} s"),
            Self::Enough => write!(f, "they are enough"),
            Self::AtLimit { limit } => write!(f, "there may be no more than {limit}"),
            Self::Skewed => write!(
                f,
                "one partition gets more than a replica can do, which more replicas do not change"
            ),
            Self::Held(guard) => write!(f, "it waits since {guard}"),
        }
    }
}

fn rate(per_second: f64) -> String {
    if per_second >= 10.0 {
        format!("{per_second:.0}")
    } else {
        format!("{per_second:.2}")
    }
}

fn count(n: i32, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
