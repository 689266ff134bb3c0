//! What the autoscaler looks after: the workers of all ScrapeJobs and FilteredSums.

use std::sync::Arc;

use kube::{
    Resource, ResourceExt, core::object::HasStatus, discovery::ApiResource, runtime::reflector::Store,
};
use naru_api::{Condition, FilteredSum, Scaling, ScrapeJob, condition::VALID};

use crate::{
    autoscale::{Policy, run::Target},
    controller::{Guarded, status::Conditions},
    filtered_sum,
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
        }
    }

    /// All resources that are not being deleted, and whose spec was accepted.
    pub fn list(&self) -> Vec<Target> {
        let jobs = self
            .scrape_jobs
            .state()
            .into_iter()
            .filter_map(|job| self.scrape_job(job.0.as_ref().ok()?));
        let sums = self
            .filtered_sums
            .state()
            .into_iter()
            .filter_map(|sum| self.filtered_sum(sum.0.as_ref().ok()?));
        jobs.chain(sums).collect()
    }

    fn scrape_job(&self, job: &ScrapeJob) -> Option<Target> {
        let (namespace, name) = place(job)?;
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
            deployment: names.fetcher(),
            group: names.fetcher_group(),
            topic: names.frontier_topic(),
            bootstrap_servers: self.settings.bootstrap_servers(own).ok()?,
            policy,
            namespace: namespace.clone(),
            name: name.clone(),
        })
    }

    fn filtered_sum(&self, sum: &FilteredSum) -> Option<Target> {
        let (namespace, name) = place(sum)?;
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
            deployment: names.sum(),
            group: names.sum_group(),
            topic: sum.spec.input.topic.clone(),
            bootstrap_servers: self.settings.bootstrap_servers(own).ok()?,
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

/// Namespace and name of a resource that is to stay, and whose spec has been accepted: a refused one changes nothing
/// about what runs.
fn place<K>(object: &K) -> Option<(String, String)>
where
    K: Resource<DynamicType = ()> + HasStatus<Status: Conditions>,
{
    let conditions = object.status()?.conditions();
    let valid = conditions
        .iter()
        .find(|condition| condition.condition_type == VALID)?;
    let accepted = valid.status == "True" && valid.observed_generation == object.meta().generation;
    if object.meta().deletion_timestamp.is_some() || !accepted {
        return None;
    }
    Some((object.namespace()?, object.name_any()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::{Value, json};

    use super::*;

    fn targets(edit: impl FnOnce(&mut Value)) -> usize {
        let mut sum = json!({
            "apiVersion": "naru.dev/v1alpha1", "kind": "FilteredSum",
            "metadata": { "name": "total", "namespace": "shop", "generation": 2 },
            "spec": { "input": { "topic": "items" }, "sum": { "field": "price" }, "output": { "topic": "totals" } },
            "status": { "conditions": [{ "type": "Valid", "status": "True", "reason": "Accepted", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 2 }] },
        });
        edit(&mut sum);
        let (sums, mut told) = reflector::store();
        let (jobs, _) = reflector::store();
        told.apply_watcher_event(&Event::Apply(kube::core::DeserializeGuard(Ok(
            serde_json::from_value(sum).unwrap(),
        ))));
        let arguments = [
            "naru-operator",
            "--worker-image",
            "w",
            "--kafka-bootstrap-servers",
            "k:9092",
        ];
        Targets::new(&Arc::new(Settings::parse_from(arguments)), jobs, sums)
            .list()
            .len()
    }

    #[test]
    fn only_accepted_specs_of_resources_that_stay_are_scaled() {
        assert_eq!(targets(|_| {}), 1);
        assert_eq!(targets(|sum| sum["metadata"]["generation"] = 3.into()), 0);
        assert_eq!(
            targets(|sum| sum["status"]["conditions"][0]["status"] = "False".into()),
            0
        );
        assert_eq!(
            targets(|sum| sum["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into()),
            0
        );
    }
}
