//! The scraping worker's command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use naru_contract::ScrapeWorker;
use naru_worker_core::run::{Arguments, run};

/// Turns the product pages of a site into records of a Kafka topic, each product exactly once.
#[derive(Debug, Parser)]
#[command(name = "naru-scrape", version)]
struct CommandLine {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Finds new product ids and hands them out as ranges. One per job; a second one takes over.
    Plan(Arguments),
    /// Fetches the pages of ranges. As many per job as the frontier topic has partitions.
    Fetch(Arguments),
}

fn main() -> ExitCode {
    match CommandLine::parse().role {
        Role::Plan(arguments) => run(&arguments, |config: ScrapeWorker, context| {
            naru_scrape::plan::run(&config, &context)
        }),
        Role::Fetch(arguments) => run(&arguments, |config: ScrapeWorker, context| {
            naru_scrape::fetch::run(&config, &context)
        }),
    }
}
