//! Where the systems around a pipeline are. The chart's `defaults` say it once for all resources; a resource may
//! say otherwise.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Kafka cluster.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaEndpoint {
    /// `host:port` of one or more brokers, separated by commas.
    #[schemars(
        length(max = 1024),
        regex(pattern = r"^[^\s,:]+:[0-9]{1,5}(,[^\s,:]+:[0-9]{1,5})*$")
    )]
    pub bootstrap_servers: String,
}

/// A schema registry that speaks Confluent's API.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryEndpoint {
    /// Base address, without credentials, below which `/subjects` is found.
    #[schemars(length(max = 1024), regex(pattern = r"^https?://[^\s@]+$"))]
    pub url: String,
}

/// A Kafka Connect cluster.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectEndpoint {
    /// Address of its REST interface, below which `/connectors` is found.
    #[schemars(length(max = 1024), regex(pattern = r"^https?://\S+$"))]
    pub url: String,
}
