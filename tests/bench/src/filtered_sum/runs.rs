//! One run of each program over the same records.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use naru_contract::{Delivery, FilteredSumWorker, OnError};
use naru_tests::{fragile_registry::FragileRegistry, loopback::Kafka, loopback::free_port};
use snafu::{OptionExt, ResultExt};

use super::{
    data::{LIMIT, PARTITIONS, SCHEMA, Sum},
    error::Error,
    program::Program,
    totals::{Format, Totals},
};

/// Longest time for one run.
const WITHIN: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(20);
pub(crate) const INPUT: &str = "items";

/// What a run was about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    /// From the start of the process until all is summed and can be read, seconds.
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_mb: f64,
    /// From the start of the process until the first total that has a record in it can be read, seconds.
    pub(crate) start_seconds: f64,
}

/// Where everything is.
pub(crate) struct Place {
    pub(crate) kafka: Kafka,
    pub(crate) registry: FragileRegistry,
    pub(crate) folder: PathBuf,
    /// Folder of the programs that are measured, compiled in the release profile.
    pub(crate) programs: PathBuf,
    /// Properties of the worker's Kafka clients.
    pub(crate) properties: Vec<(String, String)>,
}

/// A worker of ours and the port of its metrics.
pub(crate) struct Worker {
    pub(crate) program: Program,
    pub(crate) port: u16,
}

impl Place {
    /// A worker's document. Its group and its topics have `name` in their names; the topics are made.
    pub(crate) fn sum(&self, name: &str, input: &str) -> FilteredSumWorker {
        let (output, dead) = (format!("{name}-totals"), format!("{name}-dead"));
        self.kafka.create_compacted_topic(&output, PARTITIONS);
        self.kafka.create_topic(&dead, 1);
        let mut kafka = self.kafka.contract();
        kafka.properties.extend(self.properties.iter().cloned());
        FilteredSumWorker {
            name: format!("bench/{name}"),
            kafka,
            registry: self.registry.contract(),
            group: name.to_owned(),
            input_topic: input.to_owned(),
            filter: Some(format!("price <= {LIMIT}")),
            field: "price".to_owned(),
            scale: 0,
            round_floats: false,
            group_by: Vec::new(),
            window: None,
            output_topic: output,
            keys_topic: None,
            dead_letter_topic: dead,
            commit_interval_ms: 100,
            computation: 0,
            reset: None,
            delivery: Delivery::default(),
            on_error: OnError::default(),
        }
    }

    pub(crate) fn worker(&self, config: &FilteredSumWorker) -> Result<Worker, Error> {
        let path = self.folder.join(format!("{}.json", config.group));
        let document = serde_json::to_vec(config).whatever_context("the document cannot be written")?;
        std::fs::write(&path, document).whatever_context("the document cannot be written")?;
        let port = free_port();
        let mut command = Command::new(self.programs.join("naru-filtered-sum"));
        command
            .args([
                "--instance",
                "bench-0",
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--config",
            ])
            .arg(&path);
        let program = Program::start(&mut command, &self.folder.join("worker.log"))?;
        Ok(Worker { program, port })
    }

    /// The bare batch consumer.
    pub(crate) fn bare(&self, records: u64) -> Result<Run, Error> {
        let mut command = Command::new(self.programs.join("naru-bench-bare"));
        command
            .args(["--bootstrap-servers", self.kafka.address(), "--topic", INPUT])
            .args([
                "--partitions",
                &PARTITIONS.to_string(),
                "--records",
                &records.to_string(),
            ]);
        let mut program = Program::start(&mut command, &self.folder.join("bare.log"))?;
        let (output, took) = program.output(WITHIN)?;
        let figures: Vec<f64> = output
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let [found, _bytes, cpu_seconds, peak_kib] = figures[..] else {
            return Err(Error::new(format!("the bare consumer said {output:?}")));
        };
        if found < records as f64 {
            return Err(Error::new(format!(
                "the bare consumer has counted {found} records"
            )));
        }
        Ok(Run {
            seconds: took.as_secs_f64(),
            cpu_seconds,
            peak_mb: peak_kib * 1024.0 / 1e6,
            start_seconds: 0.0,
        })
    }

    /// A worker of ours. It is still there afterwards.
    pub(crate) fn naru(&self, name: &str, expected: &[Sum]) -> Result<(Run, Worker), Error> {
        let config = self.sum(name, INPUT);
        let totals = Totals::open(self.kafka.address(), &config.output_topic, Format::Naru)?;
        let mut worker = self.worker(&config)?;
        let run = follow(&mut worker.program, &totals, expected)?;
        Ok((run, worker))
    }

    /// The file of the input's schema.
    pub(crate) fn schema(&self) -> Result<PathBuf, Error> {
        let path = self.folder.join("item.avsc");
        std::fs::write(&path, SCHEMA).whatever_context("unable to write the schema")?;
        Ok(path)
    }
}

/// Until the total of each partition is what is expected.
pub(crate) fn follow(program: &mut Program, totals: &Totals, expected: &[Sum]) -> Result<Run, Error> {
    let mut newest = vec![Sum::default(); expected.len()];
    let mut first = None;
    let mut done = Instant::now();
    while newest != expected {
        if program.started.elapsed() > WITHIN {
            return Err(Error::new(format!(
                "the totals are {newest:?} instead of {expected:?}"
            )));
        }
        let Some((total, seen)) = totals.next(LOOK)? else {
            program.expect_running()?;
            continue;
        };
        let of = newest
            .get_mut(total.partition)
            .whatever_context("a total is of a partition that there is not")?;
        *of = total.sum;
        done = seen;
        if total.sum.count > 0 {
            first.get_or_insert(seen);
        }
    }
    let since = |seen: Instant| seen.duration_since(program.started).as_secs_f64();
    Ok(Run {
        seconds: since(done),
        cpu_seconds: program.cpu(),
        peak_mb: program.peak_mb(),
        start_seconds: first.map_or(0.0, since),
    })
}
