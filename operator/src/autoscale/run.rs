//! The autoscaler: looks at every group of workers in turn, and carries out what [`decide`] decides.

mod scale;
#[cfg(test)]
mod tests;
mod watched;

use std::sync::Arc;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::watched::{Watched, Watches};
use super::Policy;
use crate::controller::Context;

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
    pub deployment: String,
    /// Their consumer group, and the topic that it reads.
    pub group: String,
    pub topic: String,
    pub bootstrap_servers: String,
    pub policy: Policy,
}

impl Target {
    fn key(&self) -> Key {
        Key {
            kind: self.kind,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// Which resource. Also the labels of its metrics.
#[derive(Clone, Debug, EncodeLabelSet, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    kind: &'static str,
    namespace: String,
    name: String,
}

type Lags = Family<Key, Gauge>;

/// Runs until `stop`. `targets` says at each round anew what there is to scale.
pub async fn run(context: Arc<Context>, targets: impl Fn() -> Vec<Target>, stop: CancellationToken) {
    let lags = Lags::default();
    context.metrics.with_registry(|registry| {
        registry.register(
            "lag_records",
            "Records that the workers of a resource have yet to work on",
            lags.clone(),
        );
    });
    let mut ticks = tokio::time::interval(context.settings.autoscale_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watches = Watches::default();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let targets = targets();
        for gone in watches.keep(&targets).await {
            lags.remove(&gone);
        }
        let looks = targets.into_iter().map(|target| {
            let watched = watches.take(&target);
            let (context, lags, stop) = (&context, &lags, &stop);
            async move {
                let key = target.key();
                // A look is short. The ones that have not begun when the operator ends are left out.
                let watched = if stop.is_cancelled() {
                    watched
                } else {
                    look(context, lags, &target, watched).await
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
async fn look(context: &Context, lags: &Lags, target: &Target, mut watched: Watched) -> Watched {
    let outcome = match scale::replicas(&context.client, target).await {
        // Not applied yet.
        Ok(None) => Ok(()),
        Ok(Some(replicas)) => {
            let seen = watched.lag(&target.policy).await;
            let lag = seen.as_ref().ok().copied();
            match lag {
                Some(lag) => {
                    let records = i64::try_from(lag.records).unwrap_or(i64::MAX);
                    lags.get_or_create(&target.key()).set(records);
                }
                // No number is better than an old one.
                None => _ = lags.remove(&target.key()),
            }
            let scaled = scale::scale(context, target, &mut watched.history, replicas, lag).await;
            seen.map(|_| ()).and(scaled)
        }
        Err(problem) => Err(problem),
    };
    watched.tell(target, outcome.err());
    watched
}
