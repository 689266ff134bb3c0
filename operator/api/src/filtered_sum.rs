//! `FilteredSum`: the running sum of a field of the records of a topic, as records in another topic.

use kube::{
    CustomResource, KubeSchema,
    core::{Message, Rule},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Condition, DeletionPolicy, Duration, KafkaEndpoint, ProducerCapacity, RegistryEndpoint, Rollout, Scaling,
    ScalingStatus,
    duration::literal,
    rules::{FIELD, TOPIC, between, short_name, writable_topic},
};

/// Sums a field of the records that a filter lets through, exactly, each record once, and writes the running
/// totals to another topic.
#[derive(Clone, CustomResource, Debug, Deserialize, PartialEq, Serialize, KubeSchema)]
#[kube(
    group = "naru.dev",
    version = "v1alpha1",
    kind = "FilteredSum",
    namespaced,
    status = "FilteredSumStatus",
    derive = "PartialEq",
    category = "naru",
    cel,
    doc = "Keeps the running sum of a field of the records of a Kafka topic that a filter lets through.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Workers", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Max", type_ = "integer", json_path = ".status.maxReplicas"),
    printcolumn(name = "Input", type_ = "string", json_path = ".spec.input.topic"),
    printcolumn(name = "Output", type_ = "string", json_path = ".spec.output.topic"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Progressing", type_ = "string", json_path = ".status.conditions[?(@.type==\"Progressing\")].reason", priority = "1"),
    printcolumn(name = "Degraded", type_ = "string", json_path = ".status.conditions[?(@.type==\"Degraded\")].reason", priority = "1"),
    printcolumn(name = "Scaling", type_ = "string", json_path = ".status.conditions[?(@.type==\"ScalingActive\")].reason", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = "1"),
    validation = short_name(),
    validation = fixed(),
    validation = kept_unless_reset(),
    validation = grouped_as_before(),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.input.topic != self.output.topic").message("is input.topic too, expected another topic").field_path(".output.topic"),
    validation = Rule::new("!has(self.reset) || self.delivery == 'exactlyOnce'").message(FilteredSumSpec::RESET_IS_FENCED).field_path(".delivery"),
    validation = Rule::new("!has(self.sum.window) || self.delivery == 'exactlyOnce'").message(FilteredSumSpec::WINDOWS_ARE_FENCED).field_path(".delivery"),
    validation = Rule::new("!self.sum.retract || self.delivery == 'exactlyOnce'").message(FilteredSumSpec::RETRACT_IS_FENCED).field_path(".delivery"),
    validation = Rule::new("!self.sum.retract || !has(self.sum.window)").message(FilteredSumSpec::WINDOWS_ARE_KEPT).field_path(".sum.retract"),
)]
pub struct FilteredSumSpec {
    /// What is summed.
    pub input: FilteredSumInput,
    /// CEL over the record's fields, such as `price <= 1000000`. Records for which it is false are dropped. Without
    /// it all are summed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub filter: Option<String>,
    pub sum: Sum,
    /// What becomes of the totals when `filter` or `sum` is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
    /// Where totals go.
    pub output: FilteredSumOutput,
    /// How many workers there may be.
    #[serde(default)]
    pub scaling: Scaling,
    /// What the producers of the input topic may write. `ProducersNearCapacity` says when they come near to it.
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
    /// How totals get to the output topic. `exactlyOnce`: in transactions with the dead letters and offsets, so that a
    /// reader of committed records sees each total once and none that is older than one before. `idempotentUpsert`: without
    /// transactions, sooner. Each total that is read is right for the offset that it names, but after a crash or a move one
    /// may come again, or an older one; the last one is right. A dead letter may come again too. It may be changed at any
    /// time: what is there is continued by the rules by which it was written.
    #[serde(default)]
    pub delivery: Delivery,
    /// What becomes of a record that cannot be decoded or summed. `deadLetter`: it goes to the dead letter topic, and the
    /// sum goes on. `stop`: its partition stops before it, and its worker is not ready and says why; other partitions go on.
    /// It is tried again every 10 s, and the sum goes on there once the record can be summed or this says `deadLetter`.
    #[serde(default)]
    pub on_error: OnError,
    /// Time between two commits while records arrive: how old a total can be, and how long a reader waits.
    #[serde(default = "FilteredSumSpec::default_commit_interval")]
    #[x_kube(validation = between("1ms", "5s"))]
    pub commit_interval: Duration,
    /// The Kafka cluster, if it is not the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaEndpoint>,
    /// The schema registry, if it is not the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryEndpoint>,
}

/// What holds of a resource that never had workers, as when its spec was refused: all of it may be mended.
const MENDED: &str = "!has(oldSelf.status) || !has(oldSelf.status.replicas)";

/// Where it sums, and where it writes to, stays.
fn fixed() -> Rule {
    Rule::new(format!(
        "{MENDED} || (self.spec.input == oldSelf.spec.input && self.spec.output == oldSelf.spec.output && \
         has(self.spec.kafka) == has(oldSelf.spec.kafka) && (!has(self.spec.kafka) || self.spec.kafka == oldSelf.spec.kafka))"
    ))
    .message(
        "input, output and kafka cannot be changed, since the totals would be of other records: delete the FilteredSum and \
         create another with another name and output.topic",
    )
}

/// How it sums stays too, unless it says what becomes of the totals.
fn kept_unless_reset() -> Rule {
    Rule::new(format!(
        "{MENDED} || has(self.spec.reset) || (self.spec.sum == oldSelf.spec.sum && \
         has(self.spec.filter) == has(oldSelf.spec.filter) && (!has(self.spec.filter) || self.spec.filter == oldSelf.spec.filter))"
    ))
    .message(FilteredSumSpec::RESET_NEEDED)
}

fn grouped_as_before() -> Rule {
    Rule::new(format!(
        "{MENDED} || !has(self.spec.reset) || self.spec.reset != 'continue' || \
         ((has(self.spec.sum.groupBy) ? self.spec.sum.groupBy : []) == (has(oldSelf.spec.sum.groupBy) ? oldSelf.spec.sum.groupBy : []) && \
         (has(self.spec.sum.scale) ? self.spec.sum.scale : 0) == (has(oldSelf.spec.sum.scale) ? oldSelf.spec.sum.scale : 0) && \
         has(self.spec.sum.window) == has(oldSelf.spec.sum.window) && \
         (!has(self.spec.sum.window) || self.spec.sum.window == oldSelf.spec.sum.window) && \
         (has(self.spec.sum.retract) ? self.spec.sum.retract : false) == (has(oldSelf.spec.sum.retract) ? oldSelf.spec.sum.retract : false))"
    ))
    .message(FilteredSumSpec::OTHER_GROUPS)
}

/// What becomes of the totals when `filter` or `sum` is changed, which is refused without it. `fromEarliest`: the input is
/// summed anew from its start, and the totals stay as they are until that has caught up with them. `continue`: records from
/// then on are added to them by the new rules; `sum.groupBy`, `sum.scale`, `sum.window` and `sum.retract` cannot be changed so. Both need `delivery: exactlyOnce`. It counts
/// at the moment of the change, or when it is set later where nothing was said then.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reset {
    /// The input is summed anew from its start; they stay until that has caught up with them, and are then replaced.
    FromEarliest,
    /// They are gone on with: records from then on are added by the new rules.
    Continue,
}

impl FilteredSumSpec {
    /// Why other rules are refused.
    pub const RESET_NEEDED: &str = "filter and sum cannot be changed without reset, since old and new records would be summed by \
        different rules: set reset to fromEarliest (the input is summed anew from its start, and the totals stay until that \
        has caught up) or to continue (records from now on are added by the new rules), or create another FilteredSum with \
        another name and output.topic";
    /// Why other groups and another scale are refused.
    pub const OTHER_GROUPS: &str = "sum.groupBy, sum.scale, sum.window and sum.retract cannot be changed with reset: continue, since totals by other \
        groups or windows, of another scale or without the state of keys cannot be gone on with: set reset to fromEarliest";
    /// Why windows are written in transactions only.
    pub const WINDOWS_ARE_FENCED: &str = "delivery must be exactlyOnce while sum.window is set, since only a transaction moves the time \
        of a partition, its windows and what is removed of them together: leave sum.window out, or use exactlyOnce";
    /// Why nothing is taken back from windows.
    pub const WINDOWS_ARE_KEPT: &str = "sum.retract must be false while sum.window is set, since what was added to a window that is closed \
        cannot be taken back: leave out one of them";

    /// Why totals are replaced in transactions only.
    pub const RESET_IS_FENCED: &str = "delivery must be exactlyOnce while reset is set, since only a transaction replaces all totals \
        of a partition at once: leave reset out, or change delivery once the totals are of the new rules";

    /// Why records are taken back in transactions only.
    pub const RETRACT_IS_FENCED: &str = "delivery must be exactlyOnce with sum.retract, since only a transaction keeps the state of keys \
        and the totals together: leave delivery out, or leave sum.retract out if each record counts";

    fn default_commit_interval() -> Duration {
        literal("100ms")
    }
}

/// How totals get to the output topic.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Delivery {
    /// In a transaction with the dead letters and the offsets.
    #[default]
    ExactlyOnce,
    /// As upserts that can be read as soon as they are written, and may come again.
    IdempotentUpsert,
}

/// What becomes of a record that cannot be decoded or summed.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnError {
    /// It goes to the dead letter topic, and the sum goes on.
    #[default]
    DeadLetter,
    /// Its partition stops before it.
    Stop,
}

/// What is summed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilteredSumInput {
    /// Topic of Avro records. It must exist.
    #[schemars(length(max = 200), regex(pattern = TOPIC))]
    pub topic: String,
}

/// What is summed, and by what it is told apart.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    /// A field of Avro type int, long or decimal. A record without it, or with another type in it, is a dead letter; null adds
    /// nothing.
    #[schemars(length(max = 64), regex(pattern = FIELD))]
    pub field: String,
    /// Digits of the sum behind the point: it is exact, an Avro `decimal(38, scale)`. A value with more digits behind the point
    /// than that, zeros at its end aside, is a dead letter and never rounded.
    #[serde(default)]
    #[schemars(range(min = 0, max = 18))]
    pub scale: u8,
    /// Sums fields of Avro type float and double too, which are dead letters without it. Each value is rounded half to even to
    /// `scale` digits behind the point, from the shortest decimal that it can be read from; sums of these are exact, and the same in
    /// whatever order. A value that is infinite or not a number is a dead letter.
    #[serde(default)]
    pub round_floats: bool,
    /// A record takes the place of the one before of the same key in its partition, and one without a value (a tombstone) takes that
    /// back: the sum is that of the last values of all keys. Such a topic must be partitioned by its keys. A record without a
    /// key, or with one of more than 1024 bytes, is a dead letter. What each key adds is in the memory of the workers, about 100
    /// bytes each and the key's own, and in a compacted topic `<output.topic>-keys`. Without it each record counts.
    #[serde(default)]
    pub retract: bool,
    /// Fields whose values name the group that a record belongs to: one sum each. None: one sum in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 64), regex(pattern = FIELD)), extend("x-kubernetes-list-type" = "set"))]
    pub group_by: Vec<String>,
    /// Windows of time in which sums are kept, of each group. Without it all records are summed together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// Windows that follow each other without a gap: each record that is summed is in the one that its time is in. They begin at
/// multiples of their size since 1970, in UTC.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.time) || duration(self.retention) >= duration('24h')").message(Window::TIMES_MAY_BE_AHEAD).field_path(".retention"),
)]
pub struct Window {
    /// How long each is, in whole seconds.
    #[x_kube(validation = between("1s", "8784h"), validation = whole_seconds())]
    pub size: Duration,
    /// A field with the time of a record, of one of Avro's timestamps or a date; a record without it, with null or with anything else
    /// in it is a dead letter, and so is one whose time is more than a day after it was written. Without it the time of a record
    /// is the one that Kafka has of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = FIELD))]
    pub time: Option<String>,
    /// How long a window takes records that are late. It is closed once its partition has summed a record whose time is so much
    /// after its end: records of it that come later are counted in `late`, and are in no sum.
    #[serde(default = "Window::default_grace")]
    #[x_kube(validation = between("0s", "8784h"))]
    pub grace: Duration,
    /// How long the total of a closed window is kept, until the time of its partition is so much further: then a tombstone removes
    /// it. Totals that are kept are in the memory of the workers. At least `24h` with `time`: so far may the time of a record be
    /// ahead, and what is over in one partition is over in the totals of all.
    #[serde(default = "Window::default_retention")]
    #[x_kube(validation = between("0s", "8784h"))]
    pub retention: Duration,
}

/// Names of windows have no room for less.
fn whole_seconds() -> Rule {
    Rule::new("!self.contains('ms')").message(Message::Expression(
        "'is ' + self + ', expected whole seconds'".to_owned(),
    ))
}

impl Window {
    /// Most windows that a group can have at a time. Each has a total in the output topic, and in the memory of a worker.
    pub const MOST: u64 = 100_000;
    /// Least retention by the time of a field, in ms: so far may it be ahead of the time at which the record was written.
    pub const AHEAD: u64 = 24 * 3_600_000;
    /// Why it is.
    pub const TIMES_MAY_BE_AHEAD: &str = "must be at least 24h with sum.window.time, since the time of a record may be so far ahead, and in \
        one partition it ends the windows of all: make retention longer, or leave time out";

    fn default_grace() -> Duration {
        literal("0s")
    }

    fn default_retention() -> Duration {
        literal("168h")
    }

    /// How many windows a group has at a time at the most, but for records that are ahead of others.
    pub fn at_a_time(&self) -> u64 {
        let kept = [&self.size, &self.grace, &self.retention].map(Duration::as_millis);
        let kept = kept.into_iter().fold(0, u64::saturating_add);
        kept.div_ceil(self.size.as_millis().max(1))
    }
}

/// Where totals go.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilteredSumOutput {
    /// Topic of the totals. It is created compacted, with as many partitions as the input topic, and kept when the
    /// FilteredSum is deleted, unless `deletionPolicy` says otherwise.
    #[x_kube(validation = writable_topic())]
    #[schemars(length(max = 200), regex(pattern = TOPIC))]
    pub topic: String,
}

/// What the operator found.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilteredSumStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Workers that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Most workers that there can be: the smaller of the largest `maxReplicas` in `scaling` and the partitions of the input topic.
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
    /// The rules by which the workers sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computation: Option<Computation>,
}

/// The rules by which a sum is computed. Other rules are another computation, also if there were the same before.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Computation {
    /// The generation of the spec from which on they are as they are: later computations have larger ones.
    pub generation: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    pub sum: Sum,
    /// What became of the totals before: `spec.reset` as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
}
