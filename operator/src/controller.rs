//! What the three controllers share: their context, and how one is run.

pub mod apply;
pub mod backoff;
mod error;
pub mod report;
pub mod status;

use std::{fmt::Debug, sync::Arc};

use futures::{StreamExt, future::BoxFuture};
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{Config, Controller, controller::Action, events::Recorder, reflector::Store, watcher},
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use self::error::Error;
use crate::{
    admin::Gates,
    connect, kafka,
    metrics::{Metrics, Object},
    registry::Registries,
    settings::Settings,
    sink_connector::restarts::Restarts,
};

/// Resources of one kind that are worked on at once.
const CONCURRENCY: u16 = 16;

/// What reconcilers act with.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub settings: Arc<Settings>,
    pub kafka: Arc<kafka::Clusters>,
    pub registries: Arc<Registries>,
    pub connects: Arc<connect::Clusters>,
    pub recorder: Recorder,
    pub failures: Arc<backoff::Failures>,
    pub restarts: Arc<Restarts>,
    pub metrics: Arc<Metrics>,
}

/// A stored object, which this version of the types may not be able to read: one such object must not stop the
/// watch of all others.
pub type Guarded<K> = DeserializeGuard<K>;

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
pub fn of<K>(client: &Client, settings: &Settings) -> Controller<Guarded<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    Controller::new(watched(client, settings), watcher::Config::default())
        .with_config(Config::default().concurrency(CONCURRENCY))
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

/// A pass over a resource under way.
pub type Pass = BoxFuture<'static, Result<Action, Error>>;

/// Runs a controller until `stop`, and then until the passes under way have ended.
pub async fn run<K>(
    kind: &'static str,
    controller: Controller<Guarded<K>>,
    reconcile: fn(Arc<K>, Arc<Context>) -> Pass,
    context: Arc<Context>,
    stop: CancellationToken,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
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
                Ok(object) => reconcile(Arc::new(object.clone()), Arc::clone(&context)).await,
                Err(unreadable) => Err(Error::invalid(format!(
                    "the stored object cannot be read: {unreadable}"
                ))),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

    use clap::Parser;
    use kube::client::Body;
    use naru_api::ScrapeJob;

    use super::*;

    #[tokio::test]
    async fn an_operator_that_is_limited_to_a_namespace_asks_for_no_other() {
        let (service, _) = tower_test::mock::pair::<http::Request<Body>, http::Response<Body>>();
        let client = Client::new(service, "default");
        let path = |arguments: &[&str]| {
            let all = ["naru-operator", "--worker-image", "naru/workers:1"].iter();
            let settings = Settings::try_parse_from(all.chain(arguments)).unwrap();
            watched::<ScrapeJob>(&client, &settings).resource_url().to_owned()
        };
        assert_eq!(path(&[]), "/apis/naru.dev/v1alpha1/scrapejobs");
        assert_eq!(
            path(&["--namespace", "shop"]),
            "/apis/naru.dev/v1alpha1/namespaces/shop/scrapejobs"
        );
    }
}
