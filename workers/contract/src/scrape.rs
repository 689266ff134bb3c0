//! What a scrape planner and a scrape fetcher do; both read the same document.

use naru_rules::extract::Field;
use serde::{Deserialize, Serialize};

use crate::{Kafka, Registry};

/// The document of a `ScrapeJob`'s planner and fetchers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrapeWorker {
    /// `namespace/name` of the job, for logs.
    pub job: String,
    pub kafka: Kafka,
    pub registry: Registry,
    pub source: Source,
    pub frontier: Frontier,
    pub politeness: Politeness,
    pub retry: Retry,
    /// The fields of the record that a page becomes.
    pub fields: Vec<Field>,
    pub output: Output,
}

/// Which pages there are.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Address of a page, with `{id}` where the id stands.
    pub url_template: String,
    pub start: Start,
    pub head: Head,
}

/// Where a job that has never run begins.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Start {
    /// With what appears after the first look.
    Latest,
    /// With this id.
    Id(u64),
}

/// How the newest id is found.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// A sitemap, a sitemap index, or any text that names pages; gzip is recognised.
    pub url: String,
    /// Regular expression whose first group is an id; the largest match is the head.
    pub pattern: String,
    /// Time between two looks, ms.
    pub every_ms: u64,
}

/// The topic through which the planner hands ranges of ids to the fetchers.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Frontier {
    /// Topic of ranges. Its partition count is the most fetchers that can work at once.
    pub topic: String,
    /// Compacted topic with one partition, kept for ever: the planner's head, written in one transaction with its
    /// ranges, and how far the fetchers have come, written in one transaction with their records.
    pub head_topic: String,
    /// Consumer group of the fetchers; also the stem of all transactional ids of the job.
    pub group: String,
    /// Most ids in one range.
    pub range_size: u64,
}

/// What the site may be asked to bear, by the planner and all fetchers together.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Politeness {
    /// requests/s
    pub max_requests_per_second: f64,
    /// Requests under way. One of them is the planner's.
    pub max_concurrent: u32,
    /// Whether robots.txt is respected.
    pub respect_robots: bool,
    pub user_agent: String,
    /// Deadline of one request from its start to the last byte of its body, ms.
    pub request_timeout_ms: u64,
}

/// A failed request is tried again `fixed_times` after `fixed_delay_ms` each, then `exponential_times` after
/// delays that double from `exponential_base_ms` up to `exponential_max_ms`; then it is a dead letter.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    pub fixed_times: u32,
    pub fixed_delay_ms: u64,
    pub exponential_times: u32,
    pub exponential_base_ms: u64,
    pub exponential_max_ms: u64,
}

/// Where records go.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    pub topic: String,
    /// Name of the field whose value, as text, is the record's key.
    pub key: String,
    /// Topic for ids that could not be turned into a record.
    pub dead_letter_topic: String,
}
