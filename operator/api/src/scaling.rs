//! How many workers there may be.

mod schedule;
mod status;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    schedule::{ScalingFreeze, ScalingSchedule},
    status::{ScalingDecision, ScalingReason, ScalingStatus},
};
use crate::{Duration, rules::between};

/// Workers are scaled with their load between two bounds, never above the partition count.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
// No message with the numbers in it: to the API server's estimate of its cost, their text has no bound.
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message("must not be above maxReplicas").field_path(".minReplicas"))]
pub struct Scaling {
    /// Who sets how many workers there are. `Auto`: naru does. `Recommend`: naru only says in `status.scaling` how many there
    /// should be. `Disabled`: naru says nothing either. With both of the latter naru no longer owns `spec.replicas` of the
    /// Deployment and never sets it again, so that a HorizontalPodAutoscaler, KEDA or a person may. Its workers begin with
    /// `minReplicas`, and after a suspension with as many as before.
    #[serde(default)]
    pub mode: ScalingMode,
    /// Fewest workers. With 0 there are none while there is nothing to do.
    #[serde(default = "Scaling::default_min_replicas")]
    #[schemars(range(min = 0, max = 1000))]
    pub min_replicas: i32,
    /// Most workers. The partition count is a further bound: a worker without a partition has nothing to do.
    #[serde(default = "Scaling::default_max_replicas")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// Lag that one worker is given: ranges of ids for a ScrapeJob (default 2), records for a FilteredSum (default
    /// 10000) until it is known how much a worker can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub lag_per_replica: Option<i64>,
    /// How far the workers of a FilteredSum may be behind, in time (from 1s to 24h, default 30s). There are more of them at once
    /// when they would be further behind before more of them work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = between("1s", "24h"))]
    pub max_lag: Option<Duration>,
    /// Time in which the workers of a FilteredSum are to work off a backlog (from 10s to 24h, default 2m).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = between("10s", "24h"))]
    pub catch_up: Option<Duration>,
    /// How long fewer workers must have been enough before there are fewer (from 10s to 24h). Default: what the operator
    /// was installed with, 5m unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = between("10s", "24h"))]
    pub scale_in_after: Option<Duration>,
    /// Other bounds at certain times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub schedules: Vec<ScalingSchedule>,
    /// Times at which naru leaves the workers as many as they are, such as before a release or during a sale.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub freezes: Vec<ScalingFreeze>,
}

/// Who sets how many workers there are.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
pub enum ScalingMode {
    #[default]
    Auto,
    Recommend,
    Disabled,
}

impl Scaling {
    fn default_min_replicas() -> i32 {
        1
    }

    fn default_max_replicas() -> i32 {
        3
    }

    /// Most workers at any time.
    pub fn most_replicas(&self) -> i32 {
        let at_times = self.schedules.iter().filter_map(|schedule| schedule.max_replicas);
        at_times.fold(self.max_replicas, i32::max)
    }
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            mode: ScalingMode::Auto,
            min_replicas: Self::default_min_replicas(),
            max_replicas: Self::default_max_replicas(),
            lag_per_replica: None,
            max_lag: None,
            catch_up: None,
            scale_in_after: None,
            schedules: Vec::new(),
            freezes: Vec::new(),
        }
    }
}
