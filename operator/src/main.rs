//! The operator's process: arguments, logs, signals, exit code.

use std::process::ExitCode;

use clap::Parser;
use naru_operator::{
    check::{self, Check},
    logs, run,
    settings::Settings,
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// Threads that run tasks. Not one for each core of the node: the work is waiting.
const WORKERS: usize = 2;
/// Threads in which to wait for clients that block.
const BLOCKING: usize = 16;

fn main() -> ExitCode {
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(operate()),
        Err(error) => {
            eprintln!("failed to start threads: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn operate() -> ExitCode {
    // One TLS provider for all clients. A second installation is refused, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A program of its own, in an image that has no other.
    if std::env::args().nth(1).as_deref() == Some("check") {
        return check::run(&Check::parse_from(std::env::args_os().skip(1))).await;
    }
    let settings = Settings::parse();
    let filter = logs::init(settings.log_file.clone());
    let stop = CancellationToken::new();
    tokio::spawn(filter.follow(stop.clone()));
    let stopper = stop.clone();
    tokio::spawn(async move {
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return;
        };
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stopper.cancel();
    });
    match run::run(settings, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut causes = vec![error.to_string()];
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                causes.push(inner.to_string());
                cause = inner.source();
            }
            tracing::error!(error = causes.join(": "), "stopped");
            ExitCode::FAILURE
        }
    }
}
