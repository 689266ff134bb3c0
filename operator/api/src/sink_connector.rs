//! `SinkConnector`: the records of topics in a store, through Kafka Connect.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Condition, ConnectEndpoint, ConnectorDeletionPolicy, KafkaEndpoint,
    rules::{FIELD, SECRET, SECRET_KEY, TOPIC, fixed, keys_of_others, short_name},
};

/// Stores the records of topics: a typed section for a common store, or `class` and `config` for any connector
/// that the Connect cluster has.
#[derive(Clone, CustomResource, Debug, Deserialize, PartialEq, Serialize, KubeSchema)]
#[kube(
    group = "naru.dev",
    version = "v1alpha1",
    kind = "SinkConnector",
    namespaced,
    status = "SinkConnectorStatus",
    derive = "PartialEq",
    category = "naru",
    cel,
    doc = "Registers a sink connector with Kafka Connect and keeps it right.",
    validation = short_name(),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Tasks", type_ = "integer", json_path = ".status.tasks.running"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.tasks.failed"),
    printcolumn(name = "Topics", type_ = "string", json_path = ".spec.topics"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Connector", type_ = "string", json_path = ".status.connector", priority = "1"),
    printcolumn(
        name = "Degraded",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Degraded\")].reason",
        priority = "1"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = fixed("connect", "the connector would go on in the old cluster: delete the SinkConnector and create another"),
    validation = Rule::new("has(self.mysql) != has(self.class)").message("exactly one of mysql and class must be set"),
    validation = Rule::new("has(self.class) || (!has(self.config) && !has(self.configSecrets))").message("config and configSecrets are only possible together with class"),
    validation = Rule::new("!has(self.config) || !has(self.configSecrets) || self.configSecrets.all(key, !(key in self.config))")
        .message("config and configSecrets set the same key, expected each key in one of them"),
)]
pub struct SinkConnectorSpec {
    /// Topics whose records are stored. They must exist.
    #[schemars(
        length(min = 1, max = 100),
        inner(length(max = 200), regex(pattern = TOPIC)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub topics: Vec<String>,
    /// Most tasks that share the work. More than the partitions of the topics are of no use.
    #[serde(default = "SinkConnectorSpec::default_tasks_max")]
    #[schemars(range(min = 1, max = 1000))]
    pub tasks_max: i32,
    /// Upsert into a table of MySQL or MariaDB. Needs Debezium's JDBC connector on the Connect cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mysql: Option<MysqlSink>,
    /// Java class of any other sink connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        regex(pattern = r"^[A-Za-z_$][A-Za-z0-9_$]*(\.[A-Za-z_$][A-Za-z0-9_$]*)*$")
    )]
    pub class: Option<String>,
    /// Configuration of `class`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = keys_of_others())]
    #[schemars(extend("maxProperties" = 200))]
    pub config: Option<BTreeMap<String, String>>,
    /// Configuration of `class` whose values come from Secrets of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = keys_of_others())]
    #[schemars(extend("maxProperties" = 50))]
    pub config_secrets: Option<BTreeMap<String, SecretKey>>,
    /// While it is true the connector is paused: its tasks stop, and go on where they were when it is false again.
    #[serde(default)]
    pub suspend: bool,
    /// What becomes of the connector when the resource is deleted. `Delete`: it is unregistered, and one with the same
    /// name goes on where it was. `Orphan`: it goes on as it is. `ResetOffsetsAndDelete`: it is unregistered, and one
    /// with the same name reads its topics from their start.
    #[serde(default)]
    pub deletion_policy: ConnectorDeletionPolicy,
    /// The Connect cluster, if it is not the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<ConnectEndpoint>,
    /// The Kafka cluster that Connect reads from, if it is not the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaEndpoint>,
}

impl SinkConnectorSpec {
    fn default_tasks_max() -> i32 {
        1
    }
}

/// A table of MySQL or MariaDB.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MysqlSink {
    /// JDBC address of the database, without credentials, such as `jdbc:mysql://mysql:3306/naru`.
    // A rule and not a pattern where credentials might be: a pattern's refusal repeats the value.
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new("self.matches('^jdbc:(mysql|mariadb)://[^\\\\s]+$')").message("must be an address such as jdbc:mysql://host:3306/database"),
        validation = Rule::new("!self.contains('@') && !self.lowerAscii().matches('[?&](user|username|password)=')").message("must not hold credentials, which belong into the Secret that credentialsSecret names"),
    )]
    pub url: String,
    /// Secret of the same namespace with the keys `username` and `password`.
    #[schemars(length(max = 253), regex(pattern = SECRET))]
    pub credentials_secret: String,
    /// The table. It is created if it does not exist, gets a column for each new field, and is kept on deletion.
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"))]
    pub table: String,
    /// The field that is the primary key: a record replaces the row with the same value.
    #[schemars(length(max = 64), regex(pattern = FIELD))]
    pub key: String,
}

/// A value in a Secret.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(max = 253), regex(pattern = SECRET))]
    pub secret: String,
    /// Key in it.
    #[schemars(length(max = 253), regex(pattern = SECRET_KEY))]
    pub key: String,
}

/// What the operator found.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SinkConnectorStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Name under which the connector is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskCounts>,
}

/// How many tasks are in which state.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskCounts {
    pub running: i32,
    pub failed: i32,
    /// Neither running nor failed: paused, restarting or not assigned to a worker.
    pub other: i32,
}
