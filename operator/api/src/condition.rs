//! Conditions: what a resource says of itself. Types and reasons are stable, people and scripts match on them.

pub mod reason;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that was declared runs.
pub const READY: &str = "Ready";
/// The spec can work: all that the API server could not check has been checked.
pub const VALID: &str = "Valid";
/// Kafka, the registry, Connect, Secrets and topics that the spec needs answer and exist.
pub const DEPENDENCIES_READY: &str = "DependenciesReady";
/// A rollout or a registration is under way.
pub const PROGRESSING: &str = "Progressing";
/// Something runs, but not all of it, or not as the spec says.
pub const DEGRADED: &str = "Degraded";
/// `spec.suspend` is set.
pub const PAUSED: &str = "Paused";
/// The number of workers follows the consumer lag.
pub const SCALING_ACTIVE: &str = "ScalingActive";
/// The consumer lag can be read.
pub const LAG_AVAILABLE: &str = "LagAvailable";

/// Records wait in a partition, and the workers do not get on there.
pub const PARTITIONS_STALLED: &str = "PartitionsStalled";

/// Producers write nearly as much as `spec.capacity` says that they may.
pub const PRODUCERS_NEAR_CAPACITY: &str = "ProducersNearCapacity";

/// Conditions of each kind, which its reconciler writes.
pub const OF_RECONCILERS: [&str; 6] = [READY, VALID, DEPENDENCIES_READY, PROGRESSING, DEGRADED, PAUSED];
/// Conditions of what is scaled, which the autoscaler writes.
pub const OF_AUTOSCALER: [&str; 4] = [
    SCALING_ACTIVE,
    LAG_AVAILABLE,
    PARTITIONS_STALLED,
    PRODUCERS_NEAR_CAPACITY,
];

/// One observation, shaped as `metav1.Condition`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is observed: `Ready`, `Valid`, `DependenciesReady`, `Progressing`, `Degraded`, `Paused`, `ScalingActive`,
    /// `LagAvailable`, `PartitionsStalled` or `ProducersNearCapacity`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub condition_type: String,
    /// `True`, `False` or `Unknown`.
    #[schemars(extend("enum" = ["True", "False", "Unknown"]))]
    pub status: String,
    /// One word for programs, of a stable list.
    #[schemars(
        length(max = 1024),
        regex(pattern = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    )]
    pub reason: String,
    /// A sentence for people. The same failure has the same words.
    #[schemars(length(max = 32768))]
    pub message: String,
    /// Since when the status is as it is (RFC 3339).
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// The generation of the spec that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// An observation that has no time yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub condition_type: &'static str,
    /// None: unknown.
    pub holds: Option<bool>,
    pub reason: &'static str,
    pub message: String,
}

impl Observed {
    /// The condition holds.
    pub fn holds(condition_type: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            condition_type,
            holds: Some(true),
            reason,
            message: message.into(),
        }
    }

    /// The condition does not hold.
    pub fn fails(condition_type: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            condition_type,
            holds: Some(false),
            reason,
            message: message.into(),
        }
    }

    /// It could not be found out.
    pub fn unknown(condition_type: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            condition_type,
            holds: None,
            reason,
            message: message.into(),
        }
    }
}

/// The conditions after an observation: `lastTransitionTime` moves only where the status changes. Conditions that were
/// not observed are another writer's, and not among them.
pub fn merge(
    before: &[Condition],
    observed: &[Observed],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    observed
        .iter()
        .map(|observed| {
            let status = match observed.holds {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let since = before
                .iter()
                .find(|c| c.condition_type == observed.condition_type && c.status == status)
                .map_or_else(|| format!("{now:.0}"), |c| c.last_transition_time.clone());
            Condition {
                condition_type: observed.condition_type.to_owned(),
                status: status.to_owned(),
                reason: observed.reason.to_owned(),
                message: observed.message.clone(),
                last_transition_time: since,
                observed_generation: generation,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_moves_only_with_the_status() {
        let first: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let one = merge(&[], &[Observed::fails(READY, "Waiting", "a")], Some(1), first);
        let two = merge(&one, &[Observed::fails(READY, "Broken", "b")], Some(2), later);
        let three = merge(&two, &[Observed::holds(READY, "Running", "c")], Some(2), later);
        assert_eq!(one[0].last_transition_time, "2026-01-01T00:00:00Z");
        assert_eq!(two[0].last_transition_time, "2026-01-01T00:00:00Z");
        assert_eq!(
            (two[0].reason.as_str(), two[0].observed_generation),
            ("Broken", Some(2))
        );
        assert_eq!(three[0].last_transition_time, "2026-01-02T00:00:00Z");
    }
}
