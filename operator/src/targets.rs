//! What the autoscaler looks after: the workers of all ScrapeJobs and FilteredSums.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{
    Resource, ResourceExt, core::object::HasStatus, discovery::ApiResource, runtime::reflector::Store,
};
use naru_api::{
    Condition, FilteredSum, Reset, Scaling, ScalingMode, ScrapeJob,
    condition::{OF_AUTOSCALER, VALID},
};

use crate::{
    autoscale::{
        Basis, Mode, Policy,
        run::{Limit, Said, Target},
        times,
    },
    controller::{Guarded, status::Conditions},
    filtered_sum,
    metrics::Object,
    names::Names,
    scrape_job,
    settings::Settings,
};

/// Ranges that one fetcher is given where a ScrapeJob does not say.
const RANGES_PER_FETCHER: i64 = 2;
/// Records that one worker is given where a FilteredSum does not say.
const RECORDS_PER_WORKER: i64 = 10_000;

/// A tenth of how long workers may stand still, at least and at most.
const STALL_EVERY: Duration = Duration::from_secs(30);
const LONGEST_STALL_EVERY: Duration = Duration::from_secs(3600);

/// The resources as the controllers' watches know them.
pub struct Targets {
    settings: Arc<Settings>,
    scrape_jobs: Store<Guarded<ScrapeJob>>,
    filtered_sums: Store<Guarded<FilteredSum>>,
    /// By uid.
    known: Mutex<HashMap<String, Known>>,
}

/// What the round before made of a resource.
struct Known {
    /// Resource version of the resource that it was made of.
    version: Option<String>,
    /// What was to be scaled, if anything.
    target: Option<Arc<Target>>,
    /// As the spec was when it was last accepted. What it declared then goes on running, and is scaled as it declared,
    /// while a later spec is refused or nobody has looked at it yet.
    accepted: Option<Arc<Target>>,
}

impl Targets {
    pub fn new(
        settings: &Arc<Settings>,
        scrape_jobs: Store<Guarded<ScrapeJob>>,
        filtered_sums: Store<Guarded<FilteredSum>>,
    ) -> Self {
        Self {
            settings: Arc::clone(settings),
            scrape_jobs,
            filtered_sums,
            known: Mutex::default(),
        }
    }

    /// All resources that are not being deleted, and whose spec was accepted or refused.
    pub fn list(&self) -> Vec<Arc<Target>> {
        // A panic elsewhere cannot leave a half-made map behind.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *known);
        let mut targets = Vec::with_capacity(before.len());
        let jobs = self.scrape_jobs.state();
        go_through(&jobs, &mut before, &mut known, &mut targets, |job| {
            self.scrape_job(job)
        });
        let sums = self.filtered_sums.state();
        go_through(&sums, &mut before, &mut known, &mut targets, |sum| {
            self.filtered_sum(sum)
        });
        targets
    }

    fn scrape_job(&self, job: &ScrapeJob) -> Option<Target> {
        let (namespace, name) = (job.namespace()?, job.name_any());
        let names = Names {
            namespace: &namespace,
            name: &name,
        };
        let own = job.spec.kafka.as_ref().map(|kafka| &kafka.bootstrap_servers);
        let mut policy = self.policy(&job.spec.scaling, RANGES_PER_FETCHER);
        let polite = scrape_job::polite_fetchers(&job.spec);
        policy.max_replicas = policy.max_replicas.min(polite);
        for schedule in &mut policy.schedules {
            schedule.max_replicas = schedule.max_replicas.map(|most| most.min(polite));
        }
        // Fetchers share the rate that the site is asked at: more of them are not faster.
        policy.basis = Basis::Lag;
        Some(Target {
            object: Object {
                kind: scrape_job::KIND,
                namespace: namespace.clone(),
                name: name.clone(),
            },
            reference: job.object_ref(&()),
            resource: ApiResource::erase::<ScrapeJob>(&()),
            generation: job.metadata.generation,
            said: said(job),
            suspended: job.spec.suspend,
            refused: false,
            deployment: names.fetcher(),
            group: names.fetcher_group(),
            topic: names.frontier_topic(),
            // Without any the spec is refused.
            bootstrap_servers: self.settings.bootstrap_servers(own).unwrap_or_default(),
            policy,
            producers: job
                .spec
                .capacity
                .as_ref()
                .map(|capacity| Limit::of(&job.spec.output.topic, capacity)),
            stall_every: stall_every(job),
            sums_anew: false,
        })
    }

    fn filtered_sum(&self, sum: &FilteredSum) -> Option<Target> {
        let (namespace, name) = (sum.namespace()?, sum.name_any());
        let names = Names {
            namespace: &namespace,
            name: &name,
        };
        let own = sum.spec.kafka.as_ref().map(|kafka| &kafka.bootstrap_servers);
        Some(Target {
            object: Object {
                kind: filtered_sum::KIND,
                namespace: namespace.clone(),
                name: name.clone(),
            },
            reference: sum.object_ref(&()),
            resource: ApiResource::erase::<FilteredSum>(&()),
            generation: sum.metadata.generation,
            said: said(sum),
            suspended: sum.spec.suspend,
            refused: false,
            deployment: names.sum(),
            group: names.sum_group(),
            topic: sum.spec.input.topic.clone(),
            // Without any the spec is refused.
            bootstrap_servers: self.settings.bootstrap_servers(own).unwrap_or_default(),
            policy: Policy {
                commits: Duration::from_millis(sum.spec.commit_interval.as_millis()),
                ..self.policy(&sum.spec.scaling, RECORDS_PER_WORKER)
            },
            producers: sum
                .spec
                .capacity
                .as_ref()
                .map(|capacity| Limit::of(&sum.spec.input.topic, capacity)),
            stall_every: STALL_EVERY,
            sums_anew: sums_anew(sum),
        })
    }

    fn policy(&self, scaling: &Scaling, lag_per_replica: i64) -> Policy {
        let usual = Policy::default();
        let length = |said: Option<&naru_api::Duration>, usual| {
            said.map_or(usual, |said| Duration::from_millis(said.as_millis()))
        };
        Policy {
            mode: match scaling.mode {
                ScalingMode::Auto => Mode::Auto,
                ScalingMode::Recommend => Mode::Recommend,
                ScalingMode::Disabled => Mode::Disabled,
            },
            min_replicas: scaling.min_replicas,
            max_replicas: scaling.max_replicas,
            lag_per_replica: u64::try_from(scaling.lag_per_replica.unwrap_or(lag_per_replica)).unwrap_or(1),
            max_lag: length(scaling.max_lag.as_ref(), usual.max_lag),
            catch_up: length(scaling.catch_up.as_ref(), usual.catch_up),
            scale_in_after: length(scaling.scale_in_after.as_ref(), self.settings.scale_in_after),
            // What cannot be read is no accepted spec, and scales nothing.
            schedules: times::schedules(scaling).unwrap_or_default(),
            freezes: times::freezes(scaling).unwrap_or_default(),
            ..usual
        }
    }
}

/// Whether it may be under way to sum partitions anew.
fn sums_anew(sum: &FilteredSum) -> bool {
    let computed = sum.status.as_ref().and_then(|status| status.computation.as_ref());
    let resets = [sum.spec.reset, computed.and_then(|computed| computed.reset)];
    resets.contains(&Some(Reset::FromEarliest))
}

/// Fetchers stand in a partition for as long as they work on a range of it, and they share the rate that the site is asked at.
fn stall_every(job: &ScrapeJob) -> Duration {
    let (spec, retry) = (&job.spec, &job.spec.retry);
    let range = f64::from(spec.source.range_size) / spec.politeness.max_requests_per_second;
    let all = range * f64::from(scrape_job::most_fetchers(spec));
    let retries = f64::from(retry.fixed.times) * millis(&retry.fixed.delay)
        + f64::from(retry.exponential.times) * millis(&retry.exponential.max);
    // Ten times as long is told, which is to be three times what it may take.
    let tenth = (0.3 * (all + retries / 1000.0)).min(LONGEST_STALL_EVERY.as_secs_f64());
    Duration::try_from_secs_f64(tenth)
        .unwrap_or(LONGEST_STALL_EVERY)
        .max(STALL_EVERY)
}

fn millis(length: &naru_api::Duration) -> f64 {
    length.as_millis() as f64
}

/// Adds what is to be scaled of a kind, and what is known of it now.
fn go_through<K>(
    objects: &[Arc<Guarded<K>>],
    before: &mut HashMap<String, Known>,
    known: &mut HashMap<String, Known>,
    targets: &mut Vec<Arc<Target>>,
    declared: impl Fn(&K) -> Option<Target>,
) where
    K: Resource<DynamicType = ()> + HasStatus<Status: Conditions>,
{
    for object in objects.iter().filter_map(|object| object.0.as_ref().ok()) {
        let Some(uid) = object.uid() else { continue };
        let now = known_now(object, before.remove(&uid), || declared(object));
        targets.extend(now.target.clone());
        known.insert(uid, now);
    }
}

/// What is known of a resource now. Where it is as it was, that is as it was too: a thousand are gone through every few
/// seconds.
fn known_now<K>(object: &K, known: Option<Known>, declared: impl FnOnce() -> Option<Target>) -> Known
where
    K: Resource<DynamicType = ()> + HasStatus<Status: Conditions>,
{
    let version = object.resource_version();
    match known {
        Some(known) if version.is_some() && known.version == version => known,
        known => {
            let accepted = known.and_then(|known| known.accepted);
            let (target, accepted) = match (verdict(object), declared()) {
                (Some(verdict), Some(target)) => judged(target, verdict, accepted),
                _ => (None, None),
            };
            Known {
                version,
                target,
                accepted,
            }
        }
    }
}

/// What is to be scaled, and what was accepted last. Pure.
fn judged(
    target: Target,
    verdict: Verdict,
    accepted: Option<Arc<Target>>,
) -> (Option<Arc<Target>>, Option<Arc<Target>>) {
    let declared = match (verdict, accepted) {
        (Verdict::Accepted, _) => target.clone(),
        (Verdict::Refused | Verdict::Unseen, Some(accepted)) => accepted.as_ref().clone(),
        (Verdict::Refused, None) => {
            let refused = Target {
                refused: true,
                ..target
            };
            return (Some(Arc::new(refused)), None);
        }
        (Verdict::Unseen, None) => return (None, None),
    };
    let declared = Arc::new(Target {
        generation: target.generation,
        said: target.said,
        // Workers end whatever the rest of the spec says, and do not come back before it is accepted.
        suspended: target.suspended || declared.suspended,
        ..declared
    });
    (Some(Arc::clone(&declared)), Some(declared))
}

/// What the autoscaler has said of a resource.
fn said<K: HasStatus<Status: Conditions>>(object: &K) -> Said {
    let mut status = object.status().cloned().unwrap_or_default();
    let is_ours = |condition: &Condition| OF_AUTOSCALER.contains(&condition.condition_type.as_str());
    status.conditions_mut().retain(is_ours);
    Said {
        scaling: status.scaling_mut().and_then(Option::take),
        conditions: std::mem::take(status.conditions_mut()),
    }
}

/// What the reconciler has said of a spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Refused,
    /// Nothing yet.
    Unseen,
}

/// None: the resource is being deleted.
fn verdict<K>(object: &K) -> Option<Verdict>
where
    K: Resource<DynamicType = ()> + HasStatus<Status: Conditions>,
{
    if object.meta().deletion_timestamp.is_some() {
        return None;
    }
    let conditions = object.status().map(Conditions::conditions).unwrap_or_default();
    let valid = conditions
        .iter()
        .find(|condition| condition.condition_type == VALID)
        .filter(|valid| valid.observed_generation == object.meta().generation);
    Some(match valid {
        Some(valid) if valid.status == "True" => Verdict::Accepted,
        Some(_) => Verdict::Refused,
        None => Verdict::Unseen,
    })
}
