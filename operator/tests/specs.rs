//! What becomes of specs that people, or chance, get wrong: on their way through the API server, the types and `validate`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's answer")]

#[path = "../api/tests/admission/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "tests share it, and none uses all of it"
)]
mod admission;
#[path = "specs/any.rs"]
mod any;
#[path = "specs/built.rs"]
mod built;
#[path = "../api/tests/examples/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "tests share it, and none uses all of it"
)]
mod examples;
#[path = "specs/fuzzed.rs"]
mod fuzzed;
#[path = "specs/unreadable.rs"]
mod unreadable;
#[path = "specs/wrong.rs"]
mod wrong;

use clap::Parser;
use naru_api::{FilteredSum, ScrapeJob, SinkConnector};
use naru_operator::{filtered_sum, scrape_job, settings::Settings, sink_connector};
use serde_json::Value;

const KINDS: [&str; 4] = [
    "ScrapeJob",
    "FilteredSum",
    "SinkConnector",
    "SinkConnector of any class",
];

fn schema(kind: &str) -> Value {
    admission::schema_of(kind.split(' ').next().unwrap_or(kind))
}

fn settings() -> Settings {
    Settings::parse_from([
        "naru-operator",
        "--worker-image=naru/workers:1",
        "--kafka-bootstrap-servers=kafka:9092",
        "--registry-url=http://registry:8081",
        "--connect-url=http://connect:8083",
    ])
}

/// What the operator has against a stored resource.
fn validate(kind: &str, object: Value) -> Result<(), String> {
    let settings = settings();
    let unreadable = |error: serde_json::Error| format!("the stored object cannot be read: {error}");
    match kind {
        "ScrapeJob" => {
            let job: ScrapeJob = serde_json::from_value(object).map_err(unreadable)?;
            scrape_job::validate(&settings, &job).map(drop)
        }
        "FilteredSum" => {
            let sum: FilteredSum = serde_json::from_value(object).map_err(unreadable)?;
            filtered_sum::validate(&settings, &sum).map(drop)
        }
        _ => {
            let sink: SinkConnector = serde_json::from_value(object).map_err(unreadable)?;
            sink_connector::validate(&settings, &sink).map(drop)
        }
    }
    .map_err(|error| error.sentence())
}
