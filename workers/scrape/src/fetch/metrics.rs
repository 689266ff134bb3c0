//! What a fetcher counts.

use naru_worker_core::run;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use reqwest::StatusCode;

use super::outcome::Outcome;

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    pages: Family<OutcomeLabel, Counter>,
    answers: Family<StatusLabel, Counter>,
    pub(super) retries: Counter,
    pub(super) requests_under_way: Gauge,
    pub(super) partitions: Gauge,
    pub(super) aborted: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: String,
}

impl Metrics {
    pub(super) fn new(metrics: &run::Metrics) -> Self {
        Self {
            pages: metrics.register(
                "fetcher_pages",
                "Ids that are settled and committed",
                Family::default(),
            ),
            answers: metrics.register(
                "fetcher_answers",
                "Answers of the site, by status",
                Family::default(),
            ),
            retries: metrics.register(
                "fetcher_retries",
                "Requests that were put off after a failure",
                Counter::default(),
            ),
            requests_under_way: metrics.register("fetcher_requests", "Requests under way", Gauge::default()),
            partitions: metrics.register(
                "fetcher_partitions",
                "Partitions of the frontier owned",
                Gauge::default(),
            ),
            aborted: metrics.register(
                "fetcher_transactions_aborted",
                "Transactions that were aborted",
                Counter::default(),
            ),
        }
    }

    pub(super) fn count_page(&self, outcome: &Outcome) {
        let outcome = match outcome {
            Outcome::Record { .. } => "record",
            Outcome::Gone => "gone",
            Outcome::DeadLetter { .. } => "dead_letter",
        };
        self.pages.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// None when there was no answer.
    pub(super) fn count_answer(&self, status: Option<StatusCode>) {
        let status = status.map_or_else(|| "none".to_owned(), |status| status.as_u16().to_string());
        self.answers.get_or_create(&StatusLabel { status }).inc();
    }
}
