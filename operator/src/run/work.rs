//! What the leader does: a controller for each kind, and the autoscaler.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use naru_api::{FilteredSum, ScrapeJob, SinkConnector};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::Gates,
    autoscale,
    controller::{self, Context, live::Bells},
    filtered_sum,
    leader::Ended,
    native, scrape_job,
    sink_connector::{self, watch},
    targets::Targets,
};

/// How long, after `stop`, what is under way has to end. A pass takes milliseconds unless it waits for something
/// silent, and then the next leader may as well begin it anew.
const DRAIN: Duration = Duration::from_secs(3);

/// Time between two looks for memory that nobody uses any more. One takes a few milliseconds.
const TIDY: Duration = Duration::from_secs(15);

/// SinkConnectors that can be waiting to be woken. More are woken a few seconds later.
const WAKINGS: usize = 1024;

/// Works until `stop`, and a little longer for what is under way then.
pub(super) async fn work(context: Arc<Context>, gates: Arc<Gates>, stop: CancellationToken) -> Ended {
    let (client, settings) = (&context.client, &context.settings);
    let mut bells = Bells::default();
    let scrape_jobs = controller::of_workers::<ScrapeJob>(client, settings, bells.of(scrape_job::KIND));
    let filtered_sums = controller::of_workers::<FilteredSum>(client, settings, bells.of(filtered_sum::KIND));
    let (wake, woken) = mpsc::channel(WAKINGS);
    let sink_connectors =
        controller::of::<SinkConnector>(client, settings).reconcile_on(watch::wakings(woken));
    let connectors = watch::run(Arc::clone(&context), sink_connectors.store(), wake, stop.clone());
    let passes = &context.metrics.passes;
    passes.follow(scrape_job::KIND, scrape_jobs.store());
    passes.follow(filtered_sum::KIND, filtered_sums.store());
    passes.follow(sink_connector::KIND, sink_connectors.store());
    let _lead = context.metrics.lead();
    let targets = Targets::new(settings, scrape_jobs.store(), filtered_sums.store());
    let listed = futures::future::join3(
        controller::open_when_listed(scrape_jobs.store(), Arc::clone(&gates), scrape_job::KIND),
        controller::open_when_listed(filtered_sums.store(), Arc::clone(&gates), filtered_sum::KIND),
        controller::open_when_listed(sink_connectors.store(), Arc::clone(&gates), sink_connector::KIND),
    );
    let known = futures::future::join4(
        stop.run_until_cancelled(listed),
        connectors,
        controller::follow(&context, &bells, &stop).boxed(),
        stop.run_until_cancelled(tidy()),
    );
    let mut work = Box::pin(futures::future::join5(
        known,
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
    ));
    tokio::select! {
        _ = &mut work => Ended::Wholly,
        () = too_late(&stop) => {
            tracing::warn!("stopped with work under way, which the next leader takes up again");
            // Connect may carry out what nobody waits for any more, after what the next leader asks for. All else is
            // fenced by the API server's versions, or the same whoever does it.
            if context.connects.are_changing() { Ended::Loosely } else { Ended::Wholly }
        }
    }
}

/// Gives back what bursts of work have left behind.
async fn tidy() {
    loop {
        tokio::time::sleep(TIDY).await;
        native::give_back();
    }
}

async fn too_late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN).await;
}
