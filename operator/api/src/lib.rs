//! What users write: the custom resources `ScrapeJob`, `SinkConnector` and `FilteredSum` of group `naru.dev`.
//!
//! Types and their schemas only: no I/O. What a schema can check, the API server refuses (bounds, patterns and
//! CEL rules); what it cannot see (selectors, filters, whether a topic exists), the operator reports in a
//! condition.

#![allow(unreachable_pub, reason = "the schema derive repeats each struct inside a function")]

pub mod condition;
mod duration;
mod endpoints;
mod filtered_sum;
mod scaling;
mod scrape_job;
mod sink_connector;

pub use condition::Condition;
pub use duration::Duration;
pub use endpoints::{ConnectEndpoint, KafkaEndpoint, RegistryEndpoint};
pub use filtered_sum::{
    FilteredSum, FilteredSumInput, FilteredSumOutput, FilteredSumSpec, FilteredSumStatus, Sum,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
pub use naru_rules::extract::{Field, FieldType, Source as FieldSource};
pub use scaling::Scaling;
pub use scrape_job::{
    ExponentialRetry, Extract, FixedRetry, Head, PageSource, Politeness, RecordOutput, Retry, Robots, ScrapeJob,
    ScrapeJobSpec, ScrapeJobStatus, Sitemap, Start,
};
pub use sink_connector::{
    MysqlSink, SecretKey, SinkConnector, SinkConnectorSpec, SinkConnectorStatus, TaskCounts,
};

/// API group of all kinds.
pub const GROUP: &str = "naru.dev";

/// Label by which the resources of one pipeline belong together.
pub const PIPELINE_LABEL: &str = "naru.dev/pipeline";

/// The definitions of all kinds, by the file name they are kept under in `crds/`.
pub fn definitions() -> [(&'static str, CustomResourceDefinition); 3] {
    [
        ("scrapejobs.yaml", ScrapeJob::crd()),
        ("sinkconnectors.yaml", SinkConnector::crd()),
        ("filteredsums.yaml", FilteredSum::crd()),
    ]
}
