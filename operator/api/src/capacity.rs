//! What the producers of a topic may write before somebody is told.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the producers of a topic may write before somebody is told.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProducerCapacity {
    /// Records per second of the whole topic that the Kafka cluster, or whatever else is behind it, was found to bear.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub records_per_second: i64,
    /// From which part of it on there is a warning, and from which on it is critical, in percent.
    #[serde(default = "ProducerCapacity::default_thresholds")]
    #[schemars(length(min = 2, max = 2), inner(range(min = 1, max = 100)))]
    #[x_kube(validation = Rule::new("self.size() != 2 || self[0] < self[1]").message("must be two percentages, of which the first is below the second"))]
    pub thresholds: Vec<i32>,
}

impl ProducerCapacity {
    fn default_thresholds() -> Vec<i32> {
        vec![80, 95]
    }
}
