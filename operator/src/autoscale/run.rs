//! The autoscaler: looks at every group of workers in turn, and carries out what [`decide`] decides.

mod conditions;
mod scale;
#[cfg(test)]
mod tests;
mod watched;

use std::{sync::Arc, time::Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Api, core::DynamicObject, discovery::ApiResource};
use naru_api::Condition;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::{
    conditions::{Look, Written},
    scale::Refusal,
    watched::{Watched, Watches},
};
use super::{Policy, observe::Unknown};
use crate::{controller::Context, metrics::Object};

/// Targets that are looked at at once.
const CONCURRENT: usize = 8;

/// Workers to be scaled.
#[derive(Clone, Debug)]
pub struct Target {
    /// Kind, namespace and name of the resource that they belong to.
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
    /// The resource, for events.
    pub reference: ObjectReference,
    /// Its kind as the API server knows it.
    pub resource: ApiResource,
    pub generation: Option<i64>,
    /// Its conditions, of whoever wrote them.
    pub conditions: Vec<Condition>,
    /// Nothing is to run: neither looked at nor scaled.
    pub suspended: bool,
    pub deployment: String,
    /// Their consumer group, and the topic that it reads.
    pub group: String,
    pub topic: String,
    pub bootstrap_servers: String,
    pub policy: Policy,
}

impl Target {
    fn api(&self, context: &Context) -> Api<DynamicObject> {
        Api::namespaced_with(context.client.clone(), &self.namespace, &self.resource)
    }

    /// Of the highest level: each line of a look says what it is about, whatever is filtered.
    fn span(&self) -> tracing::Span {
        let Self {
            kind,
            namespace,
            name,
            generation,
            ..
        } = self;
        tracing::error_span!("scale", kind, namespace, name, generation)
    }

    fn key(&self) -> Object {
        Object {
            kind: self.kind,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// Runs until `stop`. `targets` says at each round anew what there is to scale.
pub async fn run(context: Arc<Context>, targets: impl Fn() -> Vec<Target>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(context.settings.autoscale_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watches = Watches::default();
    let written = Written::default();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        written.forget_old(Instant::now());
        let (suspended, targets): (Vec<_>, Vec<_>) =
            targets().into_iter().partition(|target| target.suspended);
        context.metrics.scaling.looked(context.settings.autoscale_every);
        for gone in watches.keep(&targets).await {
            context.metrics.scaling.forget(&gone);
        }
        for target in &suspended {
            if let Err(problem) = conditions::write(&context, target, &Look::default(), &written).await {
                tracing::warn!(object = %target.key(), %problem, "failed to say that nothing is scaled");
            }
        }
        let looks = targets.into_iter().map(|target| {
            let watched = watches.take(&target);
            let (context, written, stop) = (&context, &written, &stop);
            async move {
                let key = target.key();
                // A look is short. The ones that have not begun when the operator ends are left out.
                let watched = if stop.is_cancelled() {
                    watched
                } else {
                    look(context, &target, watched, written)
                        .instrument(target.span())
                        .await
                };
                (key, watched)
            }
        });
        let round: Vec<_> = stream::iter(looks.collect::<Vec<_>>())
            .buffer_unordered(CONCURRENT)
            .collect()
            .await;
        watches.put(round);
    }
    watches.keep(&[]).await;
}

/// One look at a target, and what follows from it.
async fn look(context: &Context, target: &Target, mut watched: Watched, written: &Written) -> Watched {
    let metrics = &context.metrics.scaling;
    // Without a Deployment nothing was applied yet.
    if let Some(replicas) = scale::replicas(context, target) {
        let lag = see(context, target, &watched).await;
        let known = lag.as_ref().ok().copied();
        metrics.lag(&target.key(), known.map(|lag| lag.records));
        let scaled = scale::scale(context, target, &mut watched.history, replicas, known).await;
        let look = Look {
            lag: Some(lag),
            refusal: scaled.err(),
        };
        let problem = conclude(context, target, &look, written).await;
        watched.tell(target, problem);
    }
    metrics.looked(context.settings.autoscale_every);
    watched
}

/// The lag, counted as a request to Kafka.
async fn see(context: &Context, target: &Target, watched: &Watched) -> Result<super::Lag, Unknown> {
    let start = Instant::now();
    let lag = watched.lag(&target.policy).await;
    let code = lag.as_ref().map_or_else(|unknown| unknown.code, |_| "ok");
    let external = &context.metrics.external;
    external.observe("kafka", &target.bootstrap_servers, code, start.elapsed());
    lag
}

/// Says in conditions what was seen. Returns what went wrong in all, if anything did.
async fn conclude(context: &Context, target: &Target, look: &Look, written: &Written) -> Option<String> {
    let said = conditions::write(context, target, look, written).await;
    let unknown = look.lag.as_ref().and_then(|lag| lag.as_ref().err());
    unknown
        .map(|unknown| unknown.detail.clone())
        .or_else(|| look.refusal.as_ref().map(Refusal::to_string))
        .or_else(|| said.err().map(|refusal| refusal.to_string()))
}
