//! The verifier as a program.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use naru_contract::Delivery;
use naru_tests::filtered_sum::check::Violation;
use naru_tests::loopback::program;
use naru_verifier::faults::{Fault, inject, plan};
use naru_verifier::report::{Report, Round, Violated};
use naru_verifier::stage::Stage;
use rand::Rng;

/// Runs filtered-sum workers under faults and checks all that they write.
#[derive(Parser)]
#[command(name = "naru-verifier")]
struct Arguments {
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// What decides on records, faults and moments. The default is another one each time.
    #[arg(long)]
    seed: Option<u32>,
    /// The worker's program. The default is the one that was built with this one.
    #[arg(long)]
    worker: Option<PathBuf>,
    /// Most workers at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=8))]
    workers: u8,
    /// 1, or 3 of which any one may be lost.
    #[arg(long, default_value = "3", value_parser = ["1", "3"])]
    brokers: String,
    /// How the workers deliver, and what is promised of what they write.
    #[arg(long, default_value = "exactlyOnce", value_parser = delivery)]
    delivery: Delivery,
    /// The default is all.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Fault>,
    #[arg(long, default_value = "target/verifier/report.json")]
    report: PathBuf,
}

/// As in the specification of a FilteredSum.
fn delivery(text: &str) -> Result<Delivery, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let report = run(&arguments);
    print!("{}", report.text());
    if let Err(error) = write(&report, &arguments.report) {
        eprintln!("unable to write {}: {error}", arguments.report.display());
        return ExitCode::FAILURE;
    }
    match report.violation {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

fn run(arguments: &Arguments) -> Report {
    let seed = arguments.seed.unwrap_or_else(rand::random).into();
    let worker = arguments
        .worker
        .clone()
        .unwrap_or_else(|| program("naru-filtered-sum"));
    let brokers = if arguments.brokers == "1" { 1 } else { 3 };
    println!(
        "seed {seed}: {} rounds of {} with {brokers} brokers, {}",
        arguments.rounds,
        worker.display(),
        promise(arguments.delivery)
    );
    let mut report = Report {
        seed,
        worker: worker.display().to_string(),
        brokers,
        delivery: promise(arguments.delivery),
        ..Report::default()
    };
    let mut stage = Stage::new(
        worker,
        brokers,
        arguments.workers.into(),
        arguments.delivery,
        seed,
    );
    println!("{:6.1} s  Kafka runs", stage.elapsed());
    let result = rounds(arguments, &mut stage, &mut report);
    if result.is_err() {
        match stage.keep_logs(&arguments.report.with_file_name("logs")) {
            Ok(folder) => println!("what the workers said is in {}", folder.display()),
            Err(error) => eprintln!("unable to keep what the workers said: {error}"),
        }
    }
    report.records = stage.watch.records;
    report.totals = stage.watch.totals;
    report.dead_letters = stage.watch.dead_letters() as u64;
    report.aborted = stage.watch.aborted() as u64;
    let checks = stage.watch.checks.iter();
    report.checks = checks.map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let (restores, seconds) = stage.restores();
    report.restores = restores as u64;
    report.restore_mean_seconds = seconds / restores.max(1.0);
    report.seconds = stage.elapsed();
    report.violation = result.err().map(|Violation { invariant, found }| Violated {
        invariant: invariant.to_owned(),
        found,
        history: stage.history().to_vec(),
    });
    report
}

fn promise(delivery: Delivery) -> String {
    let name = serde_json::to_value(delivery).ok();
    name.and_then(|name| Some(name.as_str()?.to_owned()))
        .unwrap_or_default()
}

fn rounds(arguments: &Arguments, stage: &mut Stage, report: &mut Report) -> Result<(), Violation> {
    let all = Fault::value_variants().iter().copied();
    let mut kinds = match arguments.faults.as_slice() {
        [] => all.collect(),
        chosen => chosen.to_vec(),
    };
    // A coordinator cannot move where there is one broker.
    kinds.retain(|kind| report.brokers > 1 || *kind != Fault::Coordinator);
    stage.join();
    stage.join();
    for (index, fault) in plan(&kinds, arguments.rounds, &mut stage.random)
        .into_iter()
        .enumerate()
    {
        if stage.workers.len() < stage.most && stage.random.random_ratio(1, 3) {
            stage.join();
        }
        let name = fault
            .to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned());
        stage.note(&format!("round {}: {name}", index + 1));
        stage.work()?;
        let what = inject(stage, fault)?;
        *report.faults.entry(name.clone()).or_default() += 1;
        let took = stage.settle()?.as_secs_f64();
        println!(
            "{:6.1} s  {:3}  {name:<11} {what}; right again after {took:.1} s ({} workers, {} records, {} totals)",
            stage.elapsed(),
            index + 1,
            stage.workers.len(),
            stage.watch.records,
            stage.watch.totals
        );
        report.rounds.push(Round {
            fault: name,
            what,
            right_again_after_seconds: took,
        });
    }
    stage.watch.end()?;
    let same = stage.repeat()?;
    stage.watch.checks.insert("I12", same as u64);
    Ok(())
}

fn write(report: &Report, path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, serde_json::to_vec_pretty(report)?)
}
