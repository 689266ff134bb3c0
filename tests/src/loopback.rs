//! The real Kafka and the real schema registry as processes on free loopback ports, one set per test.
//!
//! `deploy/stack/local` starts them; dropping the handle kills them and deletes their data.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use naru_contract as contract;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tempfile::{NamedTempFile, TempDir};

/// The first start of all resolves jars and makes start-up archives.
const START: Duration = Duration::from_secs(300);
/// How much of a process's output a failed test shows.
const LINES_SHOWN: usize = 40;

/// A broker of its own.
pub struct Kafka {
    address: String,
    port: u16,
    controller_port: u16,
    data: TempDir,
    process: Process,
}

impl Kafka {
    pub fn start() -> Self {
        let (port, controller_port) = (free_port(), free_port());
        let data = tempfile::tempdir().expect("the temporary folder is writable");
        let process = broker(port, controller_port, data.path());
        let kafka = Self {
            address: format!("127.0.0.1:{port}"),
            port,
            controller_port,
            data,
            process,
        };
        kafka.wait_until_ready();
        kafka
    }

    pub fn contract(&self) -> contract::Kafka {
        contract::Kafka {
            bootstrap_servers: self.address.clone(),
            properties: Default::default(),
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// SIGKILL, then a start with the same data on the same port.
    pub fn kill_and_restart(&mut self) {
        self.process.kill();
        self.process = broker(self.port, self.controller_port, self.data.path());
        self.wait_until_ready();
    }

    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.create(&NewTopic::new(name, partitions, TopicReplication::Fixed(1)));
    }

    pub fn create_compacted_topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        self.create(&topic.set("cleanup.policy", "compact"));
    }

    /// More partitions for a topic, `count` altogether.
    pub fn grow_topic(&self, name: &str, count: i32) {
        let count = usize::try_from(count).expect("a count is positive");
        let wanted = NewPartitions::new(name, count);
        let grown = block_on(self.admin().create_partitions([&wanted], &admin_options()));
        for result in grown.expect("the broker answers") {
            result.expect("the topic has fewer partitions");
        }
    }

    /// Deletes a topic, and with it what groups have committed for it, and makes one of the same name.
    pub fn recreate_topic(&self, name: &str, partitions: i32) {
        let deleted = block_on(self.admin().delete_topics(&[name], &admin_options()));
        for result in deleted.expect("the broker answers") {
            result.expect("there is a topic");
        }
        eventually(Duration::from_secs(10), "the topic is gone", || {
            let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
            let made = block_on(self.admin().create_topics([&topic], &admin_options()));
            made.is_ok_and(|made| made.iter().all(Result::is_ok))
        });
    }

    /// What a group has committed is gone, as when its offsets expire. It must have no members.
    pub fn forget_group(&self, group: &str) {
        let deleted = block_on(self.admin().delete_groups(&[group], &admin_options()));
        for result in deleted.expect("the broker answers") {
            result.expect("the group has no members");
        }
    }

    /// Commits for a group that has no members, as an administrator would.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, (offset, metadata): (i64, &str)) {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", group)
            .create()
            .expect("the configuration is valid");
        let mut offsets = TopicPartitionList::new();
        let mut element = offsets.add_partition(topic, partition);
        element
            .set_offset(Offset::Offset(offset))
            .expect("an offset is valid");
        element.set_metadata(metadata);
        consumer
            .commit(&offsets, CommitMode::Sync)
            .expect("the group has no members");
    }

    fn create(&self, topic: &NewTopic<'_>) {
        let made = block_on(self.admin().create_topics([topic], &admin_options()));
        for result in made.expect("the broker answers") {
            result.expect("the topic is new");
        }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("the configuration is valid")
    }

    /// Every committed record of `topic`, partition by partition, up to the last stable offsets of this moment.
    pub fn read_committed(&self, topic: &str) -> Vec<Consumed> {
        let mut records = Vec::new();
        naru_worker_core::kafka::topic::read_to_end(
            &self.contract(),
            topic,
            Duration::from_secs(60),
            |message| {
                records.push(Consumed {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                });
            },
        )
        .expect("the topic can be read");
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// What `group` has committed for `partition` of `topic`: the offset and the metadata beside it.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<(i64, String)> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .create()
            .expect("the configuration is valid");
        let mut asked = TopicPartitionList::new();
        asked.add_partition(topic, partition);
        let mut answer = None;
        // A broker that has just started finds the group's coordinator only after a while.
        eventually(Duration::from_secs(30), "the group's coordinator answers", || {
            answer = consumer
                .committed_offsets(asked.clone(), Duration::from_secs(10))
                .ok();
            answer.is_some()
        });
        let answer = answer.expect("it has answered");
        let found = answer.find_partition(topic, partition).expect("it was asked for");
        match found.offset() {
            Offset::Offset(offset) => Some((offset, found.metadata().to_owned())),
            _ => None,
        }
    }

    /// Client ids of the members of `group`.
    pub fn members(&self, group: &str) -> Vec<String> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "naru-observer")
            .create()
            .expect("the configuration is valid");
        let list = consumer
            .fetch_group_list(Some(group), Duration::from_secs(10))
            .expect("the broker answers");
        let members = list.groups().iter().flat_map(rdkafka::groups::GroupInfo::members);
        members.map(|member| member.client_id().to_owned()).collect()
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    fn wait_until_ready(&self) {
        let consumer: BaseConsumer = self.client().create().expect("the configuration is valid");
        eventually(START, "Kafka answers", || {
            self.process.expect_running();
            consumer
                .fetch_metadata(None, Duration::from_millis(500))
                .is_ok_and(|found| !found.brokers().is_empty())
        });
    }
}

/// One record that a `read_committed` reader saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumed {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// A schema registry that keeps its schemas in `kafka`.
pub struct Registry {
    port: u16,
    _process: Process,
}

impl Registry {
    pub fn start(kafka: &Kafka) -> Self {
        let port = free_port();
        let process = Process::stack(&[
            "registry",
            "--port",
            &port.to_string(),
            "--kafka",
            kafka.address(),
        ]);
        eventually(START, "the registry answers", || {
            process.expect_running();
            answers_ok(port, "/apis/ccompat/v7/subjects")
        });
        Self {
            port,
            _process: process,
        }
    }

    pub fn contract(&self) -> contract::Registry {
        contract::Registry {
            url: format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port),
        }
    }
}

/// A process that is killed when its handle is dropped. Its standard error is shown when the test fails.
pub struct Process {
    name: String,
    child: std::sync::Mutex<Child>,
    errors: NamedTempFile,
}

impl Process {
    /// Starts one of the workspace's binaries, built beforehand by `cargo build -p <package>`.
    pub fn worker(package: &str, arguments: &[&str]) -> Self {
        Self::spawn(
            package,
            Command::new(binary(package))
                .args(arguments)
                .stdout(Stdio::null()),
        )
    }

    fn stack(arguments: &[&str]) -> Self {
        let script = workspace().join("deploy/stack/local");
        assert!(
            script.exists(),
            "{} is missing: it starts Kafka and the registry",
            script.display()
        );
        // The servers' own logs would drown what the tests say; their errors reach standard error.
        Self::spawn(
            arguments.first().unwrap_or(&"local"),
            Command::new(script).args(arguments).stdout(Stdio::null()),
        )
    }

    fn spawn(name: &str, command: &mut Command) -> Self {
        let errors = NamedTempFile::new().expect("the temporary folder is writable");
        let file = errors.reopen().expect("it was just made");
        let child = command.stdin(Stdio::null()).stderr(file).spawn();
        let child = child.unwrap_or_else(|error| unreachable!("unable to start {name:?}: {error}"));
        Self {
            name: name.to_owned(),
            child: std::sync::Mutex::new(child),
            errors,
        }
    }

    /// What it has written to standard error.
    pub fn errors(&self) -> String {
        std::fs::read(self.errors.path()).map_or_else(
            |error| error.to_string(),
            |text| String::from_utf8_lossy(&text).into_owned(),
        )
    }

    pub fn is_running(&self) -> bool {
        let mut child = self.child.lock().expect("no test panics while it holds the lock");
        matches!(child.try_wait(), Ok(None))
    }

    /// Exit code, `None` after a signal, once it has ended.
    pub fn wait(&self, within: Duration) -> Option<i32> {
        eventually(within, &format!("{:?} has ended", self.name), || {
            !self.is_running()
        });
        let mut child = self.child.lock().expect("no test panics while it holds the lock");
        child.wait().expect("it has ended").code()
    }

    /// SIGKILL.
    pub fn kill(&self) {
        let mut child = self.child.lock().expect("no test panics while it holds the lock");
        let _ = child.kill();
        let _ = child.wait();
    }

    /// A signal by its name, such as `TERM`, `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let pid = self
            .child
            .lock()
            .expect("no test panics while it holds the lock")
            .id();
        let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "unable to send SIG{name} to {:?}",
            self.name
        );
    }

    fn expect_running(&self) {
        assert!(
            self.is_running(),
            "{:?} ended although it was to run; its output says why",
            self.name
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let errors = self.errors();
            let lines = errors.lines().collect::<Vec<_>>();
            let last = lines.len().saturating_sub(LINES_SHOWN);
            println!(
                "--- end of the output of {:?}\n{}",
                self.name,
                lines[last..].join("\n")
            );
        }
    }
}

/// Waits until `condition` holds, and says what did not come true when it does not hold in time.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one loop that waits for a condition with a deadline"
)]
pub fn eventually(within: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "not within {} s: {what}",
            within.as_secs_f32()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A port that nothing listens on. Ports are handed out by the kernel in turn, so it stays free for a while.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it is bound").port()
}

/// Whether GET `path` is answered with 200.
pub fn answers_ok(port: u16, path: &str) -> bool {
    use std::io::{Read, Write};
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("there are threads left").block_on(future)
}

fn broker(port: u16, controller_port: u16, data: &Path) -> Process {
    Process::stack(&[
        "kafka",
        "--port",
        &port.to_string(),
        "--controller-port",
        &controller_port.to_string(),
        "--data",
        &data.to_string_lossy(),
    ])
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// A binary beside the folder of this test's own (`target/<profile>/deps`).
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("cargo puts tests into target/<profile>/deps");
    let binary = folder.join(name);
    assert!(
        binary.exists(),
        "{} is not built: run `cargo build -p {name}` first",
        binary.display()
    );
    binary
}
