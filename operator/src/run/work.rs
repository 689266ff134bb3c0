//! What the leader does: a controller for each kind, and the autoscaler.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::FutureExt;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Client, Resource,
    runtime::{Controller, watcher},
};
use naru_api::{FilteredSum, ScrapeJob, SinkConnector};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::Gates,
    autoscale,
    controller::{self, Context, Guarded},
    filtered_sum, scrape_job,
    settings::Settings,
    sink_connector,
    targets::Targets,
};

/// How long, after `stop`, what is under way has to end. A pass takes milliseconds unless it waits for something
/// silent, and then the next leader may as well begin it anew.
const DRAIN: Duration = Duration::from_secs(3);

/// Works until `stop`, and a little longer for what is under way then.
pub(super) async fn work(context: Arc<Context>, gates: Arc<Gates>, stop: CancellationToken) {
    let (client, settings) = (&context.client, &context.settings);
    let scrape_jobs = owning_workers(controller::of::<ScrapeJob>(client, settings), client, settings);
    let filtered_sums = owning_workers(controller::of::<FilteredSum>(client, settings), client, settings);
    let sink_connectors = controller::of::<SinkConnector>(client, settings);
    let passes = &context.metrics.passes;
    passes.follow(scrape_job::KIND, scrape_jobs.store());
    passes.follow(filtered_sum::KIND, filtered_sums.store());
    passes.follow(sink_connector::KIND, sink_connectors.store());
    context.metrics.lead(true);
    let targets = Targets::new(settings, scrape_jobs.store(), filtered_sums.store());
    let listed = futures::future::join3(
        controller::open_when_listed(scrape_jobs.store(), Arc::clone(&gates), scrape_job::KIND),
        controller::open_when_listed(filtered_sums.store(), Arc::clone(&gates), filtered_sum::KIND),
        controller::open_when_listed(sink_connectors.store(), Arc::clone(&gates), sink_connector::KIND),
    );
    let work = futures::future::join5(
        stop.run_until_cancelled(listed),
        controller::run(
            scrape_job::KIND,
            scrape_jobs,
            |object, context| scrape_job::reconcile(object, context).boxed(),
            Arc::clone(&context),
            stop.clone(),
        ),
        controller::run(
            filtered_sum::KIND,
            filtered_sums,
            |object, context| filtered_sum::reconcile(object, context).boxed(),
            Arc::clone(&context),
            stop.clone(),
        ),
        controller::run(
            sink_connector::KIND,
            sink_connectors,
            |object, context| sink_connector::reconcile(object, context).boxed(),
            Arc::clone(&context),
            stop.clone(),
        ),
        autoscale::run::run(Arc::clone(&context), move || targets.list(), stop.clone()),
    );
    tokio::select! {
        _ = work => {}
        () = too_late(&stop) => {
            tracing::warn!("stopped with work under way, which the next leader takes up again");
        }
    }
}

async fn too_late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN).await;
}

/// Changes of an owned ConfigMap or Deployment wake its owner. By resource version and not by generation: a
/// Deployment's status changes without the latter.
fn owning_workers<K>(
    controller: Controller<Guarded<K>>,
    client: &Client,
    settings: &Settings,
) -> Controller<Guarded<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let ours = watcher::Config::default().labels("app.kubernetes.io/managed-by=naru");
    controller
        .owns(controller::watched::<Deployment>(client, settings), ours.clone())
        .owns(controller::watched::<ConfigMap>(client, settings), ours)
}
