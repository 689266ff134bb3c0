//! The autoscaler: looks at every group of workers in turn, and carries out what [`super::decide`] decides.

mod conditions;
mod producers;
mod release;
mod scale;
mod stalls;
mod status;
#[cfg(test)]
mod tests;
mod watched;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Api, core::DynamicObject, discovery::ApiResource};
use naru_api::{Condition, condition::Observed};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::{
    conditions::{Look, Written},
    scale::Refusal,
    status::News,
    watched::{Watched, Watches},
};
pub use self::{producers::Limit, status::Said};
use super::{Figures, Mode, Obstacle, Policy};
use crate::{controller::Context, metrics::Object};

/// Targets that are looked at at once.
const CONCURRENT: usize = 8;

/// Workers to be scaled.
#[derive(Clone, Debug)]
pub struct Target {
    /// The resource that they belong to.
    pub object: Object,
    /// The resource, for events.
    pub reference: ObjectReference,
    /// Its kind as the API server knows it.
    pub resource: ApiResource,
    pub generation: Option<i64>,
    /// What it says of its scaling.
    pub said: Said,
    /// Nothing is to run: neither looked at nor scaled.
    pub suspended: bool,
    /// The spec is refused, and it is not known what it was before: neither looked at nor scaled.
    pub refused: bool,
    pub deployment: String,
    /// Their consumer group, and the topic that it reads.
    pub group: String,
    pub topic: String,
    pub bootstrap_servers: String,
    pub policy: Policy,
    /// What producers may write, if that is said.
    pub producers: Option<Limit>,
    /// A tenth of how long workers may stand still in a partition before that is told.
    pub stall_every: Duration,
    /// Partitions may be summed anew, in which nothing is committed meanwhile.
    pub sums_anew: bool,
}

impl Target {
    fn api(&self, context: &Context) -> Api<DynamicObject> {
        Api::namespaced_with(context.client.clone(), &self.object.namespace, &self.resource)
    }

    /// Of the highest level: each line of a look says what it is about, whatever is filtered.
    fn span(&self) -> tracing::Span {
        let Object {
            kind,
            namespace,
            name,
        } = &self.object;
        tracing::error_span!("scale", kind, namespace, name, generation = self.generation)
    }
}

/// Runs until `stop`. `targets` says at each round anew what there is to scale.
pub async fn run(context: Arc<Context>, targets: impl Fn() -> Vec<Arc<Target>>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(context.settings.autoscale_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watches = Watches::default();
    let written = Written::default();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        round(&context, targets(), &mut watches, &written, &stop).await;
    }
    watches.keep(&[]).await;
}

/// One look at each target.
async fn round(
    context: &Context,
    targets: Vec<Arc<Target>>,
    watches: &mut Watches,
    written: &Written,
    stop: &CancellationToken,
) {
    written.forget_old(Instant::now());
    let (still, targets): (Vec<_>, Vec<_>) = targets
        .into_iter()
        .partition(|target| target.suspended || target.refused);
    context.metrics.scaling.looked(context.settings.autoscale_every);
    for gone in watches.keep(&targets).await {
        context.metrics.scaling.forget(&gone);
    }
    let told = still.into_iter().map(|target| async move {
        if let Err(problem) = conditions::write(context, &target, &Look::default(), written).await {
            tracing::warn!(object = %target.object, %problem, "failed to say that nothing is scaled");
        }
    });
    stream::iter(told)
        .buffer_unordered(CONCURRENT)
        .collect::<()>()
        .await;
    let looks = targets.into_iter().map(|target| {
        let watched = watches.take(&target);
        async move {
            let key = target.object.clone();
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
    // Each look is made when it begins: a thousand at once would be megabytes.
    let round: Vec<_> = stream::iter(looks).buffer_unordered(CONCURRENT).collect().await;
    watches.put(round);
}

/// One look at a target, and what follows from it.
async fn look(context: &Context, target: &Target, mut watched: Watched, written: &Written) -> Watched {
    let metrics = &context.metrics.scaling;
    metrics.looked(context.settings.autoscale_every);
    // Without a Deployment nothing was applied yet.
    let Some(workers) = scale::workers(context, target) else {
        metrics.lag(&target.object, None);
        metrics.stalled(&target.object, None);
        metrics.producers(&target.object, None);
        metrics.rates(&target.object, None, None);
        return watched;
    };
    let Some(lag) = watched.lag(&target.policy, &context.metrics.external).await else {
        return watched;
    };
    let known = lag.as_ref().ok();
    let waiting = known.map(|lag| lag.records);
    metrics.lag(&target.object, waiting);
    let (seen, now) = (workers.replicas(), Instant::now());
    let replicas = watched.replicas(seen, now);
    let partitions = known.map(|lag| {
        let (every, wall) = (target.stall_every, Timestamp::now());
        let counted = watched.stalls.look(every, replicas, &lag.offsets, now, wall);
        // What is summed anew stands still until it has caught up, and is work.
        if target.sums_anew {
            return lag.offsets.clone();
        }
        if watched.stalls.has_changed() {
            watched.history.count_anew();
        }
        counted
    });
    metrics.stalled(&target.object, known.map(|_| watched.stalls.count()));
    let seen_group = super::Look {
        at: now,
        replicas,
        ready: workers.ready(),
        obstacle: workers.is_rolling_out().then_some(Obstacle::Rollout),
        busy: known.and_then(|lag| lag.busy),
        partitions,
    };
    let scaled = scale::scale(context, target, &mut watched.history, &seen_group).await;
    if let Ok(Some(to)) = scaled.done {
        watched.told(seen, to, Instant::now());
    }
    watched.conclude(target, &scaled, seen_group.replicas, now);
    let released = match target.policy.mode {
        Mode::Auto => Ok(false),
        _ if watched.released && !workers.has_first_replicas() => Ok(true),
        _ => release::release(context, target).await,
    };
    watched.released = matches!(released, Ok(true));
    let before = written.said(target).conditions;
    let stalled = known.map(|_| watched.stalls.observed(&target.topic, &before));
    let produced = produced(context, target, &mut watched, known, &before).await;
    let look = Look {
        seen: stalled.into_iter().chain(produced).collect(),
        lag: Some(lag),
        refusal: scaled.done.err().or_else(|| released.err()),
        news: News {
            desired: watched.desired,
            // All that waits, also where nobody gets on.
            figures: scaled.decision.figures.map(|figures| Figures {
                lag: waiting.unwrap_or(figures.lag),
                ..figures
            }),
            decisions: watched.untold.clone(),
        },
    };
    let said = conditions::write(context, target, &look, written).await;
    if said.is_ok() {
        watched.untold.clear();
    }
    watched.tell(target, problem(&look, said.err()));
    watched
}

/// How near producers are to what they may write, if it is said how much that is.
async fn produced(
    context: &Context,
    target: &Target,
    watched: &mut Watched,
    known: Option<&super::Lag>,
    before: &[Condition],
) -> Option<Observed> {
    let metrics = &context.metrics;
    let Some(limit) = &target.producers else {
        metrics.scaling.producers(&target.object, None);
        watched.producers = producers::Producers::default();
        return None;
    };
    let end = if limit.topic == target.topic {
        let ends = known.map(|lag| lag.offsets.iter().map(|partition| partition.end));
        ends.map(|ends| ends.fold(0, u64::saturating_add))
    } else {
        watched.end(&limit.topic, &metrics.external).await
    };
    let observed = watched.producers.look(limit, end, Instant::now(), before);
    metrics.scaling.producers(&target.object, watched.producers.part);
    Some(observed)
}

/// What went wrong in all, if anything did.
fn problem(look: &Look, unsaid: Option<Refusal>) -> Option<String> {
    let unknown = look.lag.as_ref().and_then(|lag| lag.as_ref().err());
    unknown
        .map(|unknown| unknown.detail.clone())
        .or_else(|| look.refusal.as_ref().map(Refusal::to_string))
        .or_else(|| unsaid.map(|refusal| refusal.to_string()))
}
