//! A pass over a resource with workers: what all kinds of them have in common.

mod sweep;

use std::{ops::ControlFlow, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap, policy::v1::PodDisruptionBudget};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    runtime::controller::Action,
};
use naru_api::{Computation, DeletionPolicy, condition::READY};
use serde_json::json;

use super::{
    Crew, Revision, UNSAID, health, pods, replicas,
    revision::config_map_name,
    rollout::{self, Seen, complete, observed, proved, stalled},
    status::{WithWorkers, WorkerStatus},
};
use crate::{
    controller::{
        Context, Error,
        apply::{self, Begins},
        conditions::{Ended, Suspension},
        drift,
        error::within,
        live, report,
        settled::Sight,
        status::{self, Conditions},
    },
    deletion::{self, Ending, Outside},
    endpoint::Freshness,
    kafka::{Cluster, TopicSpec},
};

/// Field manager of the one write that suspends workers. What it owns goes back with the next apply.
const FIELD_MANAGER: &str = "naru/suspend";
/// Instead of the hash of what was applied, so that the end of a suspension is no drift.
const SUSPENDED: &str = "suspended";
/// Annotation of a suspended Deployment that naru does not scale: the replicas that it had.
const BEFORE_SUSPENSION: &str = "naru.dev/replicas-before-suspension";
/// Workers that are not ready for so long may be unable to.
const WORRYING: SignedDuration = SignedDuration::from_secs(15);
/// Next look at workers that are not ready, or at what somebody keeps changing.
const UNWELL: Duration = Duration::from_secs(10);

/// A pass under way.
pub struct Pass<'a, K> {
    context: &'a Context,
    kind: &'static str,
    object: &'a K,
    crew: Crew,
    /// Hash of the revision that the spec declares; none while it is not known to be valid.
    declared: Option<String>,
    /// Topics that were created for the resource, as far as this pass has seen.
    created: Vec<String>,
    /// Most workers that there can be, once that is known.
    most: Option<i32>,
    /// What is computed, where nobody has written it down yet.
    computation: Option<Computation>,
    /// Why pods do not come up, once that was asked.
    failing: Option<Option<String>>,
    /// Something is to be done again soon.
    again: bool,
    /// It is known that the resource is to stay, and its spec was looked at.
    begun: bool,
    /// What there was when the pass began.
    sight: Sight,
    /// A pass that saw the same had nothing to do, and neither has this one.
    is_settled: bool,
}

impl<'a, K: WithWorkers> Pass<'a, K> {
    /// Begins a pass, once it is known what there is. The pass breaks off here when the resource is being deleted.
    pub async fn begin(
        context: &'a Context,
        kind: &'static str,
        object: &'a K,
        crew: Crew,
        policy: DeletionPolicy,
        outside: Outside,
    ) -> Result<ControlFlow<Action, Self>, Error> {
        context.live.listed().await?;
        let pass = Self {
            context,
            kind,
            object,
            crew,
            declared: None,
            created: Vec::new(),
            most: None,
            computation: None,
            failing: None,
            again: false,
            begun: false,
            sight: Sight::default(),
            is_settled: false,
        };
        let sight = pass.look();
        match deletion::begin(context, kind, object, policy, outside).await {
            Ok(None) => Ok(ControlFlow::Continue(Self {
                begun: true,
                sight,
                ..pass
            })),
            Ok(Some(Ending::Gone)) => {
                context.settled.forget(object.meta().uid.as_deref());
                Ok(ControlFlow::Break(Action::await_change()))
            }
            Ok(Some(Ending::Waits(error))) | Err(error) => pass.end(Err(error)).await.map(ControlFlow::Break),
        }
    }

    /// All that the pass will go by, but for what is outside Kubernetes.
    fn look(&self) -> Sight {
        let (namespace, live) = (self.namespace(), &self.context.live);
        let mut children = live.config_maps.versions(&namespace, &self.crew.config_maps);
        for (_, name) in &self.crew.members {
            children.extend(live.deployments.versions(&namespace, name));
            children.extend(live.budgets.versions(&namespace, name));
        }
        Sight {
            object: status::seen(self.context, self.object),
            children,
            most: None,
        }
    }

    /// Makes sure of a topic of the resource's. Returns how many partitions it has.
    pub async fn ensure(
        &mut self,
        kafka: &Cluster,
        topic: &TopicSpec,
        freshness: Freshness,
    ) -> Result<i32, Error> {
        let ensured = kafka.ensure_for(self.object, topic, freshness, &mut self.created);
        let partitions = ensured.await?;
        // What the status says already is no news.
        if !self.created.is_empty()
            && let Some(mut said) = self.context.written.latest(self.object)
        {
            let said = said.of_workers().created_topics;
            self.created.retain(|topic| !said.contains(topic));
        }
        Ok(partitions)
    }

    /// Says how many workers there can be at most, once that is known.
    pub fn limit(&mut self, most: i32) {
        self.most = Some(most);
    }

    /// Says what is computed, which is written down if nothing of it was.
    pub fn computes(&mut self, computation: Computation) {
        self.computation = Some(computation);
    }

    /// Makes what runs what `declared` says, once it is known whether what it `depends` on is there. Nothing is worked out
    /// where a pass that saw the same had nothing to do.
    pub async fn run(
        &mut self,
        depends: Result<(), Error>,
        declared: impl FnOnce() -> Revision,
    ) -> Result<(), Error> {
        self.sight.most = self.most;
        let uid = self.object.meta().uid.as_deref();
        let is_settled = self.created.is_empty() && self.context.settled.is(uid, &self.sight);
        if depends.is_ok() && is_settled {
            self.is_settled = true;
            return Ok(());
        }
        let declared = declared();
        // Also what cannot be applied now is what should run.
        self.declared = Some(declared.hash.clone());
        depends?;
        self.apply(&declared).await
    }

    /// Makes what runs what should run, and does nothing where it is so already.
    async fn apply(&mut self, declared: &Revision) -> Result<(), Error> {
        // On its own, since what it holds on to meanwhile is large.
        let revision = Box::pin(self.choose(declared)).await?;
        if let Some(config_map) = &revision.config_map {
            self.settle(config_map, Begins::default()).await?;
        }
        for deployment in &revision.deployments {
            let is_scaled = deployment
                .spec
                .as_ref()
                .is_some_and(|spec| spec.replicas.is_none());
            let begins = if is_scaled {
                self.begins(deployment)
            } else {
                Begins::default()
            };
            self.settle(deployment, begins).await?;
        }
        for budget in &revision.budgets {
            if self.needs(budget) {
                self.settle(budget, Begins::default()).await?;
            }
        }
        self.sweep(&revision).await
    }

    /// The declared revision, or the one that it gives way to.
    async fn choose(&mut self, declared: &Revision) -> Result<Revision, Error> {
        let deployments = self.deployments();
        // Nobody who is to see an edit at once waits for what only a rollback goes by.
        let failing = if self.crew.auto_rollback {
            self.failing(&deployments).await
        } else {
            None
        };
        let mut seen = Seen {
            deployments: &deployments,
            auto_rollback: self.crew.auto_rollback,
            last_good: None,
            failing: failing.as_deref(),
        };
        if rollout::gave_way(declared, &seen).is_some() {
            seen.last_good = self.last_good().await?;
        }
        Ok(rollout::choose(declared, &seen))
    }

    /// The revision to go back to, with the ConfigMap that holds it.
    async fn last_good(&self) -> Result<Option<(&str, ConfigMap)>, Error> {
        let Some(hash) = self.crew.last_good.as_deref() else {
            return Ok(None);
        };
        let name = config_map_name(&self.crew.config_maps, hash);
        let found = apply::get(self.context, &self.namespace(), &name).await?;
        Ok(found.map(|config_map| (hash, config_map)))
    }

    /// How many workers the Deployment that is scaled begins with, and goes on with after a suspension where nobody of
    /// naru's would give it any.
    fn begins(&self, deployment: &Deployment) -> Begins {
        let least = self
            .most
            .map_or(self.crew.least, |most| most.min(self.crew.least));
        let (namespace, name) = (self.namespace(), deployment.name_any());
        let live = || self.context.live.deployments.get(&namespace, &name);
        let suspended = (!self.crew.autoscaled).then(live).flatten().filter(is_suspended);
        Begins {
            // One is what the API server fills in.
            at_first: Some(least).filter(|least| *least != UNSAID),
            again: suspended.map(|live| {
                let before = live.annotations().get(BEFORE_SUSPENSION);
                before.and_then(|before| before.parse().ok()).unwrap_or(least)
            }),
        }
    }

    /// Whether there is a budget already, or a second worker: one alone has nobody to wait for.
    fn needs(&self, budget: &PodDisruptionBudget) -> bool {
        let (namespace, name) = (self.namespace(), budget.name_any());
        let live = &self.context.live;
        live.budgets.glance(&namespace, &name).is_some()
            || live
                .deployments
                .glance(&namespace, &name)
                .is_some_and(|deployment| deployment.replicas() > 1)
    }

    async fn settle<C: apply::Child>(&mut self, child: &C, begins: Begins) -> Result<(), Error> {
        let settled = apply::settle(self.context, self.object, child, begins).await?;
        self.again |= settled == apply::Settled::Later;
        Ok(())
    }

    /// Ends all workers without forgetting what they are: this needs neither a valid spec nor anything that answers.
    pub async fn suspend(&self) -> Result<(), Error> {
        let (label, naru) = live::MANAGED_BY;
        let mut deployments = self.deployments();
        deployments.extend(self.hidden().await?);
        for deployment in deployments {
            let labelled = deployment.labels().get(label).is_some_and(|value| value == naru);
            if replicas(&deployment) == 0 && is_suspended(&deployment) && labelled {
                continue;
            }
            let mut patch = json!({
                "metadata": { "labels": { label: naru }, "annotations": { drift::APPLIED: SUSPENDED } },
                "spec": { "replicas": 0 },
            });
            if !self.crew.autoscaled && !is_suspended(&deployment) {
                patch["metadata"]["annotations"][BEFORE_SUSPENSION] =
                    replicas(&deployment).to_string().into();
            }
            let name = deployment.name_any();
            let api = Api::<Deployment>::namespaced(self.context.client.clone(), &self.namespace());
            let parameters = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let kept = &self.context.live.deployments;
            let began = kept.begin();
            let merge = Patch::Merge(&patch);
            let patched = within(api.patch(&name, &parameters, &merge), || {
                format!("suspend Deployment {name:?}")
            })
            .await?;
            kept.put(began, &patched);
        }
        Ok(())
    }

    /// The resource's own Deployments that the watch does not show, since somebody has taken their label away. A resource
    /// that never had workers has none of these.
    async fn hidden(&self) -> Result<Vec<Deployment>, Error> {
        let mut hidden = Vec::new();
        let had_workers = |mut status: K::Status| status.of_workers().replicas.is_some();
        if !self.object.status().cloned().is_some_and(had_workers) {
            return Ok(hidden);
        }
        let namespace = self.namespace();
        for (_, name) in &self.crew.members {
            if self.context.live.deployments.get(&namespace, name).is_none() {
                let found: Option<Deployment> = apply::get(self.context, &namespace, name).await?;
                hidden.extend(found.filter(|found| apply::owns(self.object, found)));
            }
        }
        Ok(hidden)
    }

    /// Writes what the pass found.
    pub async fn end(mut self, outcome: Result<(), Error>) -> Result<Action, Error> {
        // Of what somebody else has written meanwhile the watch tells in a moment.
        let outcome = match outcome {
            Err(error) if error.is_conflict() => return Err(error),
            outcome => outcome,
        };
        let resync = self.context.settings.resync;
        if self.is_settled {
            return Ok(report::succeeded(self.context, self.kind, self.object, resync));
        }
        let deployments = self.deployments();
        let failing = self.failing(&deployments).await;
        let members: Vec<_> = self
            .crew
            .members
            .iter()
            .map(|(title, name)| {
                let mut deployments = deployments.iter();
                (
                    *title,
                    deployments.find(|deployment| deployment.name_any() == *name),
                )
            })
            .collect();
        let health = health::health(self.declared.as_deref(), &members, failing.as_deref());
        let scaled = members
            .last()
            .and_then(|(_, deployment)| deployment.map(replicas));
        let good = self
            .declared
            .clone()
            .filter(|declared| proved(declared, members.len(), &deployments));
        // Of which the next pass sweeps up what came before.
        let is_news = good.is_some() && good != self.crew.last_good;
        let ready = health.ready;
        let ended = Ended {
            outcome: outcome.as_ref().copied(),
            read: self.begun,
            deleting: self.object.meta().deletion_timestamp.is_some(),
            suspension: Suspension::of(self.crew.suspended),
            health,
        };
        status::conclude(self.context, self.object, &ended, |status| {
            let status = status.of_workers();
            *status.replicas = scaled.or(*status.replicas);
            *status.max_replicas = self.most.or(*status.max_replicas);
            self.created
                .retain(|topic| !status.created_topics.contains(topic));
            status.created_topics.append(&mut self.created);
            if good.is_some() {
                *status.last_good_revision = good;
            }
            if let (Some(written), Some(first)) = (status.computation, self.computation.take()) {
                written.get_or_insert(first);
            }
        })
        .await?;
        outcome?;
        let at_rest = ready && !self.again && !self.crew.suspended;
        let now = Sight {
            most: self.most,
            ..self.look()
        };
        // Where the pass has changed no more than the status, another one would find nothing to change.
        if at_rest && !is_news && now.children == self.sight.children {
            self.context.settled.remember(self.object.uid(), now);
        }
        let after = if (ready || self.crew.suspended) && !self.again {
            resync
        } else {
            resync.min(UNWELL)
        };
        Ok(report::succeeded(self.context, self.kind, self.object, after))
    }

    /// The resource's own Deployments, as far as they are there.
    fn deployments(&self) -> Vec<Deployment> {
        let namespace = self.namespace();
        let found = self.crew.members.iter().filter_map(|(_, name)| {
            let found = self.context.live.deployments.get(&namespace, name)?;
            apply::owns(self.object, &found).then_some(found)
        });
        found.collect()
    }

    /// Why pods do not come up, where they have not for some time. Asked once in a pass.
    async fn failing(&mut self, deployments: &[Deployment]) -> Option<String> {
        if self.failing.is_none() {
            self.failing = Some(self.look_at_pods(deployments).await);
        }
        self.failing.clone().flatten()
    }

    async fn look_at_pods(&self, deployments: &[Deployment]) -> Option<String> {
        if self.crew.suspended {
            return None;
        }
        let long = self.unready_for().is_some_and(|unready| unready > WORRYING);
        // What was changed a moment ago has no pods of its new template yet.
        let suspects = deployments.iter().filter(|deployment| {
            observed(deployment) && (stalled(deployment) || (long && !complete(deployment)))
        });
        for deployment in suspects {
            match pods::failing(self.context, deployment).await {
                Ok(None) => {}
                Ok(Some(why)) => return Some(why),
                // What is asked for is a courtesy to the reader of the status.
                Err(error) => tracing::debug!(
                    kind = self.kind,
                    error = error.sentence(),
                    "failed to look at pods"
                ),
            }
        }
        None
    }

    /// For how long the resource has said that it is not ready.
    fn unready_for(&self) -> Option<SignedDuration> {
        let mut conditions = self.object.status()?.conditions().iter();
        let ready = conditions.find(|condition| condition.condition_type == READY)?;
        let since: Timestamp = ready.last_transition_time.parse().ok()?;
        (ready.status == "False").then(|| Timestamp::now().duration_since(since))
    }

    fn namespace(&self) -> String {
        self.object.namespace().unwrap_or_default()
    }
}

/// Whether a suspension has ended its workers, and nobody has brought them back since.
fn is_suspended(deployment: &Deployment) -> bool {
    deployment
        .annotations()
        .get(drift::APPLIED)
        .is_some_and(|applied| applied == SUSPENDED)
}
