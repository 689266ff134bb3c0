//! Measures the operator on a kind cluster, against a bare patch through the same API server, and writes the figures
//! as JSON. Leaves the cluster as it was found.

mod operator {
    pub(crate) mod cluster;
    pub(crate) mod connect;
    pub(crate) mod crowd;
    pub(crate) mod edits;
    pub(crate) mod error;
    pub(crate) mod failover;
    pub(crate) mod figures;
    pub(crate) mod isolation;
    pub(crate) mod process;
    pub(crate) mod resources;
    pub(crate) mod seen;
}

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use snafu::ResultExt;
use tokio::time::Instant;

use operator::{
    cluster::Cluster, crowd, edits, error::Error, failover, figures::Report, isolation, process::Process,
};

/// The whole run. What is not done by then will not be.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// Arguments.
#[derive(Debug, Parser)]
struct Arguments {
    /// Profile that the operator's image was compiled with, for the report.
    #[arg(long)]
    profile: String,
    /// File for the figures.
    #[arg(long)]
    out: PathBuf,
    /// Only these parts, separated by commas. All if none is named.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
}

impl Arguments {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    // One TLS provider for all clients. A second installation is refused, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.sentence());
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Error> {
    let mut report = Report::new(&arguments.profile);
    let cluster = Cluster::enter().await?;
    let measured = tokio::select! {
        measured = tokio::time::timeout(DEADLINE, measure(arguments, &cluster, &mut report)) => {
            measured.unwrap_or_else(|_| Err(Error::new(format!("not done within {} min", DEADLINE.as_secs() / 60))))
        }
        _ = tokio::signal::ctrl_c() => Err(Error::new("interrupted")),
    };
    step("clean up");
    let left = cluster.leave().await;
    // What was measured before something went wrong is worth keeping.
    report
        .write(&arguments.out)
        .whatever_context("failed to write the figures")?;
    println!("{}", report.table());
    println!("written to {}", arguments.out.display());
    measured.and(left)
}

/// Each part stands alone: one that fails does not keep the others from being measured.
async fn measure(arguments: &Arguments, cluster: &Cluster, report: &mut Report) -> Result<(), Error> {
    let mut outcome = Ok(());
    for part in Part::ALL.into_iter().filter(|part| arguments.wants(*part)) {
        step(part.title());
        if let Err(error) = part.measure(cluster, report).await {
            println!("    failed: {}", error.sentence());
            outcome = Err(Error::new(format!("not measured: {}", part.title())));
        }
    }
    outcome
}

/// What can be measured on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Memory,
    Crud,
    Edits,
    Crowd,
    Isolation,
    Failover,
}

impl Part {
    const ALL: [Self; 6] = [
        Self::Memory,
        Self::Crud,
        Self::Edits,
        Self::Crowd,
        Self::Isolation,
        Self::Failover,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Memory => "memory of an operator that was just started and has nothing to do",
            Self::Crud => "500 resources created, changed and deleted",
            Self::Edits => "edits of 100 resources, each followed by a bare patch",
            Self::Crowd => "memory with 1,000 resources",
            Self::Isolation => "200 connectors without and with a Connect cluster that never answers",
            Self::Failover => "leader changes between two replicas",
        }
    }

    async fn measure(self, cluster: &Cluster, report: &mut Report) -> Result<(), Error> {
        match self {
            Self::Memory => {
                let process = Process::restarted(cluster).await?;
                report.rss_idle_mb = Some(process.rss_at_rest(cluster).await?);
                Ok(())
            }
            Self::Crud => crowd::come_and_go(cluster, report).await,
            Self::Edits => edits::measure(cluster, report).await,
            Self::Crowd => crowd::stay(cluster, report).await,
            Self::Isolation => isolation::measure(cluster, report).await,
            Self::Failover => failover::measure(cluster, report).await,
        }
    }
}

/// Tells what comes next.
fn step(what: &str) {
    println!("==> {what}");
}

/// Tells what was found, and how long it took.
fn found(what: &str, since: Instant) {
    println!("    {what} ({:.1} s)", since.elapsed().as_secs_f64());
}
