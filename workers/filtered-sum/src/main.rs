//! The process of a filtered-sum worker.

use std::process::ExitCode;

use clap::Parser;
use naru_filtered_sum::worker::work;
use naru_worker_core::run::{Arguments, run};

/// Filters the records of a Kafka topic and keeps running sums of one of their fields, each record counted once.
#[derive(Parser)]
#[command(name = "naru-filtered-sum", version, about)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

pub(crate) fn main() -> ExitCode {
    run(&Cli::parse().arguments, |config, context| work(&config, &context))
}
