//! Where Kafka and the schema registry are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How to reach a Kafka cluster.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kafka {
    /// `host:port` of one or more brokers, separated by commas.
    pub bootstrap_servers: String,
    /// Further librdkafka properties, such as security settings. They never override what naru sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// How to reach a schema registry that speaks Confluent's API.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Registry {
    /// Base address: `/subjects` and `/schemas` are below it.
    pub url: String,
}
