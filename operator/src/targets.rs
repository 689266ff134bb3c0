//! What the autoscaler looks after: the workers of all ScrapeJobs and FilteredSums.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use kube::{
    Resource, ResourceExt, core::object::HasStatus, discovery::ApiResource, runtime::reflector::Store,
};
use naru_api::{Condition, FilteredSum, Scaling, ScrapeJob, condition::VALID};

use crate::{
    autoscale::{Policy, run::Target},
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

/// The resources as the controllers' watches know them.
pub struct Targets {
    settings: Arc<Settings>,
    scrape_jobs: Store<Guarded<ScrapeJob>>,
    filtered_sums: Store<Guarded<FilteredSum>>,
    /// As their specs were when they were last accepted. What they declared then goes on running, and is scaled as they
    /// declared, while a later spec is refused or nobody has looked at it yet.
    accepted: Mutex<BTreeMap<Object, Target>>,
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
            accepted: Mutex::default(),
        }
    }

    /// All resources that are not being deleted, and whose spec was accepted or refused.
    pub fn list(&self) -> Vec<Target> {
        let jobs = self.scrape_jobs.state().into_iter().filter_map(|job| {
            let job = job.0.as_ref().ok()?;
            Some((self.scrape_job(job)?, verdict(job)?))
        });
        let sums = self.filtered_sums.state().into_iter().filter_map(|sum| {
            let sum = sum.0.as_ref().ok()?;
            Some((self.filtered_sum(sum)?, verdict(sum)?))
        });
        // A panic elsewhere cannot leave a half-made map behind.
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *accepted);
        let targets = jobs.chain(sums).filter_map(|(target, verdict)| {
            let known = before.remove(&target.key());
            let known = known.filter(|known| known.reference.uid == target.reference.uid);
            let declared = match (verdict, known) {
                (Verdict::Accepted, _) => target.clone(),
                (Verdict::Refused | Verdict::Unseen, Some(known)) => known,
                (Verdict::Refused, None) => {
                    return Some(Target {
                        refused: true,
                        ..target
                    });
                }
                (Verdict::Unseen, None) => return None,
            };
            let declared = Target {
                generation: target.generation,
                conditions: target.conditions,
                // Workers end whatever the rest of the spec says, and do not come back before it is accepted.
                suspended: target.suspended || declared.suspended,
                ..declared
            };
            accepted.insert(declared.key(), declared.clone());
            Some(declared)
        });
        targets.collect()
    }

    fn scrape_job(&self, job: &ScrapeJob) -> Option<Target> {
        let (namespace, name) = (job.namespace()?, job.name_any());
        let names = Names {
            namespace: &namespace,
            name: &name,
        };
        let own = job.spec.kafka.as_ref().map(|kafka| &kafka.bootstrap_servers);
        let mut policy = self.policy(&job.spec.scaling, RANGES_PER_FETCHER);
        policy.max_replicas = scrape_job::most_fetchers(&job.spec);
        Some(Target {
            kind: scrape_job::KIND,
            reference: job.object_ref(&()),
            resource: ApiResource::erase::<ScrapeJob>(&()),
            generation: job.metadata.generation,
            conditions: conditions(job),
            suspended: job.spec.suspend,
            refused: false,
            deployment: names.fetcher(),
            group: names.fetcher_group(),
            topic: names.frontier_topic(),
            // Without any the spec is refused.
            bootstrap_servers: self.settings.bootstrap_servers(own).unwrap_or_default(),
            policy,
            namespace: namespace.clone(),
            name: name.clone(),
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
            kind: filtered_sum::KIND,
            reference: sum.object_ref(&()),
            resource: ApiResource::erase::<FilteredSum>(&()),
            generation: sum.metadata.generation,
            conditions: conditions(sum),
            suspended: sum.spec.suspend,
            refused: false,
            deployment: names.sum(),
            group: names.sum_group(),
            topic: sum.spec.input.topic.clone(),
            // Without any the spec is refused.
            bootstrap_servers: self.settings.bootstrap_servers(own).unwrap_or_default(),
            policy: self.policy(&sum.spec.scaling, RECORDS_PER_WORKER),
            namespace: namespace.clone(),
            name: name.clone(),
        })
    }

    fn policy(&self, scaling: &Scaling, lag_per_replica: i64) -> Policy {
        Policy {
            min_replicas: scaling.min_replicas,
            max_replicas: scaling.max_replicas,
            lag_per_replica: scaling.lag_per_replica.unwrap_or(lag_per_replica),
            scale_in_after: self.settings.scale_in_after,
        }
    }
}

fn conditions<K: HasStatus<Status: Conditions>>(object: &K) -> Vec<Condition> {
    let status = object.status();
    status
        .map(|status| status.conditions().to_vec())
        .unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use clap::Parser;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::{Value, json};

    use super::*;

    /// The targets of a FilteredSum that is edited: at each edit, the most replicas and whether the spec is refused.
    fn targets(edits: &[&dyn Fn(&mut Value)]) -> Vec<Option<(i32, bool)>> {
        let targets = listed(edits).into_iter();
        let told = |target: Target| (target.policy.max_replicas, target.refused);
        targets.map(|target| target.map(told)).collect()
    }

    fn listed(edits: &[&dyn Fn(&mut Value)]) -> Vec<Option<Target>> {
        let mut sum = json!({
            "apiVersion": "naru.dev/v1alpha1", "kind": "FilteredSum",
            "metadata": { "name": "total", "namespace": "shop", "generation": 2, "uid": "1" },
            "spec": { "input": { "topic": "items" }, "sum": { "field": "price" }, "output": { "topic": "totals" },
                "scaling": { "minReplicas": 1, "maxReplicas": 3 } },
            "status": { "conditions": [{ "type": "Valid", "status": "True", "reason": "Accepted", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 2 }] },
        });
        let (sums, mut told) = reflector::store();
        let (jobs, _) = reflector::store();
        let arguments = [
            "naru-operator",
            "--worker-image",
            "w",
            "--kafka-bootstrap-servers",
            "k:9092",
        ];
        let targets = Targets::new(&Arc::new(Settings::parse_from(arguments)), jobs, sums);
        let edits = edits.iter().map(|edit| {
            edit(&mut sum);
            told.apply_watcher_event(&Event::Apply(kube::core::DeserializeGuard(Ok(
                serde_json::from_value(sum.clone()).unwrap(),
            ))));
            let target = targets.list().pop()?;
            assert_eq!(target.generation, sum["metadata"]["generation"].as_i64());
            Some(target)
        });
        edits.collect()
    }

    fn edit(sum: &mut Value) {
        sum["metadata"]["generation"] = 3.into();
        sum["spec"]["scaling"]["maxReplicas"] = 9.into();
    }

    fn judge(sum: &mut Value, status: &str) {
        sum["status"]["conditions"][0]["status"] = status.into();
        sum["status"]["conditions"][0]["observedGeneration"] = 3.into();
    }

    #[test]
    fn resources_that_stay_are_scaled_as_they_were_last_accepted() {
        let accepted = |sum: &mut Value| judge(sum, "True");
        let refused = |sum: &mut Value| judge(sum, "False");
        let found = targets(&[&|_| {}, &edit, &refused, &accepted]);
        assert_eq!(
            found,
            [
                Some((3, false)),
                Some((3, false)),
                Some((3, false)),
                Some((9, false))
            ]
        );
        let another = |sum: &mut Value| sum["metadata"]["uid"] = "2".into();
        assert_eq!(
            targets(&[&|_| {}, &edit, &another]).pop(),
            Some(None),
            "of the same name"
        );
        let deleted = |sum: &mut Value| sum["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(targets(&[&|_| {}, &deleted]).pop(), Some(None));
    }

    #[test]
    fn what_is_suspended_is_not_scaled_before_a_spec_without_that_is_accepted() {
        let accepted = |sum: &mut Value| judge(sum, "True");
        let refused = |sum: &mut Value| judge(sum, "False");
        let suspend = |sum: &mut Value| {
            edit(sum);
            sum["spec"]["suspend"] = true.into();
        };
        let resume = |sum: &mut Value| sum["spec"]["suspend"] = false.into();
        let found = listed(&[&|_| {}, &suspend, &refused, &resume, &accepted]);
        let suspended: Vec<_> = found
            .into_iter()
            .map(|target| target.unwrap().suspended)
            .collect();
        assert_eq!(suspended, [false, true, true, true, false]);
    }

    #[test]
    fn a_spec_that_is_refused_from_the_start_is_told_of_and_one_that_nobody_looked_at_is_not() {
        assert_eq!(targets(&[&edit]), [None]);
        let refused = |sum: &mut Value| {
            edit(sum);
            judge(sum, "False");
        };
        assert_eq!(targets(&[&refused]), [Some((9, true))]);
    }
}
