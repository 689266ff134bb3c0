//! What the three controllers share: their context, and how one is run.

pub mod apply;
pub mod backoff;
pub mod conditions;
pub mod drift;
pub mod error;
pub mod events;
#[cfg(test)]
pub(crate) mod fake;
pub mod live;
pub mod message;
pub mod pace;
pub mod report;
pub mod settled;
pub mod status;
#[cfg(test)]
mod tests;

use std::{any::Any, fmt::Debug, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap, policy::v1::PodDisruptionBudget};
use kube::{
    Api, Client, Resource,
    api::ListParams,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{
        Config, Controller, Predicate, PredicateConfig, WatchStreamExt,
        controller::Action,
        events::EventType,
        predicates,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use naru_api::condition::reason;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use self::error::Error;
use self::{
    events::Recorder,
    live::{Bells, Live},
    pace::Pace,
};
use crate::{
    admin::Gates,
    connect, deletion, kafka,
    leader::Fence,
    metrics::{Metrics, Object},
    registry::Registries,
    settings::Settings,
    sink_connector,
};

/// Resources of one kind that are worked on at once.
const CONCURRENCY: u16 = 16;
/// Objects of one page of a list: what is held in memory twice at the start.
const PAGE: u32 = 50;
/// Where `kubectl apply` keeps what it was given.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Time between two tries of a standby to list a kind.
const REHEARSE_AGAIN: Duration = Duration::from_secs(5);

/// What reconcilers act with.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub settings: Arc<Settings>,
    pub kafka: Arc<kafka::Clusters>,
    pub registries: Arc<Registries>,
    pub connects: Arc<connect::Clusters>,
    pub recorder: Arc<Recorder>,
    /// What the resources own.
    pub live: Arc<Live>,
    pub written: Arc<status::Written>,
    /// Resources with which nothing was to be done.
    pub settled: Arc<settled::Settled>,
    pub failures: Arc<backoff::Failures>,
    /// What is remembered of connectors.
    pub connectors: Arc<sink_connector::Memory>,
    /// Repairs of what somebody else changed, by child.
    pub repairs: Arc<Pace>,
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// That knows nothing yet. What is asked of Kafka, registries and Connect is counted, and changed only while the
    /// fence holds, as `client` does it for the API server.
    pub fn new(
        client: Client,
        http: reqwest::Client,
        fence: Fence,
        metrics: Arc<Metrics>,
        settings: Settings,
    ) -> Self {
        let external = || metrics.external.clone();
        Self {
            recorder: Arc::new(Recorder::new(client.clone())),
            client,
            settings: Arc::new(settings),
            kafka: Arc::new(
                kafka::Clusters::default()
                    .counted(external())
                    .behind(fence.clone()),
            ),
            registries: Arc::new(Registries::new(http.clone()).counted(external())),
            connects: Arc::new(connect::Clusters::new(http).counted(external()).behind(fence)),
            live: Arc::default(),
            written: Arc::default(),
            settled: Arc::default(),
            failures: Arc::default(),
            connectors: Arc::default(),
            repairs: Arc::default(),
            metrics,
        }
    }
}

/// A stored object, which this version of the types may not be able to read: one such object must not stop the
/// watch of all others.
pub type Guarded<K> = DeserializeGuard<K>;

/// What a kind of resource has to be.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// The objects of a kind that the operator looks after: all there are, or those of the namespace that it is limited to.
pub fn watched<K>(client: &Client, settings: &Settings) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match &settings.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// A controller for one kind, to which the kinds that it owns can be added.
pub fn of<K: Kind>(client: &Client, settings: &Settings) -> Controller<Guarded<K>> {
    let (reader, writer) = reflector::store::<Guarded<K>>();
    let watch = watcher(
        watched::<Guarded<K>>(client, settings),
        watcher::Config::default().page_size(PAGE),
    );
    let edits = watch
        .default_backoff()
        .modify(prune)
        .reflect(writer)
        .applied_objects()
        // What is written to a status is ours, and asks for nothing.
        .predicate_filter(
            predicates::generation
                .combine(predicates::finalizers)
                .combine(predicates::annotations)
                .combine(predicates::labels),
            PredicateConfig::default(),
        );
    Controller::for_stream(edits, reader).with_config(Config::default().concurrency(CONCURRENCY))
}

/// Takes out what nobody reads. It is about half of an object.
fn prune<K: Resource>(object: &mut K) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

/// The same, for a kind that owns workers: `woken` names resources of which something has changed.
pub fn of_workers<K: Kind>(
    client: &Client,
    settings: &Settings,
    woken: mpsc::Receiver<(String, String)>,
) -> Controller<Guarded<K>> {
    let woken = futures::stream::unfold(woken, |mut woken| async {
        let (namespace, name) = woken.recv().await?;
        Some((ObjectRef::<Guarded<K>>::new(&name).within(&namespace), woken))
    });
    of(client, settings).reconcile_on(woken)
}

/// Follows what the resources own, until `stop`.
pub async fn follow(context: &Context, bells: &Bells, stop: &CancellationToken) {
    let (client, settings, live) = (&context.client, &context.settings, &context.live);
    tokio::join!(
        live::follow(
            &live.deployments,
            watched::<Deployment>(client, settings),
            bells,
            stop
        ),
        live::follow(
            &live.config_maps,
            watched::<ConfigMap>(client, settings),
            bells,
            stop
        ),
        live::follow(
            &live.budgets,
            watched::<PodDisruptionBudget>(client, settings),
            bells,
            stop
        ),
    );
}

/// Opens the kind's gate once its objects are known.
pub async fn open_when_listed<K>(store: Store<Guarded<K>>, gates: Arc<Gates>, kind: &'static str)
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    if store.wait_until_ready().await.is_ok() {
        gates.open(kind);
    }
}

/// Tries until the kind's objects can be listed, as a standby does: that it cannot lead is to show before it must.
pub async fn rehearse<K: Kind>(context: &Context, gates: &Gates, kind: &'static str) {
    let one = ListParams::default().limit(1);
    let objects = watched::<Guarded<K>>(&context.client, &context.settings);
    while let Err(error) = objects.list(&one).await {
        tracing::warn!(kind, %error, "failed to list a kind");
        tokio::time::sleep(REHEARSE_AGAIN.mul_f64(rand::random_range(0.8..1.2))).await;
    }
    gates.listable(kind);
}

/// A pass over a resource under way.
pub type Pass = BoxFuture<'static, Result<Action, Error>>;

/// Runs a controller until `stop`, and then until the passes under way have ended.
pub async fn run<K: Kind>(
    kind: &'static str,
    controller: Controller<Guarded<K>>,
    reconcile: fn(Arc<K>, Arc<Context>) -> Pass,
    context: Arc<Context>,
    stop: CancellationToken,
) {
    let pass = move |object: Arc<Guarded<K>>, context: Arc<Context>| {
        let labels = Object::of(kind, &*object);
        // Of the highest level: each line of the pass says what it is about, whatever is filtered.
        let span = tracing::error_span!(
            "reconcile",
            kind,
            namespace = labels.namespace,
            name = labels.name,
            generation = object.meta().generation,
        );
        let pass = async move {
            let counted = context.metrics.passes.begin(labels);
            let result = match &object.0 {
                Ok(object) => {
                    let pass = reconcile(Arc::new(object.clone()), Arc::clone(&context));
                    // Or one resource that meets a defect would end the operator for all, again and again.
                    let ended = AssertUnwindSafe(pass).catch_unwind().await;
                    match ended {
                        Ok(result) => result,
                        Err(panic) => Err(defect(&context, object, said(panic)).await),
                    }
                }
                Err(unreadable) => {
                    let error = Error::invalid(format!("the stored object cannot be read: {unreadable}"));
                    deletion::end_unreadable(&context, kind, &*object, error).await
                }
            };
            counted.end(&result, context.settings.resync);
            result
        };
        pass.instrument(span)
    };
    controller
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(pass, report::failed::<Guarded<K>>(kind), context)
        .for_each(|result| async move {
            match result {
                Ok((object, _)) => tracing::debug!(kind, object = %object, "reconciled"),
                // Has been reported by the error policy.
                Err(kube::runtime::controller::Error::ReconcilerFailed(..)) => {}
                Err(error) => tracing::debug!(kind, %error, "controller"),
            }
        })
        .await;
}

/// The text of a panic.
fn said(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .copied()
            .unwrap_or_default()
            .to_owned(),
    }
}

/// What a pass that panicked comes to. It is tried again, since what it met may go.
async fn defect<K: Kind>(context: &Context, object: &K, panic: String) -> Error {
    tracing::error!(panic, "a pass panicked, which is a defect of the operator");
    // Not the text: it may quote anything.
    let message = "a pass over this resource panicked, which is a defect of the operator; its log says more";
    let (type_, note) = (EventType::Warning, message.to_owned());
    events::tell(context, object, type_, reason::OPERATOR_DEFECT, "Reconcile", note).await;
    Error::dependency(reason::OPERATOR_DEFECT, message)
}
