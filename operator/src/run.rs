//! Starts everything, and stops it in the reverse order.
//!
//! ```text
//! start                                        stop
//! HTTP server: alive, ready, metrics           6  it ends
//!   election: wait for the lead                5  the fence falls, the Lease is released
//!     controllers, autoscaler: work            4  what is under way ends, or is dropped after a while
//! ```
//!
//! An operator that loses the lead drops its work and ends with an error. It could wait for the lead again; but a new
//! process has nothing to forget, and nothing is hard to get back: all that an operator knows is in the cluster.

mod context;
mod work;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use kube::Config;
use naru_api::{FilteredSum, ScrapeJob, SinkConnector};
use snafu::{ResultExt, Snafu};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    admin::{self, Gates},
    client,
    controller::{self, Context},
    filtered_sum,
    leader::{Elector, Lost, Timing},
    metrics::Metrics,
    scrape_job,
    settings::Settings,
    sink_connector,
};

/// Why the operator could not start, or go on.
#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("{problem}"))]
    Settings { problem: String },

    #[snafu(display("failed to find a Kubernetes API server"))]
    Infer { source: kube::config::InferConfigError },

    #[snafu(display("failed to build the client of the Kubernetes API"))]
    Client { source: kube::Error },

    #[snafu(display("failed to build the HTTP client"))]
    Http { source: reqwest::Error },

    #[snafu(display("failed to listen on {address}"))]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },

    #[snafu(display("stopped working"))]
    Election { source: Lost },
}

/// How long requests to the operator's own server may take when it ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Runs the operator until `stop`.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), Error> {
    settings.check().map_err(|problem| Error::Settings { problem })?;
    let config = Config::infer().await.context(InferSnafu)?;
    let metrics: Arc<Metrics> = Arc::default();
    let elector = elector(&settings, &config, &metrics)?;
    let fence = elector.as_ref().map(Elector::fence).unwrap_or_default();
    let context = Arc::new(context::build(settings, config, fence, metrics)?);
    let kinds = [scrape_job::KIND, filtered_sum::KIND, sink_connector::KIND];
    let gates = Gates::new(&kinds);
    let gates = Arc::new(match &elector {
        Some(elector) => gates.behind(elector.standing()),
        None => gates,
    });

    let server = Server::start(&context.settings, &gates, &context.metrics).await?;
    let rehearsal = rehearsal(Arc::clone(&context), Arc::clone(&gates));
    let _rehearsal = AbortOnDropHandle::new(tokio::spawn(rehearsal));
    // On the heap: it is large.
    let work = || Box::pin(work::work(context, gates, stop.clone()));
    let outcome = match elector {
        Some(elector) => elector.lead(stop.clone(), work).await.context(ElectionSnafu),
        None => {
            work().await;
            Ok(())
        }
    };
    server.stop().await;
    outcome
}

/// Finds out whether this operator could work, if it had to.
async fn rehearsal(context: Arc<Context>, gates: Arc<Gates>) {
    tokio::join!(
        controller::rehearse::<ScrapeJob>(&context, &gates, scrape_job::KIND),
        controller::rehearse::<FilteredSum>(&context, &gates, filtered_sum::KIND),
        controller::rehearse::<SinkConnector>(&context, &gates, sink_connector::KIND),
    );
}

/// None if there is to be no election.
fn elector(settings: &Settings, config: &Config, metrics: &Metrics) -> Result<Option<Elector>, Error> {
    if !settings.leader_elect {
        return Ok(None);
    }
    let client = client::of_the_election(config.clone(), &metrics.api).context(ClientSnafu)?;
    // The pod's name, for people to read; and another one for each process.
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "naru-operator".to_owned());
    let identity = format!("{host}_{:08x}", rand::random::<u32>());
    tracing::info!(identity, lease = settings.lease_name, "stands for election");
    Ok(Some(Elector::new(
        client,
        settings.lease_name.clone(),
        identity,
        Timing::new(settings.lease_duration),
    )))
}

/// The operator's own HTTP server.
struct Server {
    stop: CancellationToken,
    ended: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start(settings: &Settings, gates: &Arc<Gates>, metrics: &Arc<Metrics>) -> Result<Self, Error> {
        let address = settings.listen;
        let listener = TcpListener::bind(address)
            .await
            .context(ListenSnafu { address })?;
        let stop = CancellationToken::new();
        let router = admin::router(Arc::clone(gates), Arc::clone(metrics));
        let server = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        tracing::info!(%address, "started");
        Ok(Self {
            stop,
            ended: tokio::spawn(server.into_future()),
        })
    }

    async fn stop(mut self) {
        self.stop.cancel();
        if timeout(LAST_ANSWERS, &mut self.ended).await.is_err() {
            self.ended.abort();
        }
    }
}
