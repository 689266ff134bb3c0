//! Starts everything, and stops it in order.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Client,
    runtime::{
        events::{Recorder, Reporter},
        watcher,
    },
};
use naru_api::{FilteredSum, ScrapeJob, SinkConnector};
use snafu::{ResultExt, Snafu};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Gates},
    autoscale, connect,
    controller::{self, Context},
    filtered_sum, kafka,
    metrics::Metrics,
    registry::Registries,
    scrape_job,
    settings::Settings,
    sink_connector,
    targets::Targets,
};

/// Why the operator could not start.
#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("failed to find a Kubernetes API server"))]
    Connect { source: kube::Error },

    #[snafu(display("failed to build the HTTP client"))]
    Http { source: reqwest::Error },

    #[snafu(display("failed to listen on {address}"))]
    Listen {
        address: std::net::SocketAddr,
        source: std::io::Error,
    },

    #[snafu(display("the HTTP server stopped"))]
    Serve { source: std::io::Error },
}

/// How long the operator, when told to stop, waits for what is under way.
const DRAIN: Duration = Duration::from_secs(20);

/// Runs the controllers, the autoscaler and the HTTP server until `stop`.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), Error> {
    let metrics: Arc<Metrics> = Arc::default();
    let client = client(&metrics).await.context(ConnectSnafu)?;
    let http = http().context(HttpSnafu)?;
    let external = || metrics.external.clone();
    let context = Arc::new(Context {
        recorder: Recorder::new(
            client.clone(),
            Reporter {
                controller: "naru-operator".to_owned(),
                instance: None,
            },
        ),
        client: client.clone(),
        kafka: Arc::new(kafka::Clusters::default().counted(external())),
        registries: Arc::new(Registries::new(http.clone()).counted(external())),
        connects: Arc::new(connect::Clusters::new(http).counted(external())),
        failures: Arc::default(),
        restarts: Arc::default(),
        metrics,
        settings: Arc::new(settings),
    });
    let gates = Arc::new(Gates::new(&[
        scrape_job::KIND,
        filtered_sum::KIND,
        sink_connector::KIND,
    ]));
    let address = context.settings.listen;
    let listener = TcpListener::bind(address)
        .await
        .context(ListenSnafu { address })?;
    tracing::info!(%address, "started");

    let settings = &context.settings;
    let scrape_jobs = owning_workers(controller::of::<ScrapeJob>(&client, settings), &client, settings);
    let filtered_sums = owning_workers(
        controller::of::<FilteredSum>(&client, settings),
        &client,
        settings,
    );
    let sink_connectors = controller::of::<SinkConnector>(&client, settings);
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
    let listed = stop.run_until_cancelled(listed);
    let server = axum::serve(
        listener,
        admin::router(Arc::clone(&gates), Arc::clone(&context.metrics)),
    )
    .with_graceful_shutdown(stop.clone().cancelled_owned());
    let work = async {
        let (_, (), (), (), (), served) = tokio::join!(
            listed,
            controller::run(
                scrape_job::KIND,
                scrape_jobs,
                |object, context| scrape_job::reconcile(object, context).boxed(),
                Arc::clone(&context),
                stop.clone()
            ),
            controller::run(
                filtered_sum::KIND,
                filtered_sums,
                |object, context| filtered_sum::reconcile(object, context).boxed(),
                Arc::clone(&context),
                stop.clone()
            ),
            controller::run(
                sink_connector::KIND,
                sink_connectors,
                |object, context| sink_connector::reconcile(object, context).boxed(),
                Arc::clone(&context),
                stop.clone()
            ),
            autoscale::run::run(Arc::clone(&context), move || targets.list(), stop.clone()),
            server.into_future(),
        );
        served.context(ServeSnafu)
    };
    tokio::select! {
        ended = work => ended,
        () = too_late(&stop) => {
            tracing::warn!("stopped with work under way; it is taken up again at the next start");
            Ok(())
        }
    }
}

/// A client of the API server whose requests are counted.
async fn client(metrics: &Metrics) -> kube::Result<Client> {
    let config = kube::Config::infer().await.map_err(kube::Error::InferConfig)?;
    let builder = kube::client::ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&metrics.api).build())
}

async fn too_late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN).await;
}

/// Changes of an owned ConfigMap or Deployment wake its owner. By resource version and not by generation: a
/// Deployment's status changes without the latter.
fn owning_workers<K>(controller: ControllerOf<K>, client: &Client, settings: &Settings) -> ControllerOf<K>
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + Send
        + Sync
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + 'static,
{
    let ours = watcher::Config::default().labels("app.kubernetes.io/managed-by=naru");
    controller
        .owns(controller::watched::<Deployment>(client, settings), ours.clone())
        .owns(controller::watched::<ConfigMap>(client, settings), ours)
}

type ControllerOf<K> = kube::runtime::Controller<controller::Guarded<K>>;

fn http() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("naru-operator/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(10))
        .build()
}
