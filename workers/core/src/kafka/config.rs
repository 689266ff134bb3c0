//! librdkafka properties for each role.
//!
//! The user's properties come first and ours over them: what exactly-once rests on cannot be configured away. Only what
//! bounds memory ([`BOUNDS`]) comes below them.
//! Nothing here may be logged: properties hold passwords.

use naru_contract::Kafka;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// Largest key and value of one record together that a worker should produce, bytes: below the default limits
/// of producer (`message.max.bytes`) and broker, which count headers and framing too.
pub const MAX_RECORD_BYTES: usize = 900_000;

/// Properties that librdkafka knows under a second name. The order in which properties reach librdkafka is not
/// ours to choose, so a user's property under the other name could win over ours.
const ALIASES: [(&str, &str); 5] = [
    ("metadata.broker.list", "bootstrap.servers"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("request.required.acks", "acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("compression.codec", "compression.type"),
];

const COMMON: [(&str, &str); 4] = [
    // A broker that comes back is found again within two seconds.
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.timeout.ms", "10000"),
    // A group takes up partitions that were added to its topic within this time. The default is five minutes.
    ("topic.metadata.refresh.interval.ms", "30000"),
    ("statistics.interval.ms", "0"),
];

/// What librdkafka keeps of messages that nobody has read yet, all partitions together. Its own defaults allow 64 MB of
/// messages and about as much for keeping track of small ones, and 50 MB more in an answer that is under way.
const BOUNDS: [(&str, &str); 3] = [
    // Each costs about 350 bytes and its own length. More than two answers of small records, so that one is always under
    // way, and enough to go on with while a consumer waits 10 ms for a commit.
    ("queued.min.messages", "40000"),
    ("queued.max.messages.kbytes", "16384"),
    // An answer is asked for while there is room for a message, so one more may be waiting.
    ("fetch.max.bytes", "1572864"),
];

const READER: [(&str, &str); 8] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // Also makes the lookup of committed offsets wait for transactions that are being completed.
    ("isolation.level", "read_committed"),
    // Every partition is assigned with an explicit offset; a silent jump would lose records.
    ("auto.offset.reset", "error"),
    ("allow.auto.create.topics", "false"),
    // The default of a second starves a consumer that empties its queue faster than that.
    ("fetch.queue.backoff.ms", "5"),
    // A broker with nothing new answers after this time, and only then a reader knows that it is at the end. The
    // end of a transaction does not always wake the broker up earlier. The default is 500.
    ("fetch.wait.max.ms", "100"),
    ("check.crcs", "true"),
];

const MEMBER: [(&str, &str); 5] = [
    ("group.protocol", "classic"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "1000"),
    // Longer than the deadline of a commit, which runs on the polling thread.
    ("max.poll.interval.ms", "60000"),
];

const TRANSACTIONAL: [(&str, &str); 8] = [
    // A transaction is open for milliseconds; one that a killed worker left open blocks its successor this long.
    ("transaction.timeout.ms", "10000"),
    ("message.timeout.ms", "10000"),
    ("linger.ms", "0"),
    // Right after a commit the coordinator answers CONCURRENT_TRANSACTIONS for some milliseconds.
    ("retry.backoff.ms", "5"),
    ("retry.backoff.max.ms", "100"),
    ("compression.type", "lz4"),
    // As Java's default partitioner: one key is always in one partition, whoever wrote it.
    ("partitioner", "murmur2_random"),
    ("enable.idempotence", "true"),
];

/// For records that may be written again.
const UPSERTING: [(&str, &str); 8] = [
    // Below the session timeout: what a process that stood still had not sent when it lost its partitions is not sent
    // when it goes on.
    ("message.timeout.ms", "5000"),
    ("linger.ms", "0"),
    ("retry.backoff.ms", "5"),
    ("retry.backoff.max.ms", "100"),
    ("compression.type", "lz4"),
    ("partitioner", "murmur2_random"),
    ("acks", "all"),
    ("enable.idempotence", "true"),
];

/// What a member stores is committed by itself, soon after.
const FOLLOWING: [(&str, &str); 2] = [("enable.auto.commit", "true"), ("auto.commit.interval.ms", "100")];

/// A member of consumer group `group`. `instance` must be unique in the group and stay the same when the process
/// restarts: a member that comes back within the session timeout keeps its partitions without a rebalance, and the
/// broker checks every transactional commit against it, even that of a member that was thrown out.
pub fn member(kafka: &Kafka, group: &str, instance: &str) -> ClientConfig {
    let ours = [
        ("group.id", group),
        ("group.instance.id", instance),
        ("client.id", instance),
    ];
    let ours = COMMON.into_iter().chain(READER).chain(MEMBER).chain(ours);
    build(kafka, &BOUNDS, ours)
}

/// The same, which commits by itself the offsets that it is told to store.
pub fn following_member(kafka: &Kafka, group: &str, instance: &str) -> ClientConfig {
    let mut config = member(kafka, group, instance);
    for (name, value) in FOLLOWING {
        config.set(name, value);
    }
    config
}

/// A consumer that is told its partitions and offsets and is in no group.
pub fn reader(kafka: &Kafka) -> ClientConfig {
    // librdkafka's consumer queue needs a group id, though nothing is ever committed under it.
    let ours = [("group.id", "naru-reader"), ("enable.partition.eof", "true")];
    build(kafka, &BOUNDS, COMMON.into_iter().chain(READER).chain(ours))
}

/// A producer whose `transactional_id` fences a predecessor with the same id.
pub fn transactional(kafka: &Kafka, transactional_id: &str) -> ClientConfig {
    let ours = [
        ("transactional.id", transactional_id),
        ("client.id", transactional_id),
    ];
    build(kafka, &[], COMMON.into_iter().chain(TRANSACTIONAL).chain(ours))
}

/// A producer without transactions.
pub fn upserting(kafka: &Kafka, client_id: &str) -> ClientConfig {
    let ours = COMMON.into_iter().chain(UPSERTING);
    build(kafka, &[], ours.chain([("client.id", client_id)]))
}

fn build<'a>(
    kafka: &'a Kafka,
    below: &[(&str, &str)],
    ours: impl Iterator<Item = (&'a str, &'a str)>,
) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in below {
        config.set(*name, *value);
    }
    for (name, value) in &kafka.properties {
        if !ALIASES.iter().any(|(alias, _)| alias == name) {
            config.set(name, value);
        }
    }
    config.set("bootstrap.servers", &kafka.bootstrap_servers);
    for (name, value) in ours {
        config.set(name, value);
    }
    config.set_log_level(RDKafkaLogLevel::Info);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(properties: &[(&str, &str)]) -> Kafka {
        Kafka {
            bootstrap_servers: "kafka:9092".to_owned(),
            properties: properties
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn what_exactly_once_rests_on_cannot_be_configured_away() {
        let kafka = kafka(&[
            ("isolation.level", "read_uncommitted"),
            ("enable.auto.commit", "true"),
            ("metadata.broker.list", "elsewhere:9092"),
            ("request.required.acks", "0"),
            ("client.rack", "a"),
            ("queued.min.messages", "100000"),
        ]);
        let config = member(&kafka, "group", "pod-1");
        assert_eq!(config.get("isolation.level"), Some("read_committed"));
        assert_eq!(config.get("enable.auto.commit"), Some("false"));
        assert_eq!(config.get("metadata.broker.list"), None);
        assert_eq!(config.get("bootstrap.servers"), Some("kafka:9092"));
        assert_eq!(config.get("client.rack"), Some("a"));
        assert_eq!(config.get("queued.min.messages"), Some("100000"));
        let config = upserting(&kafka, "pod-1");
        assert_eq!(config.get("request.required.acks"), None);
        assert_eq!(config.get("acks"), Some("all"));
    }

    #[test]
    fn librdkafka_accepts_every_role() {
        let kafka = kafka(&[("delivery.timeout.ms", "600000")]);
        for config in [
            member(&kafka, "group", "pod-1"),
            following_member(&kafka, "group", "pod-1"),
            reader(&kafka),
            transactional(&kafka, "id"),
            upserting(&kafka, "id"),
        ] {
            config.create_native_config().unwrap();
        }
    }
}
