//! The whole configuration of a valid SinkConnector's connector. Pure, and cannot fail.

use std::collections::BTreeMap;

use naru_api::MysqlSink;

use super::validate::{Store, ValidSinkConnector};
use crate::connect::Config;

/// Debezium's JDBC sink.
const JDBC_SINK: &str = "io.debezium.connector.jdbc.JdbcSinkConnector";

/// What each connector's consumer is told unless the resource says otherwise.
const CONSUMER: [(&str, &str); 2] = [
    // All records of the topic, also those from before the connector was registered.
    ("consumer.override.auto.offset.reset", "earliest"),
    // Workers write in transactions: a record of an aborted one has never been.
    ("consumer.override.isolation.level", "read_committed"),
];

/// The configuration that the connector should be registered with. `secrets` are the values that come from Secrets.
pub fn build(sink: &ValidSinkConnector, secrets: &Config) -> Config {
    let mut config: BTreeMap<String, String> = owned(CONSUMER);
    match &sink.store {
        Store::Mysql(mysql) => config.extend(mysql_config(mysql, &sink.dead_letter_topic)),
        Store::Class {
            class, config: own, ..
        } => {
            config.extend(own.clone());
            config.insert("connector.class".to_owned(), class.clone());
        }
    }
    config.extend(secrets.0.clone());
    let topics: Vec<&str> = sink.topics.iter().map(String::as_str).collect();
    config.insert("topics".to_owned(), topics.join(","));
    config.insert("tasks.max".to_owned(), sink.tasks_max.to_string());
    Config(config)
}

/// Upserts: a record that comes a second time changes nothing, so that rows are right whatever is restarted.
/// Converters are left to the Connect worker, which knows its registry.
fn mysql_config(mysql: &MysqlSink, dead_letter_topic: &str) -> BTreeMap<String, String> {
    owned([
        ("connector.class", JDBC_SINK),
        ("connection.url", &mysql.url),
        ("insert.mode", "upsert"),
        ("delete.enabled", "false"),
        ("primary.key.mode", "record_value"),
        ("primary.key.fields", &mysql.key),
        ("collection.name.format", &mysql.table),
        ("schema.evolution", "basic"),
        // Fields may be called what is a word of SQL, such as "partition".
        ("quote.identifiers", "true"),
        ("use.time.zone", "UTC"),
        ("batch.size", "1000"),
        // Or a poll returns 500 records, and no batch is ever full.
        ("consumer.override.max.poll.records", "1000"),
        // A record that cannot be read is kept aside, and the records behind it are stored.
        ("errors.tolerance", "all"),
        ("errors.deadletterqueue.topic.name", dead_letter_topic),
        // -1: as many replicas as the cluster's own default says.
        ("errors.deadletterqueue.topic.replication.factor", "-1"),
        // They say where a dead letter came from, and why it is one.
        ("errors.deadletterqueue.context.headers.enable", "true"),
    ])
}

fn owned<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    Config::from(entries).0
}
