//! What `/metrics` says about a filtered-sum worker.

use std::sync::atomic::AtomicU64;

use naru_worker_core::run::Metrics as Registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

#[derive(Clone, Debug)]
pub struct Metrics {
    pub records: Counter,
    pub dropped: Counter,
    pub dead_letters: Counter,
    pub late: Counter,
    pub commits: Counter,
    pub aborts: Counter,
    pub commit_seconds: Histogram,
    pub restore_seconds: Histogram,
    pub assigned_partitions: Gauge,
    pub stopped_partitions: Gauge,
    pub busy: Gauge<f64, AtomicU64>,
    pub keys: Gauge,
    pub catching_up_partitions: Gauge,
    pub catching_up_offsets: Gauge,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Self {
        let name = |name: &str| format!("filtered_sum_{name}");
        let counter = |of: &str, help: &str| registry.register(&name(of), help, Counter::default());
        let gauge = |of: &str, help: &str| registry.register(&name(of), help, Gauge::default());
        let seconds = |of: &str, help: &str| {
            // From 1 ms to about a minute.
            registry.register(
                &name(of),
                help,
                Histogram::new(exponential_buckets(0.001, 2.0, 17)),
            )
        };
        Self {
            records: counter("records", "Records read from the input topic"),
            dropped: counter("dropped", "Records that did not pass the filter"),
            dead_letters: counter("dead_letters", "Records that could not be decoded or summed"),
            late: counter(
                "late",
                "Records that came after their window was closed, and are in no sum",
            ),
            commits: counter("commits", "Snapshots of the totals that were committed"),
            aborts: counter("aborts", "Commits that failed and were tried again"),
            commit_seconds: seconds("commit_seconds", "Time from the beginning of a commit to its end"),
            restore_seconds: seconds(
                "restore_seconds",
                "Time to read the totals of partitions that were assigned",
            ),
            assigned_partitions: gauge("assigned_partitions", "Input partitions that this worker owns"),
            stopped_partitions: gauge(
                "stopped_partitions",
                "Owned partitions that cannot be summed; the log says why",
            ),
            busy: registry.register(
                &name("busy_ratio"),
                "Part of its time that this worker works on records rather than waits for them; commits count as neither",
                Gauge::default(),
            ),
            keys: gauge(
                "keys",
                "Keys of owned partitions of which it is known what they add (sum.retract)",
            ),
            catching_up_partitions: gauge(
                "catching_up_partitions",
                "Owned partitions that are summed anew, and whose totals are of earlier rules until that has caught up",
            ),
            catching_up_offsets: gauge(
                "catching_up_offsets",
                "Offsets that these partitions have yet to pass",
            ),
        }
    }
}
