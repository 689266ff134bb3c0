//! What the operator counts, for Prometheus.
//!
//! Names and labels are public: the chart's dashboard and alerts use them, and so do people. Label sets are bounded: a
//! series that names an object goes with the object, and one that names an endpoint goes when nobody asks it any more.

mod api;
mod external;
mod passes;
mod process;
mod scaling;
#[cfg(test)]
mod tests;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use kube::{Resource, ResourceExt};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

pub use self::{
    api::ApiRequests,
    external::External,
    passes::{Pass, Passes},
    scaling::Scaling,
};

/// Which resource: the labels of all series that belong to one.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Object {
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
}

impl Object {
    pub fn of<K: Resource<DynamicType = ()>>(kind: &'static str, object: &K) -> Self {
        Self {
            kind,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// All metrics of the operator. Each field counts one thing, and can be cloned to where that happens.
pub struct Metrics {
    registry: Mutex<Registry>,
    pub passes: Passes,
    pub api: ApiRequests,
    pub external: External,
    pub scaling: Scaling,
    leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Registry::default();
        all.register_collector(Box::new(process::Process));
        let registry = all.sub_registry_with_prefix("naru_operator");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The operator's build", version);
        let leader = Gauge::default();
        registry.register(
            "leader",
            "1 where the operator reconciles, 0 where it stands by",
            leader.clone(),
        );
        Self {
            passes: Passes::new(registry),
            api: ApiRequests::new(registry),
            external: External::new(registry),
            scaling: Scaling::new(registry),
            registry: Mutex::new(all),
            leader,
        }
    }
}

/// Has the metrics say that this operator leads.
#[derive(Debug)]
#[must_use]
pub struct Lead(Gauge);

impl Drop for Lead {
    fn drop(&mut self) {
        self.0.set(0);
    }
}

impl Metrics {
    /// Says that this operator is the one that reconciles, for as long as what is returned lives.
    pub fn lead(&self) -> Lead {
        self.leader.set(1);
        Lead(self.leader.clone())
    }

    /// What should have moved and has not, as sentences. Empty where the operator stands by: nothing moves there.
    pub fn standstill(&self, now: Instant) -> Vec<String> {
        if self.leader.get() == 0 {
            return Vec::new();
        }
        let mut still = self.passes.standstill(now);
        still.extend(self.scaling.standstill(now));
        still
    }

    /// In the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut body = String::new();
        text::encode(&mut body, &lock(&self.registry)).expect("a String takes all that is written to it");
        body
    }
}

/// What is counted cannot be left half-made by a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since 1970, which is how Prometheus wants its times.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// For what takes from a millisecond up to a deadline.
fn durations() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}
