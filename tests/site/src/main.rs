//! The marketplace as a program: serves until SIGTERM or ctrl-c.

use std::{
    io::{IsTerminal, stdout},
    net::SocketAddr,
    process::ExitCode,
};

use clap::Parser;
use naru_site::{Config, serve};
use tokio::{
    net::TcpListener,
    signal::{
        ctrl_c,
        unix::{SignalKind, signal},
    },
};
use tracing::{Level, error, info};
use tracing_subscriber::EnvFilter;

/// An invented marketplace of second-hand goods, to scrape
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on
    #[arg(long, env = "NARU_SITE_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    #[command(flatten)]
    config: Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::builder()
        .with_default_directive(Level::INFO.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stdout().is_terminal())
        .init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Arguments { listen, config }: Arguments) -> Result<(), String> {
    let mut terminated =
        signal(SignalKind::terminate()).map_err(|error| format!("cannot be told of SIGTERM: {error}"))?;
    let shutdown = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = ctrl_c() => {}
        }
        info!("stopping");
    };
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    info!(%listen, ?config, "serving");
    serve(listener, config, shutdown)
        .await
        .map_err(|error| format!("cannot serve: {error}"))
}
