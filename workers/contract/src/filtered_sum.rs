//! What a filtered-sum worker does.

use serde::{Deserialize, Serialize};

use crate::{Kafka, Registry};

/// The document of a `FilteredSum`'s workers.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilteredSumWorker {
    /// `namespace/name` of the resource, for logs.
    pub name: String,
    pub kafka: Kafka,
    pub registry: Registry,
    /// Consumer group; also the stem of the transactional ids.
    pub group: String,
    /// Topic of Avro records.
    pub input_topic: String,
    /// CEL over the record's fields; records for which it is false are counted as dropped. None: all are summed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Field that is summed: an Avro `int`, `long` or `decimal`, or a union of one with null. Null adds nothing.
    pub field: String,
    /// Digits of the sum behind the point, at most 18. A value with more of them is not summed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scale: u8,
    /// Whether a `float` or `double` is summed too, each rounded half to even to `scale` digits behind the point.
    #[serde(default, skip_serializing_if = "is_default")]
    pub round_floats: bool,
    /// Fields whose values name the group that a record is added to. Empty: one sum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
    /// Windows of time in which sums are kept, of each group. None: all records are summed together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Compacted topic of totals, with at least as many partitions as the input topic.
    pub output_topic: String,
    /// Compacted topic of what each key adds, with at least as many partitions as the input topic. With it a record takes the
    /// place of the one before of the same key in its partition, and one without a value takes that back. None: each record
    /// counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_topic: Option<String>,
    /// Topic for records that cannot be decoded or summed.
    pub dead_letter_topic: String,
    /// Time between two commits while there is something to commit, ms.
    pub commit_interval_ms: u64,
    /// Which computation of the group's sum this is: another filter, or another sum of something or by something, has a larger
    /// number than all before it, also if it is one that there was before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub computation: i64,
    /// What becomes of the totals of an earlier computation. None: they are left alone, and nothing is summed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub delivery: Delivery,
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_error: OnError,
}

/// Windows that follow each other without a gap: each record is in the one that its time is in. They begin at multiples of their
/// size since the epoch.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// How long each is, ms, in whole seconds.
    pub size_ms: u64,
    /// Field with the time of a record: a timestamp or a date. None: the time that Kafka has of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// How far behind a window's end the time of its partition comes before nothing is added to it any more, ms.
    #[serde(default, skip_serializing_if = "is_default")]
    pub grace_ms: u64,
    /// How far further it comes before the window's total is removed, ms.
    pub retention_ms: u64,
}

/// What becomes of totals of the same group that were summed by other rules.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reset {
    /// The input is summed anew from its start; they stay until that has caught up with them, and are then replaced.
    FromEarliest,
    /// They are gone on with: records behind them are added by the rules of now.
    Continue,
}

/// How totals get to the output topic.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Delivery {
    /// In a transaction with the dead letters and the offsets.
    #[default]
    ExactlyOnce,
    /// As records that may come again. The offsets follow.
    IdempotentUpsert,
}

/// What becomes of a record that cannot be decoded or summed.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OnError {
    /// It goes to the dead letter topic.
    #[default]
    DeadLetter,
    /// Its partition stops before it.
    Stop,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
