//! `ScrapeJob`: pages of a site, by growing id, as records in a Kafka topic.

use std::borrow::Cow;

use kube::{CustomResource, KubeSchema};
use naru_rules::extract::Field;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, DeletionPolicy, Duration, KafkaEndpoint, ProducerCapacity, RegistryEndpoint, Rollout, Scaling,
    ScalingStatus,
    duration::literal,
    rules::{FIELD, TOPIC, between, fixed, short_name, writable_topic},
};

/// Collects the pages of a site whose addresses carry a growing id, and sends each as an Avro record to a Kafka
/// topic, exactly once.
#[derive(Clone, CustomResource, Debug, Deserialize, PartialEq, Serialize, KubeSchema)]
#[kube(
    group = "naru.dev",
    version = "v1alpha1",
    kind = "ScrapeJob",
    namespaced,
    status = "ScrapeJobStatus",
    derive = "PartialEq",
    category = "naru",
    cel,
    doc = "Collects the pages of a site and sends each as a record to a Kafka topic.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Workers", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Max", type_ = "integer", json_path = ".status.maxReplicas"),
    printcolumn(name = "Output", type_ = "string", json_path = ".spec.output.topic"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Progressing", type_ = "string", json_path = ".status.conditions[?(@.type==\"Progressing\")].reason", priority = "1"),
    printcolumn(name = "Degraded", type_ = "string", json_path = ".status.conditions[?(@.type==\"Degraded\")].reason", priority = "1"),
    printcolumn(name = "Scaling", type_ = "string", json_path = ".status.conditions[?(@.type==\"ScalingActive\")].reason", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = "1"),
    validation = short_name(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = fixed("kafka", "another cluster does not know how far the job is: delete the ScrapeJob and create another"),
    validation = Rule::new("self.extract.fields.exists(field, field.name == self.output.key)")
        .message(Message::Expression("'is \"' + self.output.key + '\", and extract.fields has no field of this name'".to_owned()))
        .field_path(".output.key"),
    validation = Rule::new("!self.extract.fields.exists(field, field.name == self.output.key) || self.extract.fields.exists(field, field.name == self.output.key && has(field.required) && field.required)")
        .message(Message::Expression("'is \"' + self.output.key + '\", which is not a required field, and each record needs a key'".to_owned()))
        .field_path(".output.key"),
)]
pub struct ScrapeJobSpec {
    /// Which pages there are.
    pub source: PageSource,
    /// What the site may be asked to bear.
    #[serde(default)]
    pub politeness: Politeness,
    /// When a request that failed is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// What a page becomes.
    pub extract: Extract,
    /// Where records go.
    #[x_kube(validation = Rule::new("self.topic == oldSelf.topic").message("output.topic cannot be changed: delete the ScrapeJob and create another"))]
    pub output: RecordOutput,
    /// How many fetchers there may be.
    #[serde(default)]
    pub scaling: Scaling,
    /// What the producers of the output topic may write. `ProducersNearCapacity` says when they come near to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<ProducerCapacity>,
    /// While it is true there are no workers. Nothing is lost: they go on where they were.
    #[serde(default)]
    pub suspend: bool,
    /// How a change of the workers is rolled out.
    #[serde(default)]
    pub rollout: Rollout,
    /// What becomes of topics and the consumer group when the resource is deleted. `Orphan`: they stay. `Delete`: the
    /// consumer group and the topics that naru created for it (`status.createdTopics`) go, with all records in them.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// The Kafka cluster, if it is not the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaEndpoint>,
    /// The schema registry, if it is not the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryEndpoint>,
}

/// Which pages there are.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageSource {
    /// Address of a page, with `{id}` where the id stands.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/@{}\\\\s]+/\\\\S*$') && self.split('{id}').size() == 2")
        .message("must be an http or https address with {id} in it once, behind the host, such as https://example.org/product/{id}"))]
    pub url_template: String,
    /// Where a job that has never run begins: `latest`, or an id.
    #[serde(default)]
    pub start: Start,
    /// How the newest id is found.
    pub head: Head,
    /// Most ids that a fetcher is handed at once.
    #[serde(default = "PageSource::default_range_size")]
    #[schemars(range(min = 1, max = 100_000))]
    pub range_size: u32,
}

impl PageSource {
    fn default_range_size() -> u32 {
        100
    }
}

/// Where a job that has never run begins.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "serde_json::Value", into = "serde_json::Value")]
pub enum Start {
    /// With what appears after the first look.
    #[default]
    Latest,
    /// With this id.
    Id(u64),
}

impl TryFrom<serde_json::Value> for Start {
    type Error = String;

    fn try_from(value: serde_json::Value) -> Result<Self, String> {
        let text = value.as_str();
        match value.as_u64().or_else(|| text?.parse().ok()) {
            Some(id) => Ok(Self::Id(id)),
            None if text == Some("latest") => Ok(Self::Latest),
            None => Err(format!(
                "start is {value}, expected \"latest\" or an id such as 1"
            )),
        }
    }
}

impl From<Start> for serde_json::Value {
    fn from(start: Start) -> Self {
        match start {
            Start::Latest => "latest".into(),
            Start::Id(id) => id.into(),
        }
    }
}

impl JsonSchema for Start {
    fn schema_name() -> Cow<'static, str> {
        "Start".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "x-kubernetes-validations": [{
                "rule": "string(self).matches('^([0-9]{1,18}|latest)$')",
                "message": "must be \"latest\" or an id, a whole number that is not negative",
            }],
        })
    }
}

/// How the newest id is found.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// A list of pages that the site publishes.
    pub sitemap: Sitemap,
    /// Time between two looks. A look takes one request for each document that is read, and a tenth of the job's limits
    /// is for them: an index of 50 sitemaps takes more than eight minutes at 1/s, and where pages are asked for every
    /// 30 s at most, be it by `politeness` or by a `Crawl-delay` of robots.txt, there is a look every 300 s at most.
    #[serde(default = "Head::default_every")]
    #[x_kube(validation = between("1s", "24h"))]
    pub every: Duration,
}

impl Head {
    fn default_every() -> Duration {
        literal("60s")
    }
}

/// A sitemap, a sitemap index whose children are read too, or any text that names pages. gzip is recognised.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sitemap {
    #[schemars(length(max = 1024), regex(pattern = r"^https?://[^\s/@?#]+([/?#]\S*)?$"))]
    pub url: String,
    /// Regular expression whose first group is an id. The largest id that matches is the newest one.
    #[schemars(length(min = 1, max = 512))]
    pub pattern: String,
}

/// What the site may be asked to bear, by all workers of the job together.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Politeness {
    /// requests/s. A tenth of it is the planner's, which looks for the newest id.
    #[serde(default = "Politeness::default_max_requests_per_second")]
    #[x_kube(validation = Rule::new("self > 0.0 && self <= 10000.0").message("must be above 0 and at most 10000"))]
    pub max_requests_per_second: f64,
    /// Requests under way at once. One is the planner's and each fetcher needs one, so that this bounds the fetchers too.
    /// With 1 there is a fetcher nevertheless, and there may be two requests.
    #[serde(default = "Politeness::default_max_concurrent")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent: u32,
    /// What is done about robots.txt.
    #[serde(default)]
    pub robots: Robots,
    /// `User-Agent` of each request. Say in it how you can be reached.
    #[serde(default = "Politeness::default_user_agent")]
    #[schemars(length(max = 256), regex(pattern = r"^[\x20-\x7e]+$"))]
    pub user_agent: String,
    /// Deadline of one request, from its start to the last byte of its answer.
    #[serde(default = "Politeness::default_request_timeout")]
    #[x_kube(validation = between("1s", "10m"))]
    pub request_timeout: Duration,
}

impl Politeness {
    fn default_max_requests_per_second() -> f64 {
        1.0
    }

    fn default_max_concurrent() -> u32 {
        2
    }

    fn default_user_agent() -> String {
        "naru/0.1".to_owned()
    }

    fn default_request_timeout() -> Duration {
        literal("30s")
    }
}

impl Default for Politeness {
    fn default() -> Self {
        Self {
            max_requests_per_second: Self::default_max_requests_per_second(),
            max_concurrent: Self::default_max_concurrent(),
            robots: Robots::default(),
            user_agent: Self::default_user_agent(),
            request_timeout: Self::default_request_timeout(),
        }
    }
}

/// What is done about robots.txt.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Robots {
    /// Pages that it disallows are not fetched.
    #[default]
    Respect,
    /// It is not read. For sites of your own.
    Ignore,
}

/// First some tries at a fixed delay, then some at a growing one; then the page is a dead letter.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    #[serde(default)]
    pub fixed: FixedRetry,
    #[serde(default)]
    pub exponential: ExponentialRetry,
}

/// Tries at a fixed delay.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FixedRetry {
    #[serde(default = "FixedRetry::default_times")]
    #[schemars(range(min = 0, max = 100))]
    pub times: u32,
    #[serde(default = "FixedRetry::default_delay")]
    #[x_kube(validation = between("0s", "1h"))]
    pub delay: Duration,
}

impl FixedRetry {
    fn default_times() -> u32 {
        3
    }

    fn default_delay() -> Duration {
        literal("1s")
    }
}

impl Default for FixedRetry {
    fn default() -> Self {
        Self {
            times: Self::default_times(),
            delay: Self::default_delay(),
        }
    }
}

/// Tries at a delay that doubles.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.base) <= duration(self.max)")
    .message(Message::Expression("'is ' + self.base + ', expected at most max, which is ' + self.max".to_owned()))
    .field_path(".base"))]
pub struct ExponentialRetry {
    #[serde(default = "ExponentialRetry::default_times")]
    #[schemars(range(min = 0, max = 100))]
    pub times: u32,
    /// The first delay.
    #[serde(default = "ExponentialRetry::default_base")]
    #[x_kube(validation = between("1ms", "1h"))]
    pub base: Duration,
    /// The longest delay.
    #[serde(default = "ExponentialRetry::default_max")]
    #[x_kube(validation = between("1ms", "24h"))]
    pub max: Duration,
}

impl ExponentialRetry {
    fn default_times() -> u32 {
        5
    }

    fn default_base() -> Duration {
        literal("2s")
    }

    fn default_max() -> Duration {
        literal("5m")
    }
}

impl Default for ExponentialRetry {
    fn default() -> Self {
        Self {
            times: Self::default_times(),
            base: Self::default_base(),
            max: Self::default_max(),
        }
    }
}

/// What a page becomes.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Extract {
    /// The fields of the record.
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub fields: Vec<Field>,
}

/// Where records go.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordOutput {
    /// Topic of the records. It is created if it does not exist, and kept when the job is deleted,
    /// unless `deletionPolicy` says otherwise.
    #[x_kube(validation = writable_topic())]
    #[schemars(length(max = 200), regex(pattern = TOPIC))]
    pub topic: String,
    /// The field whose value is the record's key. It must be required.
    #[schemars(length(max = 64), regex(pattern = FIELD))]
    pub key: String,
    /// Partitions that the topic is created with.
    #[serde(default = "RecordOutput::default_partitions")]
    #[schemars(range(min = 1, max = 1000))]
    pub partitions: i32,
}

impl RecordOutput {
    fn default_partitions() -> i32 {
        3
    }
}

/// What the operator found.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScrapeJobStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Fetchers that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Most fetchers that there can be: the smaller of the largest `maxReplicas` in `scaling` and the partitions of the frontier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<i32>,
    /// What the autoscaler found and did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingStatus>,
    /// Topics that naru created for this resource, and that `deletionPolicy: Delete` deletes with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub created_topics: Vec<String>,
    /// The last revision (a hash of the workers' document and pod templates) with which all of them came up: what
    /// `rollout.autoRollback` goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good_revision: Option<String>,
}
