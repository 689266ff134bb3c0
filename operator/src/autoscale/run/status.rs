//! What the autoscaler says of a resource in its status beside conditions: the last figures and decisions. Pure.

use jiff::Timestamp;
use naru_api::{Condition, ScalingDecision, ScalingReason, ScalingStatus};

use crate::autoscale::{Decision, Figures, Why};

/// Room for the message of a decision, bytes.
const MESSAGE: usize = 1000;

/// All that the autoscaler says of a resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    pub conditions: Vec<Condition>,
    pub scaling: Option<ScalingStatus>,
}

/// What there is to be said of the replicas.
#[derive(Clone, Debug, Default)]
pub(super) struct News {
    /// Replicas that there should be. None: nobody says.
    pub(super) desired: Option<i32>,
    /// None: nothing was seen.
    pub(super) figures: Option<Figures>,
    /// Decisions that were not told yet, the oldest first.
    pub(super) decisions: Vec<ScalingDecision>,
}

impl News {
    /// Whether this is worth a write: figures that have moved are not.
    pub(super) fn matters(&self, before: Option<&ScalingStatus>) -> bool {
        let known = before.and_then(|before| before.capacity_per_replica);
        let found = self.figures.and_then(|figures| figures.capacity);
        !self.decisions.is_empty()
            || self.desired != before.and_then(|before| before.desired_replicas)
            || (known.is_none() && found.is_some())
    }

    /// The status after this.
    pub(super) fn after(&self, before: Option<&ScalingStatus>) -> Option<ScalingStatus> {
        let before = before.cloned().unwrap_or_default();
        let figures = self.figures.as_ref();
        let found = figures.and_then(|figures| figures.capacity).map(rounded);
        let decisions = self.decisions.iter().rev().cloned();
        let after = ScalingStatus {
            desired_replicas: self.desired,
            lag: figures.map(|figures| i64::try_from(figures.lag).unwrap_or(i64::MAX)),
            arrival_per_second: figures.map(|figures| rounded(figures.arrival)),
            // What was once found out is not forgotten.
            capacity_per_replica: found.or(before.capacity_per_replica),
            history: decisions
                .chain(before.history)
                .take(ScalingStatus::MOST_DECISIONS)
                .collect(),
        };
        (after != ScalingStatus::default()).then_some(after)
    }
}

/// A decision as it is told. None: it asks for no change.
pub(super) fn told(from: i32, to: i32, decision: &Decision, now: Timestamp) -> Option<ScalingDecision> {
    let reason = match decision.why {
        Why::AboveLimit { .. } => ScalingReason::AboveLimit,
        Why::BelowMinimum { .. } => ScalingReason::BelowMinimum,
        Why::Woken => ScalingReason::Woken,
        Why::Behind => ScalingReason::Behind,
        Why::Busy => ScalingReason::Busy,
        Why::Slow => ScalingReason::Slow,
        Why::Lag => ScalingReason::Lag,
        Why::Calm { .. } => ScalingReason::Calm,
        Why::Disabled
        | Why::Frozen
        | Why::Unknown
        | Why::NotYet { .. }
        | Why::Enough
        | Why::AtLimit { .. }
        | Why::Skewed
        | Why::Held(_) => return None,
    };
    let mut message = decision.to_string();
    message.truncate(message.floor_char_boundary(MESSAGE));
    Some(ScalingDecision {
        time: format!("{now:.0}"),
        from,
        to,
        reason,
        message,
    })
}

/// To four digits: more were not measured.
fn rounded(rate: f64) -> f64 {
    format!("{rate:.3e}").parse().unwrap_or(rate)
}
