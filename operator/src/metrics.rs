//! What the operator counts, for Prometheus.

use std::{sync::Mutex, time::Instant};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Outcome {
    kind: &'static str,
    /// `ok`, or the reason of the error.
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfKind {
    kind: &'static str,
}

/// All metrics of the operator.
pub struct Metrics {
    registry: Mutex<Registry>,
    reconciles: Family<Outcome, Counter>,
    durations: Family<OfKind, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("naru_operator");
        let reconciles = Family::default();
        registry.register(
            "reconciles",
            "Passes over a resource, by how they ended",
            reconciles.clone(),
        );
        let histogram: fn() -> Histogram = || {
            Histogram::new([
                0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
            ])
        };
        let durations = Family::new_with_constructor(histogram);
        registry.register(
            "reconcile_duration_seconds",
            "Time that a pass over a resource took",
            durations.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            reconciles,
            durations,
        }
    }
}

impl Metrics {
    /// Counts a pass that began at `start`.
    pub fn reconciled(&self, kind: &'static str, result: &'static str, start: Instant) {
        self.reconciles.get_or_create(&Outcome { kind, result }).inc();
        self.durations
            .get_or_create(&OfKind { kind })
            .observe(start.elapsed().as_secs_f64());
    }

    /// Lets another part of the operator register its own.
    pub fn with_registry(&self, register: impl FnOnce(&mut Registry)) {
        register(
            &mut self
                .registry
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
    }

    /// In the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut body = String::new();
        let registry = self
            .registry
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        text::encode(&mut body, &registry).expect("a String takes all that is written to it");
        body
    }
}
