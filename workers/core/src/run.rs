//! The life of a worker process, the same for all workers.
//!
//! [`run`] reads the contract document, starts the admin server and the worker's thread, turns SIGTERM and SIGINT
//! into a cancelled token, and makes an exit code of how the worker ended. [`Context::sessions`] is the loop in
//! which a worker outlives its outages.

mod admin;
mod context;
mod finality;
mod health;
mod telemetry;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::de::DeserializeOwned;
use snafu::{ResultExt, Snafu};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{error, info};

pub use context::{Context, Metrics, Session};
pub use health::Health;

use crate::drain::{self, Drain};

/// Time that a worker is given to end after SIGTERM, which is more than it needs ([`drain::WITHIN`]); Kubernetes kills
/// after 30 s.
const GRACE: Duration = Duration::from_secs(25);
const _: () = assert!(drain::WITHIN.as_secs() < GRACE.as_secs());

/// Command line of every worker.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The JSON document that says what to do (see the crate `naru-contract`).
    #[arg(long, value_name = "FILE", env = "NARU_CONFIG")]
    pub config: PathBuf,
    /// Name of this instance, unique among those that share the work and the same after a restart. Default: the
    /// host's name, which is the pod's in Kubernetes.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub instance: Option<String>,
    /// Address of `/livez`, `/readyz` and `/metrics`.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "NARU_LISTEN",
        default_value = "0.0.0.0:8080"
    )]
    pub listen: SocketAddr,
    /// Form of the log lines. `RUST_LOG` chooses what is logged (default `info`).
    #[arg(long, value_enum, env = "NARU_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Snafu)]
enum Error {
    #[snafu(display("unable to read {}", path.display()))]
    Read { source: std::io::Error, path: PathBuf },
    #[snafu(display("{} is not a document that this worker understands", path.display()))]
    Understand {
        source: serde_json::Error,
        path: PathBuf,
    },
    #[snafu(display("this host has no name; give one with --instance"))]
    Nameless,
    #[snafu(display("unable to start"))]
    Start { source: std::io::Error },
    #[snafu(display("unable to listen on {address}"))]
    Listen {
        source: std::io::Error,
        address: SocketAddr,
    },
    #[snafu(display("the worker did not end within {} s", GRACE.as_secs()))]
    Slow,
    #[snafu(display("the worker panicked"))]
    Panicked,
    #[snafu(display("{message}"))]
    Work { message: String },
}

/// Runs `work` on a thread of its own until it returns, which it must soon after [`Context::stop`] is cancelled.
pub fn run<C, E>(
    arguments: &Arguments,
    work: impl FnOnce(C, Context) -> Result<(), E> + Send + 'static,
) -> ExitCode
where
    C: DeserializeOwned + Send + 'static,
    E: std::error::Error + Send + 'static,
{
    telemetry::start(arguments.log_format);
    // An error means that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match start(arguments, work) {
        Ok(()) => {
            info!("ended");
            ExitCode::SUCCESS
        }
        Err(error) => {
            error!(error = %chain(&error), "ended");
            ExitCode::FAILURE
        }
    }
}

fn start<C, E>(
    arguments: &Arguments,
    work: impl FnOnce(C, Context) -> Result<(), E> + Send + 'static,
) -> Result<(), Error>
where
    C: DeserializeOwned + Send + 'static,
    E: std::error::Error + Send + 'static,
{
    let config = read(&arguments.config)?;
    let instance = arguments
        .instance
        .clone()
        .or_else(host_name)
        .ok_or(Error::Nameless)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context(StartSnafu)?;
    let context = Context::new(instance, runtime.handle().clone());
    let result = runtime.block_on(async {
        let address = arguments.listen;
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .context(ListenSnafu { address })?;
        info!(instance = context.instance, address = %listener.local_addr().context(StartSnafu)?, "started");
        let server = tokio::spawn(admin::serve(listener, context.clone()));
        let result = supervise(config, context.clone(), work).await;
        context.stop.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(1), server).await;
        result
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn supervise<C, E>(
    config: C,
    context: Context,
    work: impl FnOnce(C, Context) -> Result<(), E> + Send + 'static,
) -> Result<(), Error>
where
    C: Send + 'static,
    E: std::error::Error + Send + 'static,
{
    let mut terminate = signal(SignalKind::terminate()).context(StartSnafu)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(StartSnafu)?;
    let (ended, mut end) = oneshot::channel();
    let (drain, stop) = (context.drain.clone(), context.stop.clone());
    std::thread::Builder::new()
        .name("worker".to_owned())
        .spawn(move || {
            // A receiver that is gone means that the grace period is over: nobody is left to tell.
            let _ = ended.send(work(config, context).map_err(|error| chain(&error)));
        })
        .context(StartSnafu)?;
    let ended = tokio::select! {
        ended = &mut end => ended,
        _ = terminate.recv() => stopping(&drain, &stop, "SIGTERM", &mut end).await?,
        _ = interrupt.recv() => stopping(&drain, &stop, "SIGINT", &mut end).await?,
    };
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(message)) => WorkSnafu { message }.fail(),
        Err(_) => PanickedSnafu.fail(),
    }
}

async fn stopping<T>(
    drain: &Drain,
    stop: &tokio_util::sync::CancellationToken,
    signal: &str,
    end: &mut oneshot::Receiver<T>,
) -> Result<Result<T, oneshot::error::RecvError>, Error> {
    info!(signal, "stopping");
    drain.begin(drain::WITHIN);
    stop.cancel();
    tokio::time::timeout(GRACE, end).await.map_err(|_| Error::Slow)
}

fn read<C: DeserializeOwned>(path: &Path) -> Result<C, Error> {
    let text = std::fs::read(path).context(ReadSnafu { path })?;
    serde_json::from_slice(&text).context(UnderstandSnafu { path })
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// An error and its causes as one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let text = source.to_string();
        // Some libraries repeat their cause in their own text.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = source.source();
    }
    line
}
