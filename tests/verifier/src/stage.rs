//! Brokers, workers with a gate each, the input that is being written and what is seen of the output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use naru_contract::Delivery;
use naru_tests::filtered_sum::check::{Row, TOTAL, Violation};
use naru_tests::filtered_sum::feed::Feed;
use naru_tests::filtered_sum::worker::Worker;
use naru_tests::filtered_sum::{DEAD, INPUT, OUTPUT, config};
use naru_tests::fragile_registry::FragileRegistry;
use naru_tests::loopback::{Kafka, Proxied};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::faults::Fault;
use crate::feeding::Feeding;
use crate::proxy::{Gate, Trap};
use crate::watch::Watch;

pub const PARTITIONS: i32 = 4;
/// Something that takes a moment.
pub const SOON: Duration = Duration::from_secs(60);
/// After this time the totals must be right again: longer than a session (10 s) and, after it, an open transaction
/// (20 s), on a machine that has much else to do.
const RIGHT_AGAIN: Duration = Duration::from_secs(120);
/// What belongs to totals that are visible becomes visible within this time: their transaction is over.
const COMPLETE: Duration = Duration::from_secs(20);
/// How often the workers are asked how they are while they are waited for.
const ASK: Duration = Duration::from_secs(1);

/// As the operator declares it, with segments so short that they are compacted during a run. What is compacted was
/// read long before.
const TOTALS: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "1048576"),
    ("segment.ms", "60000"),
    ("min.cleanable.dirty.ratio", "0.1"),
    ("min.compaction.lag.ms", "60000"),
];

/// A worker and its way to the brokers.
pub struct Member {
    pub worker: Worker,
    pub gate: usize,
}

pub struct Stage {
    pub kafka: Kafka,
    pub workers: Vec<Member>,
    pub feed: Feeding,
    pub watch: Watch,
    pub random: StdRng,
    /// Most workers at once.
    pub most: usize,
    /// Time between two commits, ms: part of the workers' specification.
    pub commit_interval_ms: u64,
    pub delivery: Delivery,
    program: PathBuf,
    registry: FragileRegistry,
    gates: Vec<Arc<Gate>>,
    /// By gate.
    addresses: Vec<String>,
    folder: TempDir,
    names: usize,
    /// Of each fault, where it is still to hold a worker up before it begins anew.
    traps: BTreeMap<Fault, Vec<Trap>>,
    started: Instant,
    history: Vec<String>,
    /// Sum and count of the times in which workers read totals back, by process.
    restores: BTreeMap<String, (f64, f64)>,
}

impl Stage {
    pub fn new(program: PathBuf, brokers: usize, most: usize, delivery: Delivery, seed: u64) -> Self {
        let started = Instant::now();
        // One gate is left for a twin.
        let made = (0..=most).map(|_| Gate::new(brokers).expect("loopback has free ports"));
        let (gates, listeners): (Vec<_>, Vec<Vec<Proxied>>) = made.unzip();
        let of_broker = |broker| listeners.iter().map(|proxied| proxied[broker]).collect();
        let kafka = Kafka::start_proxied(&(0..brokers).map(of_broker).collect::<Vec<_>>());
        let address = |one: &Proxied| format!("127.0.0.1:{}", one.proxy);
        let addresses = listeners
            .iter()
            .map(|proxied| proxied.iter().map(address).collect::<Vec<_>>().join(","));
        kafka.create_topic(INPUT, PARTITIONS);
        kafka.create_topic_with(OUTPUT, PARTITIONS, &TOTALS);
        kafka.create_topic(DEAD, 1);
        let registry = FragileRegistry::start();
        let feed = Feed::new(&kafka.contract(), &registry.contract(), seed);
        Self {
            watch: Watch::new(&kafka.contract(), PARTITIONS, delivery),
            feed: Feeding::new(feed, PARTITIONS, seed),
            kafka,
            workers: Vec::new(),
            random: StdRng::seed_from_u64(seed),
            most,
            commit_interval_ms: 20,
            delivery,
            program,
            registry,
            addresses: addresses.collect(),
            gates,
            folder: tempfile::tempdir().expect("the temporary folder is writable"),
            names: 0,
            traps: BTreeMap::new(),
            started,
            history: Vec::new(),
            restores: BTreeMap::new(),
        }
    }

    pub fn gate(&self, index: usize) -> Arc<Gate> {
        Arc::clone(&self.gates[index])
    }

    /// A gate that no worker uses.
    pub fn free_gate(&self) -> usize {
        let is_free = |gate: &usize| self.workers.iter().all(|member| member.gate != *gate);
        let free = (0..self.gates.len()).find(is_free);
        free.expect("there is a gate more than workers")
    }

    pub fn new_name(&mut self) -> String {
        self.names += 1;
        format!("sum-{}", self.names - 1)
    }

    /// A process of this name, behind an open gate.
    pub fn start(&mut self, name: &str, gate: usize) -> Member {
        self.gates[gate].open();
        self.note(&format!("start {name}"));
        let kafka = naru_contract::Kafka {
            bootstrap_servers: self.addresses[gate].clone(),
            properties: BTreeMap::default(),
        };
        let mut config = config(kafka, self.registry.contract(), &["region"]);
        config.commit_interval_ms = self.commit_interval_ms;
        config.delivery = self.delivery;
        let worker = Worker::start(&self.program, self.folder.path(), &config, name);
        Member { worker, gate }
    }

    /// One more worker, with a name that nobody had.
    pub fn join(&mut self) -> usize {
        let (name, gate) = (self.new_name(), self.free_gate());
        let member = self.start(&name, gate);
        self.workers.push(member);
        self.workers.len() - 1
    }

    pub fn note(&mut self, what: &str) {
        let line = format!("{:7.2} s  {what}", self.started.elapsed().as_secs_f64());
        self.history.push(line);
    }

    pub fn history(&self) -> &[String] {
        &self.history
    }

    pub fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// One of the workers.
    pub fn any(&mut self) -> usize {
        self.random.random_range(0..self.workers.len())
    }

    /// Each of `all` comes once before one comes again.
    pub fn next_trap(&mut self, fault: Fault, all: impl FnOnce() -> Vec<Trap>) -> Trap {
        let left = self.traps.entry(fault).or_default();
        if left.is_empty() {
            *left = all();
            left.shuffle(&mut self.random);
        }
        left.pop().expect("there is a trap for each fault that asks")
    }

    /// From 0 to this.
    pub fn moment(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.random.random_range(0.0..1.0))
    }

    /// Lets time pass, with open eyes.
    pub fn pass(&mut self, time: Duration) -> Result<(), Violation> {
        self.watch.follow(time)
    }

    /// Waits until something holds.
    pub fn until(
        &mut self,
        within: Duration,
        what: &str,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), Violation> {
        let deadline = Instant::now() + within;
        loop {
            self.watch.follow(Duration::from_millis(20))?;
            if holds(self) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let found = format!(
                    "not within {} s: {what}; {}",
                    within.as_secs(),
                    self.how_they_are()
                );
                return Err(Violation::new("I3", found));
            }
        }
    }

    /// Writes until the workers have committed something, then for a random while more.
    pub fn work(&mut self) -> Result<(), Violation> {
        self.feed.resume();
        let before = self.watch.progress();
        let started = Instant::now();
        let mut asked = started;
        self.until(RIGHT_AGAIN, "the workers commit something", |stage| {
            // Who asks for help commits nothing any more.
            let is_stuck = asked.elapsed() > ASK && {
                asked = Instant::now();
                stage.help().is_some()
            };
            is_stuck || stage.watch.progress() > before
        })?;
        self.fail_if_somebody_asks_for_help()?;
        let time = self.moment(Duration::from_millis(700));
        self.pass(time)
    }

    /// Stops writing and waits until the totals are those of the whole input. How long that took.
    pub fn settle(&mut self) -> Result<Duration, Violation> {
        self.feed.pause();
        let started = Instant::now();
        self.until(RIGHT_AGAIN, "the input is written", |stage| {
            !stage.feed.is_writing()
        })?;
        let records = self.feed.committed();
        let (mut asked, mut visible) = (Instant::now(), Instant::now());
        loop {
            self.watch.follow(Duration::from_millis(20))?;
            let Some(left) = self.watch.unfinished(records) else {
                break;
            };
            if left.invariant == "I3" {
                visible = Instant::now();
            }
            if asked.elapsed() > ASK {
                asked = Instant::now();
                self.watch.look()?;
                self.fail_if_somebody_asks_for_help()?;
            }
            if started.elapsed() > RIGHT_AGAIN || visible.elapsed() > COMPLETE {
                let after = started.elapsed().as_secs();
                let found = format!(
                    "not right again after {after} s: {}; {}",
                    left.found,
                    self.how_they_are()
                );
                return Err(Violation::new(left.invariant, found));
            }
        }
        let took = started.elapsed();
        self.watch.finished();
        self.watch.look()?;
        self.fail_if_somebody_asks_for_help()?;
        self.measure();
        Ok(took)
    }

    /// A worker never ends by itself, and whatever happened here needs no hand.
    fn fail_if_somebody_asks_for_help(&self) -> Result<(), Violation> {
        for Member { worker, .. } in &self.workers {
            if !worker.process.is_running() {
                let errors = worker.process.errors();
                let last = errors.lines().last().unwrap_or_default();
                return Err(Violation::new(
                    "I3",
                    format!("{} has ended by itself: {last}", worker.name),
                ));
            }
        }
        self.help().map_or(Ok(()), |help| Err(Violation::new("I4", help)))
    }

    fn help(&self) -> Option<String> {
        self.workers.iter().find_map(|Member { worker, .. }| {
            let (_, body) = worker.get("/readyz")?;
            let is_stuck = body.contains("somebody to help");
            is_stuck.then(|| format!("{} says: {body}", worker.name))
        })
    }

    /// Writes the logs and metrics of the workers that run to a folder, in place of those that are there.
    pub fn keep_logs(&self, folder: &Path) -> std::io::Result<PathBuf> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        for Member { worker, .. } in &self.workers {
            let metrics = worker.get("/metrics").map_or_else(String::new, |(_, text)| text);
            std::fs::write(folder.join(format!("{}.metrics", worker.name)), metrics)?;
            std::fs::write(
                folder.join(format!("{}.log", worker.name)),
                worker.process.errors(),
            )?;
        }
        Ok(folder.to_owned())
    }

    fn how_they_are(&self) -> String {
        let workers = self.workers.iter().map(|Member { worker, .. }| {
            let body = worker
                .get("/readyz")
                .map_or_else(|| "no answer".to_owned(), |(_, body)| body);
            format!("{}: {}", worker.name, body.trim())
        });
        let mut all = workers.collect::<Vec<_>>();
        all.extend(
            self.feed
                .last_error()
                .map(|error| format!("the last error of who writes: {error}")),
        );
        all.join("; ")
    }

    fn measure(&mut self) {
        for Member { worker, .. } in &self.workers {
            let (sum, count) = (
                worker.metric("restore_seconds_sum"),
                worker.metric("restore_seconds_count"),
            );
            if let (Some(sum), Some(count)) = (sum, count) {
                self.restores
                    .insert(format!("{} {}", worker.name, worker.port()), (sum, count));
            }
        }
    }

    /// How often totals were read back, and in what time altogether, s.
    pub fn restores(&self) -> (f64, f64) {
        self.restores
            .values()
            .fold((0.0, 0.0), |(count, sum), (one, times)| {
                (count + times, sum + one)
            })
    }

    /// Ends the workers and lets one of another group make the totals of the same input, undisturbed: they are the same.
    pub fn repeat(&mut self) -> Result<usize, Violation> {
        self.workers.clear();
        let records = self.kafka.read_committed(INPUT).len() as u64;
        if records != self.watch.records {
            let found = format!(
                "of {records} records of the input {} were seen",
                self.watch.records
            );
            return Err(Violation::new("I3", found));
        }
        let (output, dead) = ("again.total", "again.dead");
        self.kafka.create_topic_with(output, PARTITIONS, &TOTALS);
        self.kafka.create_topic(dead, 1);
        let mut config = config(self.kafka.contract(), self.registry.contract(), &["region"]);
        config.group = "again".to_owned();
        config.output_topic = output.to_owned();
        config.dead_letter_topic = dead.to_owned();
        let worker = Worker::start(&self.program, self.folder.path(), &config, "again-0");
        let schema = apache_avro::Schema::parse_str(TOTAL).expect("the workers use it");
        let mut found = BTreeMap::new();
        let waited = self.until(RIGHT_AGAIN, "a second sum of the input is the same", |stage| {
            let rows = stage.kafka.read_committed(output);
            found = rows
                .iter()
                .map(|record| Row::read(&schema, record))
                .map(figures)
                .collect();
            found == stage.watch.newest().values().cloned().map(figures).collect()
        });
        drop(worker);
        waited.map_err(|violation| {
            let expected = self
                .watch
                .newest()
                .values()
                .cloned()
                .map(figures)
                .collect::<BTreeMap<_, _>>();
            let wrong = expected
                .iter()
                .filter(|(id, figures)| found.get(*id) != Some(figures));
            let wrong =
                wrong.map(|(id, figures)| format!("{id} is {:?} instead of {figures:?}", found.get(id)));
            let wrong = wrong.collect::<Vec<_>>().join("; ");
            Violation::new("I12", format!("{}: {wrong}", violation.found))
        })?;
        Ok(found.len())
    }
}

/// What a total says, but for how far behind the last record it reaches.
fn figures(row: Row) -> (String, naru_tests::filtered_sum::check::Figures) {
    (row.id, row.figures)
}
