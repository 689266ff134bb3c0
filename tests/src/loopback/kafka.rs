//! Kafka brokers.

use std::time::Duration;

use naru_contract as contract;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::metadata::MetadataTopic;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tempfile::TempDir;

use super::{Process, START, eventually, free_port};

/// A Kafka of its own, of one broker or three.
pub struct Kafka {
    address: String,
    brokers: Vec<Broker>,
}

/// One more listener of a broker, whose clients are told to come to another port, where a proxy passes on what it likes.
#[derive(Clone, Copy, Debug)]
pub struct Proxied {
    pub port: u16,
    pub proxy: u16,
}

struct Broker {
    port: u16,
    arguments: Vec<String>,
    _data: TempDir,
    process: Process,
}

impl Kafka {
    pub fn start() -> Self {
        Self::start_proxied(&[vec![]])
    }

    /// A broker for each list of listeners: one, or three of which any one may be lost.
    pub fn start_proxied(listeners: &[Vec<Proxied>]) -> Self {
        let controllers = listeners.iter().map(|_| free_port()).collect::<Vec<_>>();
        let voters = (1..).zip(&controllers);
        let voters = voters
            .map(|(node, port)| format!("{node}@127.0.0.1:{port}"))
            .collect::<Vec<_>>();
        let brokers = listeners.iter().zip(&controllers).enumerate();
        let brokers = brokers.map(|(index, (listeners, controller))| {
            let (port, node) = (free_port(), (index + 1).to_string());
            let data = tempfile::tempdir().expect("the temporary folder is writable");
            let folder = data.path().to_string_lossy().into_owned();
            let (text, controller) = (port.to_string(), controller.to_string());
            let mut arguments = vec![
                "kafka",
                "--port",
                &text,
                "--controller-port",
                &controller,
                "--data",
                &folder,
            ]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
            if voters.len() > 1 {
                arguments.extend(["--node".to_owned(), node, "--voters".to_owned(), voters.join(",")]);
            }
            for Proxied { port, proxy } in listeners {
                arguments.extend(["--proxied".to_owned(), format!("{port}:{proxy}")]);
            }
            Broker {
                port,
                process: start(&arguments),
                arguments,
                _data: data,
            }
        });
        let brokers = brokers.collect::<Vec<_>>();
        let addresses = brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.port));
        let kafka = Self {
            address: addresses.collect::<Vec<_>>().join(","),
            brokers,
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

    pub fn broker_count(&self) -> usize {
        self.brokers.len()
    }

    /// SIGKILL, then a start with the same data on the same port, of a Kafka that is one broker.
    pub fn kill_and_restart(&mut self) {
        self.kill(0);
        self.restart(0);
        self.wait_until_ready();
    }

    /// SIGKILL for the broker with this index, from 0.
    pub fn kill(&self, broker: usize) {
        self.brokers[broker].process.kill();
    }

    /// SIGTERM: the broker gives its partitions to the others and ends.
    pub fn terminate(&self, broker: usize) {
        self.brokers[broker].process.signal("TERM");
        self.brokers[broker].process.wait(Duration::from_secs(60));
    }

    /// Starts a broker that has ended with the same data on the same port.
    pub fn restart(&mut self, broker: usize) {
        let broker = &mut self.brokers[broker];
        broker.process = start(&broker.arguments);
    }

    /// Whether every replica of every partition is in sync.
    pub fn is_whole(&self) -> bool {
        let consumer: BaseConsumer = self.client().create().expect("the configuration is valid");
        let metadata = consumer.fetch_metadata(None, Duration::from_secs(2));
        metadata.is_ok_and(|found| {
            let mut partitions = found.topics().iter().flat_map(MetadataTopic::partitions);
            found.brokers().len() == self.brokers.len()
                && partitions.all(|partition| partition.isr().len() == partition.replicas().len())
        })
    }

    /// Index of the broker that leads a partition.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<usize> {
        let consumer: BaseConsumer = self.client().create().expect("the configuration is valid");
        let metadata = consumer
            .fetch_metadata(Some(topic), Duration::from_secs(5))
            .ok()?;
        let mut partitions = metadata.topics().first()?.partitions().iter();
        let node = partitions.find(|found| found.id() == partition)?.leader();
        usize::try_from(node - 1).ok()
    }

    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[]);
    }

    pub fn create_compacted_topic(&self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[("cleanup.policy", "compact")]);
    }

    /// Each broker has a replica.
    pub fn create_topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let replicas = i32::try_from(self.brokers.len()).expect("there are few brokers");
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        self.create(
            &settings
                .iter()
                .fold(topic, |topic, (name, value)| topic.set(name, value)),
        );
    }

    /// Gives a topic these settings, and no others.
    pub fn alter_topic(&self, name: &str, settings: &[(&str, &str)]) {
        let topic = AlterConfig::new(ResourceSpecifier::Topic(name));
        let topic = settings
            .iter()
            .fold(topic, |topic, (name, value)| topic.set(name, value));
        let altered = block_on(self.admin().alter_configs([&topic], &admin_options()));
        for result in altered.expect("the broker answers") {
            result.expect("the settings are valid");
        }
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
        let list = self.described(group);
        let members = list.groups().iter().flat_map(rdkafka::groups::GroupInfo::members);
        members.map(|member| member.client_id().to_owned()).collect()
    }

    /// State of `group`, such as `Stable`; empty if there is no such group.
    pub fn state(&self, group: &str) -> String {
        let list = self.described(group);
        let mut groups = list.groups().iter();
        groups
            .next()
            .map_or_else(String::new, |group| group.state().to_owned())
    }

    fn described(&self, group: &str) -> rdkafka::groups::GroupList {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "naru-observer")
            .create()
            .expect("the configuration is valid");
        consumer
            .fetch_group_list(Some(group), Duration::from_secs(10))
            .expect("the broker answers")
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    fn wait_until_ready(&self) {
        let consumer: BaseConsumer = self.client().create().expect("the configuration is valid");
        eventually(START, "Kafka answers", || {
            self.brokers
                .iter()
                .for_each(|broker| broker.process.expect_running());
            consumer
                .fetch_metadata(None, Duration::from_millis(500))
                .is_ok_and(|found| found.brokers().len() == self.brokers.len())
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

fn admin_options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("there are threads left").block_on(future)
}

fn start(arguments: &[String]) -> Process {
    Process::stack(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}
