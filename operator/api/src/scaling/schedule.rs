//! Times that come again, at which other bounds hold or nothing is changed.

use kube::{KubeSchema, core::Rule};
use serde::{Deserialize, Serialize};

use crate::{Duration, rules::between};

/// Other bounds at times that come again.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.minReplicas) || has(self.maxReplicas)").message("minReplicas, maxReplicas or both must be set"),
    validation = Rule::new("!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas").message("must not be above maxReplicas").field_path(".minReplicas"),
)]
pub struct ScalingSchedule {
    /// When it begins: minute, hour, day of month, month and day of week, such as `0 8 * * MON-FRI`.
    #[x_kube(validation = five_fields())]
    #[schemars(length(max = 128))]
    pub cron: String,
    /// Where `cron` is the time of day, such as `Asia/Seoul`.
    #[serde(default = "utc")]
    #[schemars(length(max = 64), regex(pattern = TIME_ZONE))]
    pub time_zone: String,
    /// How long it lasts (from 1m to 168h).
    #[x_kube(validation = between("1m", "168h"))]
    pub duration: Duration,
    /// Fewest workers meanwhile. Where several schedules hold, the largest counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub min_replicas: Option<i32>,
    /// Most workers meanwhile. Where several schedules hold, the largest counts. With 0 there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub max_replicas: Option<i32>,
}

/// Times that come again at which naru leaves the workers as many as they are.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingFreeze {
    /// When it begins: minute, hour, day of month, month and day of week, such as `0 8 * * MON-FRI`.
    #[x_kube(validation = five_fields())]
    #[schemars(length(max = 128))]
    pub cron: String,
    /// Where `cron` is the time of day, such as `Asia/Seoul`.
    #[serde(default = "utc")]
    #[schemars(length(max = 64), regex(pattern = TIME_ZONE))]
    pub time_zone: String,
    /// How long it lasts (from 1m to 168h).
    #[x_kube(validation = between("1m", "168h"))]
    pub duration: Duration,
}

/// Whether there is such a zone, the operator finds out.
const TIME_ZONE: &str = "^[A-Za-z0-9_+/-]+$";

fn utc() -> String {
    "UTC".to_owned()
}

/// What the fields may be, the operator finds out.
fn five_fields() -> Rule {
    Rule::new(r"self.matches('^[^ ]+( +[^ ]+){4}$')").message(
        "must have five fields (minute, hour, day of month, month, day of week), such as 0 8 * * MON-FRI",
    )
}
