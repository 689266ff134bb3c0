//! Measures the filtered-sum worker on a real Kafka on loopback, against a bare batch consumer and a Kafka Streams
//! application, and writes the figures as JSON. One program at a time, all over the same records; what each comes to is
//! checked against what was written.

mod filtered_sum {
    pub(crate) mod data;
    #[path = "../operator/error.rs"]
    pub(crate) mod error;
    pub(crate) mod figures;
    pub(crate) mod latency;
    pub(crate) mod peers;
    pub(crate) mod program;
    pub(crate) mod runs;
    pub(crate) mod totals;

    /// Between two looks.
    #[expect(
        clippy::disallowed_methods,
        reason = "every caller looks for a condition, within a deadline"
    )]
    pub(crate) fn pause(time: std::time::Duration) {
        std::thread::sleep(time);
    }
}

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use naru_contract::Delivery;
use naru_tests::{fragile_registry::FragileRegistry, loopback::Kafka};
use naru_worker_core::avro::registry::Registry;
use snafu::{OptionExt, ResultExt};

use filtered_sum::{
    data::{self, Items, PARTITIONS, Sum},
    error::Error,
    figures::{Report, histogram_median, median, metric, round},
    latency::Latency,
    pause,
    program::get,
    runs::{INPUT, Place, Run},
};

const SUM: &str = "naru_filtered_sum_";
/// A worker that has nothing to do is at rest after this.
const REST: Duration = Duration::from_secs(10);
const GROUPS: i64 = 10_000;
const BYTEWAX_RECORDS: u64 = 2_000_000;
const WITHIN: Duration = Duration::from_secs(60);

/// Arguments.
#[derive(Debug, Parser)]
struct Arguments {
    /// File for the figures.
    #[arg(long)]
    out: PathBuf,
    /// Folder of the programs that are measured, compiled in the release profile.
    #[arg(long)]
    programs: PathBuf,
    /// Folder of the jars of the Kafka Streams application. Without it, there is no comparison with it.
    #[arg(long)]
    streams: Option<PathBuf>,
    /// Folder of the Python environment with the Bytewax program. Without it, there is no comparison with it.
    #[arg(long)]
    bytewax: Option<PathBuf>,
    /// What the worker's own benchmark says of its decoding (`cargo bench --bench decode`), for the report.
    #[arg(long)]
    decode_million_per_s: Option<f64>,
    /// Records that are read. Fewer are quicker, but then it is the start of the programs that is measured.
    #[arg(long, default_value_t = 20_000_000)]
    records: u64,
    /// Runs of each program. Its median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement of latency.
    #[arg(long, default_value_t = 30)]
    lasting: u64,
    /// A property of the worker's Kafka clients, to try it out: NAME=VALUE.
    #[arg(long, value_parser = property)]
    property: Vec<(String, String)>,
    /// Only these parts, separated by commas. All if none is named.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What can be measured on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Idle,
    Latency,
    Restore,
    Throughput,
    Streams,
    Bytewax,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One TLS provider for all clients. A second installation is refused, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let started = Instant::now();
    let mut report = Report {
        at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        profile: "release",
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        records: arguments.records,
        decode_million_per_s: arguments.decode_million_per_s,
        ..Report::default()
    };
    let measured = Bench::set_up(&arguments).and_then(|mut bench| bench.measure(&mut report));
    report.seconds = started.elapsed().as_secs();
    // What was measured before something went wrong is worth keeping.
    let written = report.write(&arguments.out);
    println!("{}", report.table());
    match measured.and(written) {
        Ok(()) => {
            println!("written to {}", arguments.out.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", error.sentence());
            ExitCode::FAILURE
        }
    }
}

struct Bench<'a> {
    arguments: &'a Arguments,
    place: Place,
    schema_id: u32,
    /// Of the records that all programs read, once they are written.
    expected: Option<[Sum; PARTITIONS as usize]>,
    _folder: tempfile::TempDir,
}

impl<'a> Bench<'a> {
    fn set_up(arguments: &'a Arguments) -> Result<Self, Error> {
        step("start Kafka");
        let folder = tempfile::tempdir().whatever_context("the temporary folder is not writable")?;
        let place = Place {
            kafka: Kafka::start(),
            registry: FragileRegistry::start(),
            folder: folder.path().to_owned(),
            programs: arguments.programs.clone(),
            properties: arguments.property.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .whatever_context("unable to start")?;
        let schema_id = runtime.block_on(async {
            let registry = Registry::new(&place.registry.contract()).whatever_context("no registry")?;
            let id = registry.register("items-value", data::SCHEMA).await;
            id.whatever_context("the registry does not take the schema")
        })?;
        Ok(Self {
            arguments,
            place,
            schema_id,
            expected: None,
            _folder: folder,
        })
    }

    fn wants(&self, part: Part) -> bool {
        self.arguments.only.is_empty() || self.arguments.only.contains(&part)
    }

    /// The first worker, which is idle, also has Kafka make its own topics.
    fn measure(&mut self, report: &mut Report) -> Result<(), Error> {
        if self.wants(Part::Idle) {
            step("memory of a worker that has nothing to do");
            report.rss_idle_mb = Some(self.idle()?);
        }
        if self.wants(Part::Latency) {
            step("10,000 records a second, a transaction every 100 ms");
            let regular = self.latency("regular", Delivery::ExactlyOnce, 100)?;
            (report.exactly_once_p50_ms, report.exactly_once_p99_ms) = (Some(regular.p50), Some(regular.p99));
            step("the same, a transaction every 10 ms");
            let fast = self.latency("fast", Delivery::ExactlyOnce, 10)?;
            (report.fast_interval_p50_ms, report.fast_interval_p99_ms) = (Some(fast.p50), Some(fast.p99));
            step("the same, upserts every 5 ms");
            let upsert = self.latency("upsert", Delivery::IdempotentUpsert, 5)?;
            (report.upsert_p50_ms, report.upsert_p99_ms) = (Some(upsert.p50), Some(upsert.p99));
        }
        if self.wants(Part::Restore) {
            step("restore of 10,000 groups");
            report.restore_10k_s = Some(self.restore()?);
        }
        if self.wants(Part::Throughput) {
            self.throughput(report)?;
        }
        if let Some(jars) = self
            .arguments
            .streams
            .clone()
            .filter(|_| self.wants(Part::Streams))
        {
            self.streams(&jars, report)?;
        }
        if let Some(environment) = self
            .arguments
            .bytewax
            .clone()
            .filter(|_| self.wants(Part::Bytewax))
        {
            self.bytewax(&environment, report)?;
        }
        Ok(())
    }

    fn latency(&self, name: &str, delivery: Delivery, commit_interval_ms: u64) -> Result<Latency, Error> {
        let lasting = Duration::from_secs(self.arguments.lasting);
        let way = (delivery, commit_interval_ms);
        self.place.latency(name, self.schema_id, way, lasting)
    }

    fn idle(&self) -> Result<f64, Error> {
        self.place.kafka.create_topic("nothing", PARTITIONS);
        let worker = self.place.worker(&self.place.sum("idle", "nothing"))?;
        until("the worker is ready", || get(worker.port, "/readyz").is_some())?;
        pause(REST);
        let rss = worker.program.rss_mb();
        worker.program.end()?;
        Ok(round(rss))
    }

    /// Seconds that a worker needs to read the totals of its groups when it starts again.
    fn restore(&self) -> Result<f64, Error> {
        let place = &self.place;
        place.kafka.create_topic("titles", PARTITIONS);
        let items = Items::new(self.schema_id).with_titles(GROUPS);
        let records = u64::try_from(GROUPS * 6).unwrap_or(0);
        data::write(place.kafka.address(), "titles", items, records)?;
        let mut config = place.sum("groups", "titles");
        config.filter = None;
        config.group_by = vec!["title".to_owned()];
        let value = |worker: &filtered_sum::runs::Worker, name: &str| {
            metric(&get(worker.port, "/metrics")?, &format!("{SUM}{name}"))
        };
        let worker = place.worker(&config)?;
        until("all groups are summed", || {
            value(&worker, "records_total") >= Some(records as f64)
        })?;
        worker.program.end()?;
        let worker = place.worker(&config)?;
        until("the totals are read", || {
            value(&worker, "restore_seconds_count") >= Some(1.0)
        })?;
        let seconds =
            value(&worker, "restore_seconds_sum").whatever_context("there is no metric of the restore")?;
        worker.program.end()?;
        Ok(round(seconds))
    }

    /// Writes the records if that has not been done.
    fn expected(&mut self) -> Result<[Sum; PARTITIONS as usize], Error> {
        if let Some(expected) = self.expected {
            return Ok(expected);
        }
        let records = self.arguments.records;
        step(&format!("write {records} records"));
        self.place.kafka.create_topic(INPUT, PARTITIONS);
        let items = Items::new(self.schema_id);
        let expected = data::write(self.place.kafka.address(), INPUT, items, records)?;
        self.expected = Some(expected);
        Ok(expected)
    }

    /// In turn, so that both see the machine as it is at the time.
    fn throughput(&mut self, report: &mut Report) -> Result<(), Error> {
        let expected = self.expected()?;
        let (mut bare, mut naru, mut commits) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=self.arguments.rounds {
            step(&format!("bare batch consumer, run {round}"));
            bare.push(found(self.place.bare(self.arguments.records)?));
            step(&format!("worker, run {round}"));
            let (run, worker) = self.place.naru(&format!("sum-{round}"), &expected)?;
            naru.push(found(run));
            let metrics = get(worker.port, "/metrics").whatever_context("the worker tells no metrics")?;
            commits.extend(histogram_median(&metrics, &format!("{SUM}commit_seconds")));
            worker.program.end()?;
        }
        let records = self.arguments.records as f64;
        let rate = |runs: &[Run]| {
            median(runs.iter().map(|run| run.seconds)).map(|seconds| (records / seconds).round())
        };
        let of = |runs: &[Run], figure: fn(&Run) -> f64| median(runs.iter().map(figure)).map(round);
        report.records_per_s = rate(&naru);
        report.bare_batch_records_per_s = rate(&bare);
        report.ratio_to_bare_batch = ratio(report.records_per_s, report.bare_batch_records_per_s);
        report.cpu_s = of(&naru, |run| run.cpu_seconds);
        report.bare_batch_cpu_s = of(&bare, |run| run.cpu_seconds);
        report.rss_mb = of(&naru, |run| run.peak_mb);
        report.start_s = of(&naru, |run| run.start_seconds);
        report.commit_p50_ms = median(commits).map(|seconds| round(seconds * 1000.0));
        Ok(())
    }

    fn streams(&mut self, jars: &std::path::Path, report: &mut Report) -> Result<(), Error> {
        let expected = self.expected()?;
        let mut runs = Vec::new();
        for round in 1..=self.arguments.rounds {
            step(&format!("Kafka Streams, run {round}"));
            runs.push(found(self.place.streams(
                jars,
                &format!("streams-{round}"),
                INPUT,
                &expected,
            )?));
        }
        let records = self.arguments.records as f64;
        let of = |figure: fn(&Run) -> f64| median(runs.iter().map(figure)).map(round);
        report.kafka_streams_records_per_s = of(|run| run.seconds).map(|seconds| (records / seconds).round());
        report.kafka_streams_cpu_s = of(|run| run.cpu_seconds);
        report.kafka_streams_rss_mb = of(|run| run.peak_mb);
        report.ratio_to_kafka_streams = ratio(report.records_per_s, report.kafka_streams_records_per_s);
        report.cpu_ratio_to_kafka_streams = ratio(report.kafka_streams_cpu_s, report.cpu_s);
        Ok(())
    }

    /// Fewer records: it would need minutes for all of them, and is as quick at the start as later.
    fn bytewax(&mut self, environment: &std::path::Path, report: &mut Report) -> Result<(), Error> {
        const FEW: &str = "few-items";
        let records = self.arguments.records.min(BYTEWAX_RECORDS);
        step(&format!("write {records} records"));
        self.place.kafka.create_topic(FEW, PARTITIONS);
        let expected = data::write(
            self.place.kafka.address(),
            FEW,
            Items::new(self.schema_id),
            records,
        )?;
        let mut runs = Vec::new();
        for round in 1..=self.arguments.rounds {
            step(&format!("Bytewax, run {round}"));
            let name = format!("bytewax-{round}");
            runs.push(found(self.place.bytewax(environment, &name, FEW, &expected)?));
        }
        let per_cpu = |records: u64, seconds: Option<f64>| Some(records as f64 / seconds?);
        let bytewax = median(runs.iter().map(|run| run.cpu_seconds));
        let seconds = median(runs.iter().map(|run| run.seconds));
        report.bytewax_records_per_s = seconds.map(|seconds| (records as f64 / seconds).round());
        report.ratio_to_bytewax_per_cpu = ratio(
            per_cpu(self.arguments.records, report.cpu_s),
            per_cpu(records, bytewax),
        );
        Ok(())
    }
}

fn ratio(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(round(one? / other?))
}

fn until(what: &str, mut condition: impl FnMut() -> bool) -> Result<(), Error> {
    let deadline = Instant::now() + WITHIN;
    while !condition() {
        if Instant::now() > deadline {
            return Err(Error::new(format!("not within {} s: {what}", WITHIN.as_secs())));
        }
        pause(Duration::from_millis(50));
    }
    Ok(())
}

/// Tells what comes next.
fn step(what: &str) {
    println!("==> {what}");
}

/// Tells what was found.
fn found(run: Run) -> Run {
    println!(
        "    {:.2} s, {:.2} processor seconds, {:.0} MB, first total after {:.2} s",
        run.seconds, run.cpu_seconds, run.peak_mb, run.start_seconds
    );
    run
}
