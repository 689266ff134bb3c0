//! What the autoscaler sees and does.

use std::{
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::{Duration, Instant, SystemTime},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Object, lock, seconds};

/// Longest time without a look of the autoscaler's. A look has deadlines, which end far sooner.
const LONGEST_SILENCE: Duration = Duration::from_secs(300);

/// What was decided.
#[derive(Clone, Copy)]
enum Scaled {
    Held,
    Out,
    In,
}

impl Scaled {
    const ALL: [Self; 3] = [Self::Held, Self::Out, Self::In];

    fn label(self) -> &'static str {
        match self {
            Self::Held => "hold",
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Decided {
    kind: &'static str,
    namespace: String,
    name: String,
    decision: &'static str,
}

type Rate = Gauge<f64, AtomicU64>;

/// Lag, replicas and decisions by resource.
#[derive(Clone, Debug)]
pub struct Scaling {
    lag: Family<Object, Gauge>,
    lag_available: Family<Object, Gauge>,
    replicas: Family<Object, Gauge>,
    desired: Family<Object, Gauge>,
    stalled: Family<Object, Gauge>,
    produced: Family<Object, Rate>,
    arrival: Family<Object, Rate>,
    capacity: Family<Object, Rate>,
    decisions: Family<Decided, Counter>,
    last_look: Gauge<f64, AtomicU64>,
    /// The last sign of life, and how long the next one may take.
    moved: Arc<Mutex<Option<(Instant, Duration)>>>,
}

impl Scaling {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let scaling = Self {
            lag: Family::default(),
            lag_available: Family::default(),
            replicas: Family::default(),
            desired: Family::default(),
            stalled: Family::default(),
            produced: Family::default(),
            arrival: Family::default(),
            capacity: Family::default(),
            decisions: Family::default(),
            last_look: Gauge::default(),
            moved: Arc::default(),
        };
        for (name, help, family) in [
            (
                "lag_records",
                "Records that the workers of a resource have yet to work on; missing while that is not known",
                &scaling.lag,
            ),
            (
                "lag_available",
                "Whether the lag of a resource's workers is known, 1 or 0",
                &scaling.lag_available,
            ),
            (
                "replicas",
                "Replicas that the workers' Deployment asked for at the last look",
                &scaling.replicas,
            ),
            (
                "replicas_desired",
                "Replicas that the autoscaler last decided on",
                &scaling.desired,
            ),
            (
                "partitions_stalled",
                "Partitions with records in which the workers do not get on; missing while that is not known",
                &scaling.stalled,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        for (name, help, family) in [
            (
                "producer_capacity_ratio",
                "Part of what producers may write that they write; missing while that is not known",
                &scaling.produced,
            ),
            (
                "arrival_records_per_second",
                "Records that arrive per second; missing while that is not known",
                &scaling.arrival,
            ),
            (
                "replica_capacity_records_per_second",
                "Records that one replica was measured to do per second; missing while that is not known",
                &scaling.capacity,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        registry.register(
            "scaling_decisions",
            "Decisions of the autoscaler: out, in or hold",
            scaling.decisions.clone(),
        );
        registry.register(
            "autoscaler_last_look_time_seconds",
            "When the autoscaler last looked, since 1970",
            scaling.last_look.clone(),
        );
        scaling
    }

    /// A sign of life. `every`: the time between two rounds.
    pub fn looked(&self, every: Duration) {
        self.last_look.set(seconds(SystemTime::now()));
        let limit = LONGEST_SILENCE.max(every.saturating_mul(10));
        *lock(&self.moved) = Some((Instant::now(), limit));
    }

    /// The lag of a resource now; none if it is not known. No number is better than an old one, or than zero.
    pub fn lag(&self, object: &Object, records: Option<u64>) {
        self.lag_available
            .get_or_create(object)
            .set(records.is_some().into());
        match records {
            Some(records) => {
                let records = i64::try_from(records).unwrap_or(i64::MAX);
                self.lag.get_or_create(object).set(records);
            }
            None => _ = self.lag.remove(object),
        }
    }

    /// In how many partitions the workers do not get on; none if that is not known.
    pub fn stalled(&self, object: &Object, partitions: Option<usize>) {
        match partitions {
            Some(partitions) => {
                let partitions = i64::try_from(partitions).unwrap_or(i64::MAX);
                self.stalled.get_or_create(object).set(partitions);
            }
            None => _ = self.stalled.remove(object),
        }
    }

    /// Part of what producers may write that they write; none if that is not known.
    pub fn producers(&self, object: &Object, part: Option<f64>) {
        set(&self.produced, object, part);
    }

    /// How fast records arrive and a replica works; none if that is not known.
    pub fn rates(&self, object: &Object, arrival: Option<f64>, capacity: Option<f64>) {
        set(&self.arrival, object, arrival);
        set(&self.capacity, object, capacity);
    }

    /// `replicas` are left as they are, though there may be others desired. None: nothing is said of that.
    pub fn held(&self, object: &Object, replicas: i32, desired: Option<i32>) {
        self.count(object, replicas, desired, Scaled::Held);
    }

    /// `replicas` were changed to the desired ones.
    pub fn scaled(&self, object: &Object, replicas: i32, desired: i32) {
        let direction = if desired > replicas {
            Scaled::Out
        } else {
            Scaled::In
        };
        self.count(object, replicas, Some(desired), direction);
    }

    fn count(&self, object: &Object, replicas: i32, desired: Option<i32>, what: Scaled) {
        self.replicas.get_or_create(object).set(replicas.into());
        match desired {
            Some(desired) => _ = self.desired.get_or_create(object).set(desired.into()),
            None => _ = self.desired.remove(object),
        }
        self.decisions.get_or_create(&decided(object, what)).inc();
    }

    /// The resource is gone, or is no longer scaled.
    pub fn forget(&self, object: &Object) {
        for family in [&self.lag, &self.lag_available, &self.replicas, &self.desired] {
            family.remove(object);
        }
        self.rates(object, None, None);
        self.stalled(object, None);
        self.producers(object, None);
        for what in Scaled::ALL {
            self.decisions.remove(&decided(object, what));
        }
    }

    pub(super) fn standstill(&self, now: Instant) -> Option<String> {
        let (moved, limit) = (*lock(&self.moved))?;
        let silent = now.saturating_duration_since(moved);
        (silent > limit).then(|| {
            format!(
                "the autoscaler has not looked at anything for {} s",
                silent.as_secs()
            )
        })
    }
}

fn set(family: &Family<Object, Rate>, object: &Object, value: Option<f64>) {
    match value {
        Some(value) => _ = family.get_or_create(object).set(value),
        None => _ = family.remove(object),
    }
}

fn decided(object: &Object, what: Scaled) -> Decided {
    Decided {
        kind: object.kind,
        namespace: object.namespace.clone(),
        name: object.name.clone(),
        decision: what.label(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_lag_is_no_number_and_a_resource_that_goes_leaves_no_series() {
        let mut registry = Registry::default();
        let scaling = Scaling::new(&mut registry);
        let text = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        let object = Object {
            kind: "FilteredSum",
            namespace: "shop".to_owned(),
            name: "total".to_owned(),
        };
        let labels = "kind=\"FilteredSum\",namespace=\"shop\",name=\"total\"";
        scaling.lag(&object, Some(25_000));
        scaling.rates(&object, Some(12.5), Some(1000.0));
        scaling.stalled(&object, Some(2));
        scaling.producers(&object, Some(0.75));
        scaling.scaled(&object, 1, 3);
        scaling.held(&object, 3, Some(3));
        for line in [
            format!("lag_records{{{labels}}} 25000\n"),
            format!("lag_available{{{labels}}} 1\n"),
            format!("producer_capacity_ratio{{{labels}}} 0.75\n"),
            format!("partitions_stalled{{{labels}}} 2\n"),
            format!("arrival_records_per_second{{{labels}}} 12.5\n"),
            format!("replica_capacity_records_per_second{{{labels}}} 1000.0\n"),
            format!("replicas{{{labels}}} 3\n"),
            format!("replicas_desired{{{labels}}} 3\n"),
            format!("scaling_decisions_total{{{labels},decision=\"out\"}} 1\n"),
            format!("scaling_decisions_total{{{labels},decision=\"hold\"}} 1\n"),
        ] {
            assert!(text().contains(&line), "{line}{}", text());
        }
        scaling.rates(&object, Some(12.5), None);
        assert!(
            !text().contains("replica_capacity_records_per_second{"),
            "{}",
            text()
        );
        scaling.held(&object, 3, None);
        assert!(!text().contains("replicas_desired{"), "{}", text());
        scaling.lag(&object, None);
        assert!(!text().contains("lag_records{"), "{}", text());
        assert!(
            text().contains(&format!("lag_available{{{labels}}} 0\n")),
            "{}",
            text()
        );
        scaling.forget(&object);
        assert!(!text().contains("shop"), "{}", text());
    }

    #[test]
    fn an_autoscaler_that_began_and_went_silent_stands_still() {
        let scaling = Scaling::new(&mut Registry::default());
        let now = Instant::now();
        assert_eq!(scaling.standstill(now + Duration::from_secs(3600)), None);
        scaling.looked(Duration::from_secs(5));
        assert_eq!(scaling.standstill(now + Duration::from_secs(299)), None);
        assert!(
            scaling
                .standstill(Instant::now() + Duration::from_secs(301))
                .is_some()
        );
    }
}
