//! How a change of the workers is rolled out.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, duration::literal, rules::between};

/// What is done about a change after which the workers do not come up.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// How long a rollout may make no progress before the resource is `Degraded` (from 10s to 1h).
    #[serde(default = "Rollout::default_progress_deadline")]
    #[x_kube(validation = between("10s", "1h"))]
    pub progress_deadline: Duration,
    /// Whether a rollout that made no progress gives way to the last good workers. They stay until the spec asks for other
    /// workers than the ones that gave way, or this is unset.
    #[serde(default)]
    pub auto_rollback: bool,
}

impl Rollout {
    fn default_progress_deadline() -> Duration {
        literal("2m")
    }
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            progress_deadline: Self::default_progress_deadline(),
            auto_rollback: false,
        }
    }
}
