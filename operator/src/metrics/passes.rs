//! Passes over resources: how many, how long, which one is under way, which resource waits for one.
//!
//! kube's queue cannot be looked into. What can be seen of it is that a resource was to be looked at again by now, after
//! the time between two looks or for a retry, and that no pass over it has begun.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use kube::{
    Resource,
    core::object::HasStatus,
    runtime::{controller::Action, reflector::Store},
};
use naru_api::Condition;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};

use super::{Object, durations, lock, seconds};
use crate::controller::{Error, Guarded, status::Conditions};

/// A pass has deadlines, which end far sooner.
const LONGEST_PASS: Duration = Duration::from_secs(600);
/// A resource that failed is looked at again after a minute at most, give or take a quarter.
const LONGEST_BACKOFF: Duration = Duration::from_secs(75);

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

/// Passes of all controllers.
#[derive(Clone)]
pub struct Passes {
    outcomes: Family<Outcome, Counter>,
    durations: Family<OfKind, Histogram, fn() -> Histogram>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    running: BTreeMap<Object, Running>,
    ended: BTreeMap<Object, Ended>,
    /// When a pass over a resource of a kind last began or ended.
    moved: BTreeMap<&'static str, Instant>,
    known: BTreeMap<&'static str, Known>,
}

struct Running {
    since: Instant,
    at: SystemTime,
}

#[derive(Default)]
struct Ended {
    succeeded: Option<SystemTime>,
    retries: bool,
    /// When the next pass should have begun. None: after a change.
    due: Option<Instant>,
}

/// Shows each resource of a kind, with its conditions.
pub(super) type Known = Box<dyn Fn(&mut dyn FnMut(Object, &[Condition])) + Send + Sync>;

impl Passes {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let passes = Self {
            outcomes: Family::default(),
            durations: Family::new_with_constructor(durations),
            state: Arc::default(),
        };
        registry.register(
            "reconciles",
            "Passes over a resource, by how they ended",
            passes.outcomes.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "Time that a pass over a resource took",
            passes.durations.clone(),
        );
        registry.register_collector(Box::new(passes.clone()));
        passes
    }

    /// Lets the resources of a kind be known: what is told of one ends with it.
    pub fn follow<K>(&self, kind: &'static str, store: Store<Guarded<K>>)
    where
        K: Resource<DynamicType = ()> + HasStatus<Status: Conditions> + Clone + Send + Sync + 'static,
    {
        self.follow_with(
            kind,
            Box::new(move |show| {
                for object in store.state() {
                    let status = object.0.as_ref().ok().and_then(HasStatus::status);
                    let conditions = status.map(Conditions::conditions).unwrap_or_default();
                    show(Object::of(kind, &*object), conditions);
                }
            }),
        );
    }

    pub(super) fn follow_with(&self, kind: &'static str, known: Known) {
        lock(&self.state).known.insert(kind, known);
    }

    /// A pass begins.
    pub fn begin(&self, object: Object) -> Pass {
        let now = Instant::now();
        let mut state = lock(&self.state);
        state.moved.insert(object.kind, now);
        let running = Running {
            since: now,
            at: SystemTime::now(),
        };
        state.running.insert(object.clone(), running);
        Pass {
            passes: self.clone(),
            object,
            start: now,
        }
    }

    /// Passes that do not end, and controllers that do not begin one, as sentences.
    pub(super) fn standstill(&self, now: Instant) -> Vec<String> {
        let mut state = lock(&self.state);
        state.forget_unknown();
        let age = |at: Instant| now.saturating_duration_since(at);
        let endless = state
            .running
            .iter()
            .filter(|(_, running)| age(running.since) > LONGEST_PASS)
            .map(|(object, running)| {
                let seconds = age(running.since).as_secs();
                format!("a pass over {object} has been under way for {seconds} s")
            });
        let silent = state
            .moved
            .iter()
            .filter(|(_, moved)| age(**moved) > LONGEST_PASS)
            .filter_map(|(kind, moved)| {
                let long_due = |(object, ended): &(&Object, &Ended)| {
                    object.kind == *kind && ended.due.is_some_and(|due| age(due) > LONGEST_PASS)
                };
                let (object, _) = state.ended.iter().find(long_due)?;
                let seconds = age(*moved).as_secs();
                Some(format!(
                    "the controller of {kind} has done nothing for {seconds} s, and {object} waits"
                ))
            });
        endless.chain(silent).collect()
    }
}

impl State {
    fn forget_unknown(&mut self) {
        let mut known = BTreeSet::new();
        for show in self.known.values() {
            show(&mut |object, _| _ = known.insert(object));
        }
        let followed = &self.known;
        self.ended
            .retain(|object, _| known.contains(object) || !followed.contains_key(object.kind));
    }
}

/// A pass under way. One that is dropped has ended without a result.
pub struct Pass {
    passes: Passes,
    object: Object,
    start: Instant,
}

impl Pass {
    /// The pass has ended. After a success the next one is due in about `resync`.
    pub fn end(self, result: &Result<Action, Error>, resync: Duration) {
        let kind = self.object.kind;
        let label = result.as_ref().map_or_else(Error::reason, |_| "ok");
        let outcome = Outcome { kind, result: label };
        self.passes.outcomes.get_or_create(&outcome).inc();
        self.passes
            .durations
            .get_or_create(&OfKind { kind })
            .observe(self.start.elapsed().as_secs_f64());
        let again = Instant::now() + resync.mul_f64(1.1).max(LONGEST_BACKOFF);
        let mut state = lock(&self.passes.state);
        let ended = state.ended.entry(self.object.clone()).or_default();
        ended.retries = matches!(
            result,
            Err(Error::Incompatible { .. }
                | Error::Dependency { .. }
                | Error::Busy { .. }
                | Error::Kubernetes { .. }
                | Error::Silent { .. })
        );
        let waits_for_a_change = match result {
            Ok(next) => *next == Action::await_change(),
            Err(error) => matches!(error, Error::Invalid { .. }),
        };
        ended.due = (!waits_for_a_change).then_some(again);
        if result.is_ok() {
            ended.succeeded = Some(SystemTime::now());
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = lock(&self.passes.state);
        state.running.remove(&self.object);
        state.moved.insert(self.object.kind, Instant::now());
    }
}

impl fmt::Debug for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passes").finish_non_exhaustive()
    }
}

impl Collector for Passes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut state = lock(&self.state);
        state.forget_unknown();
        let now = Instant::now();
        let kinds = || state.moved.keys().map(|kind| OfKind { kind });
        let of_kind = |labels: &OfKind, counts: &dyn Fn(&Ended) -> bool| {
            let counted = |(object, ended): &(&Object, &Ended)| object.kind == labels.kind && counts(ended);
            state.ended.iter().filter(counted).count() as f64
        };
        gauges(
            &mut encoder,
            "reconciles_in_progress",
            "Passes under way.",
            kinds().map(|labels| {
                let of_kind = state.running.keys().filter(|object| object.kind == labels.kind);
                let count = of_kind.count() as f64;
                (labels, count)
            }),
        )?;
        gauges(
            &mut encoder,
            "reconciles_overdue",
            "Resources that were to be looked at again by now.",
            kinds().map(|labels| {
                let overdue = of_kind(&labels, &|ended| ended.due.is_some_and(|due| due < now));
                (labels, overdue)
            }),
        )?;
        gauges(
            &mut encoder,
            "retries_waiting",
            "Resources whose last pass failed and is tried again.",
            kinds().map(|labels| {
                let waiting = of_kind(&labels, &|ended| ended.retries);
                (labels, waiting)
            }),
        )?;
        gauges(
            &mut encoder,
            "reconcile_in_progress_start_time_seconds",
            "When the pass under way over a resource began, since 1970; missing while there is none.",
            state
                .running
                .iter()
                .map(|(object, running)| (object.clone(), seconds(running.at))),
        )?;
        gauges(
            &mut encoder,
            "reconcile_last_success_time_seconds",
            "When a pass over a resource last went through, since 1970.",
            state
                .ended
                .iter()
                .filter_map(|(object, ended)| Some((object.clone(), seconds(ended.succeeded?)))),
        )?;
        let mut encoder = encoder.encode_descriptor(
            "resource_condition",
            "Conditions of each resource as they are now, always 1: see the labels status and reason.",
            None,
            MetricType::Gauge,
        )?;
        let mut result = Ok(());
        for show in state.known.values() {
            show(&mut |object, conditions| {
                for condition in conditions {
                    let labels = [
                        ("kind", object.kind),
                        ("namespace", &object.namespace),
                        ("name", &object.name),
                        ("condition", &condition.condition_type),
                        ("status", &condition.status),
                        ("reason", &condition.reason),
                    ];
                    let series = encoder.encode_family(&labels);
                    let written = series.and_then(|series| ConstGauge::new(1_i64).encode(series));
                    result = result.and(written);
                }
            });
        }
        result
    }
}

fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &'static str,
    help: &'static str,
    series: impl Iterator<Item = (L, f64)>,
) -> fmt::Result {
    let mut encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        ConstGauge::new(value).encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESYNC: Duration = Duration::from_secs(30);
    const LABELS: &str = "kind=\"ScrapeJob\",namespace=\"shop\",name=\"items\"";

    fn object() -> Object {
        Object {
            kind: "ScrapeJob",
            namespace: "shop".to_owned(),
            name: "items".to_owned(),
        }
    }

    /// Passes over one ScrapeJob, which is there as long as the switch says so.
    fn passes() -> (Registry, Passes, Arc<Mutex<bool>>) {
        let mut registry = Registry::default();
        let passes = Passes::new(&mut registry);
        let there = Arc::new(Mutex::new(true));
        let known = Arc::clone(&there);
        let ready = Condition {
            condition_type: "Ready".to_owned(),
            status: "False".to_owned(),
            reason: "KafkaUnreachable".to_owned(),
            message: "kafka does not answer".to_owned(),
            last_transition_time: "2026-01-01T00:00:00Z".to_owned(),
            observed_generation: Some(1),
        };
        let show: Known = Box::new(move |show| {
            if *lock(&known) {
                show(object(), std::slice::from_ref(&ready));
            }
        });
        passes.follow_with("ScrapeJob", show);
        (registry, passes, there)
    }

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    fn ok() -> Result<Action, Error> {
        Ok(Action::requeue(RESYNC))
    }

    #[test]
    fn a_pass_shows_since_when_it_is_under_way_and_only_while_it_is() {
        let (registry, passes, _) = passes();
        let series = format!("reconcile_in_progress_start_time_seconds{{{LABELS}}} ");
        let pass = passes.begin(object());
        assert!(text(&registry).contains(&series), "{}", text(&registry));
        assert!(text(&registry).contains("reconciles_in_progress{kind=\"ScrapeJob\"} 1.0\n"));
        pass.end(&ok(), RESYNC);
        assert!(!text(&registry).contains(&series), "{}", text(&registry));
        // One that is given up half-way has ended, too.
        drop(passes.begin(object()));
        assert!(!text(&registry).contains(&series), "{}", text(&registry));
        assert!(text(&registry).contains("reconciles_total{kind=\"ScrapeJob\",result=\"ok\"} 1\n"));
    }

    #[test]
    fn a_success_and_the_conditions_are_told_as_long_as_the_resource_is_there() {
        let (registry, passes, there) = passes();
        passes.begin(object()).end(&ok(), RESYNC);
        let success = format!("reconcile_last_success_time_seconds{{{LABELS}}} ");
        let condition = format!(
            "resource_condition{{{LABELS},condition=\"Ready\",status=\"False\",reason=\"KafkaUnreachable\"}} 1\n"
        );
        let before = text(&registry);
        assert!(
            before.contains(&success) && before.contains(&condition),
            "{before}"
        );
        *lock(&there) = false;
        assert!(!text(&registry).contains("shop"), "{}", text(&registry));
    }

    #[test]
    fn only_failures_that_an_edit_need_not_mend_wait_for_a_retry() {
        let (registry, passes, _) = passes();
        let waiting = |n: u32| format!("retries_waiting{{kind=\"ScrapeJob\"}} {n}.0\n");
        let kafka = Err(Error::dependency("KafkaUnreachable", "kafka does not answer"));
        let doing = "read Secret".to_owned();
        let silent = Err(Error::Silent { doing });
        for (result, expected) in [(kafka, 1), (Err(Error::invalid("no")), 0), (silent, 1), (ok(), 0)] {
            passes.begin(object()).end(&result, RESYNC);
            assert!(
                text(&registry).contains(&waiting(expected)),
                "{result:?} {}",
                text(&registry)
            );
        }
    }

    #[test]
    fn a_pass_that_does_not_end_and_a_controller_that_begins_none_stand_still() {
        let (_, passes, there) = passes();
        let now = Instant::now();
        let pass = passes.begin(object());
        assert_eq!(passes.standstill(now + LONGEST_PASS), [""; 0]);
        let now = Instant::now();
        let late = now + LONGEST_PASS * 2;
        assert_eq!(
            passes.standstill(late),
            ["a pass over ScrapeJob shop/items has been under way for 1200 s"]
        );
        pass.end(&ok(), RESYNC);
        let late = Instant::now() + LONGEST_PASS * 2;
        let told = passes.standstill(late);
        assert!(
            told.len() == 1 && told[0].ends_with("ScrapeJob shop/items waits"),
            "{told:?}"
        );
        // One that rightly waits for a change, however long that takes.
        passes.begin(object()).end(&Ok(Action::await_change()), RESYNC);
        assert_eq!(passes.standstill(late), [""; 0]);
        // Nothing is to be done for a spec that waits for an edit, nor for a resource that is gone.
        passes.begin(object()).end(&Err(Error::invalid("no")), RESYNC);
        assert_eq!(passes.standstill(late), [""; 0]);
        passes.begin(object()).end(&ok(), RESYNC);
        *lock(&there) = false;
        assert_eq!(passes.standstill(late), [""; 0]);
    }
}
