//! What the autoscaler says of a resource beside its conditions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the autoscaler found and did. It is written when something is decided and when a condition changes: the figures are of
/// that time, and the operator's metrics have them as they are now.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingStatus {
    /// Workers that there should be. With `mode: Recommend` others are to set them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// Records that the workers had yet to work on; ranges of ids for a ScrapeJob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Records, or ranges, that arrived per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival_per_second: Option<f64>,
    /// Records that one worker was measured to do per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_per_replica: Option<f64>,
    /// The last decisions, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = ScalingStatus::MOST_DECISIONS))]
    pub history: Vec<ScalingDecision>,
}

impl ScalingStatus {
    /// Most decisions that are kept.
    pub const MOST_DECISIONS: usize = 10;
}

/// A change of how many workers there are, or with `mode: Recommend` a change of what is recommended.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingDecision {
    /// When (RFC 3339).
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// Workers that there were.
    pub from: i32,
    /// Workers that there should be.
    pub to: i32,
    /// Why, in a word of a stable list. More than may be: `AboveLimit`. Fewer than must be: `BelowMinimum`. Something to do, and
    /// nobody to do it: `Woken`. Lag would grow beyond `maxLag`: `Behind`. The busiest worker has no room left: `Busy`. The
    /// backlog would take too long: `Slow`. More lag than `lagPerReplica`: `Lag`. Fewer were enough for `scaleInAfter`: `Calm`.
    pub reason: ScalingReason,
    /// A sentence for people, with the figures that it was decided by.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Why there should be more workers, or fewer.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
pub enum ScalingReason {
    AboveLimit,
    BelowMinimum,
    Woken,
    Behind,
    Busy,
    Slow,
    Lag,
    Calm,
}
