//! Where the systems around a pipeline are. The chart's `defaults` say it once for all resources; a resource may
//! say otherwise.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A Kafka cluster.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaEndpoint {
    /// `host:port` of one or more brokers, separated by commas.
    #[schemars(
        length(max = 1024),
        regex(pattern = r"^[^\s,:/@]+:[0-9]{1,5}(,[^\s,:/@]+:[0-9]{1,5})*$")
    )]
    #[x_kube(validation = Rule::new("!self.matches(':(0+|[7-9][0-9]{4}|6[6-9][0-9]{3}|65[6-9][0-9]{2}|655[4-9][0-9]|6553[6-9])(,|$)')").message(Message::Expression("'is \"' + self + '\", expected ports from 1 to 65535'".to_owned())))]
    pub bootstrap_servers: String,
}

/// A schema registry that speaks Confluent's API.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryEndpoint {
    /// Base address, without credentials, below which `/subjects` is found.
    // A rule and not a pattern where credentials might be: a pattern's refusal repeats the value.
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[^\\\\s]+$')").message("must be an http or https address such as http://registry:8081"),
        validation = Rule::new("!self.contains('@')").message("must not hold credentials"),
    )]
    pub url: String,
}

/// A Kafka Connect cluster.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectEndpoint {
    /// Address of its REST interface, below which `/connectors` is found.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^\\\\s?#]+$')").message("must be an http or https address without a query, such as http://connect:8083"))]
    pub url: String,
}
