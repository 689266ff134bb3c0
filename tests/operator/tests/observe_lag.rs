//! The autoscaler's view of a consumer group against the real Kafka: what is lag, and what only looks like it.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use naru_operator::autoscale::observe::{Error, Observer, Reader};
use naru_tests::loopback::{Kafka, eventually, free_port};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};

const TOPIC: &str = "items";
const GROUP: &str = "sum";
const WITHIN: Duration = Duration::from_secs(30);

fn config(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.address());
    config
}

fn producer(kafka: &Kafka, transactional_id: &str) -> BaseProducer {
    let producer: BaseProducer = config(kafka)
        .set("transactional.id", transactional_id)
        .create()
        .unwrap();
    producer.init_transactions(WITHIN).unwrap();
    producer
}

/// Begins a transaction with this many records in a partition, and leaves it open. The broker has them.
fn begin(producer: &BaseProducer, partition: i32, records: usize) {
    producer.begin_transaction().unwrap();
    for _ in 0..records {
        producer
            .send(
                BaseRecord::<str, str>::to(TOPIC)
                    .partition(partition)
                    .payload("x"),
            )
            .unwrap();
    }
    producer.flush(WITHIN).unwrap();
}

fn write(producer: &BaseProducer, partition: i32, records: usize) {
    begin(producer, partition, records);
    producer.commit_transaction(WITHIN).unwrap();
}

fn offsets(of: &[(i32, i64)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in of {
        list.add_partition_offset(TOPIC, *partition, Offset::Offset(*offset))
            .unwrap();
    }
    list
}

fn member(kafka: &Kafka) -> BaseConsumer {
    config(kafka).set("group.id", GROUP).create().unwrap()
}

/// As the group would. A broker that has just started loads its groups first.
fn commit(kafka: &Kafka, of: &[(i32, i64)]) {
    let member = member(kafka);
    eventually(WITHIN, "the offsets are committed", || {
        member.commit(&offsets(of), CommitMode::Sync).is_ok()
    });
}

fn observer(kafka: &Kafka) -> Observer {
    let reader = Arc::new(Reader::new(kafka.address()).unwrap());
    Observer::new(reader, GROUP, TOPIC)
}

/// Waits for this lag: a transaction's markers are written after its end was acknowledged.
fn expect(observer: &Observer, records: u64) {
    let mut before = String::new();
    eventually(WITHIN, &format!("the lag is {records}"), || {
        let seen = observer.lag(0);
        let text = format!("{seen:?}");
        if text != before {
            println!("{text}");
            before = text;
        }
        seen.is_ok_and(|lag| lag.records == records)
    });
}

#[test]
fn a_group_lags_from_where_it_is_and_from_the_start_where_it_never_was() {
    let kafka = Kafka::start();
    kafka.create_topic(TOPIC, 3);
    let (producer, observer) = (producer(&kafka, "a"), observer(&kafka));
    expect(&observer, 0);
    write(&producer, 0, 5);
    write(&producer, 1, 3);
    expect(&observer, 8);
    commit(&kafka, &[(0, 2)]);
    expect(&observer, 6);
    // Long tails are not counted one by one, so that the one marker shows.
    write(&producer, 2, 1000);
    expect(&observer, 1007);
    assert_eq!(observer.lag(0).unwrap().partitions, 3);
}

#[test]
fn an_idle_group_has_no_lag_although_markers_follow_the_last_record() {
    let kafka = Kafka::start();
    kafka.create_topic(TOPIC, 2);
    let (one, other, observer) = (producer(&kafka, "a"), producer(&kafka, "b"), observer(&kafka));
    // Two records, two markers behind them.
    begin(&one, 0, 1);
    begin(&other, 0, 1);
    one.commit_transaction(WITHIN).unwrap();
    other.commit_transaction(WITHIN).unwrap();
    expect(&observer, 2);
    commit(&kafka, &[(0, 2)]);
    expect(&observer, 0);
    // The group has lag that nobody cares for: the markers may show.
    let another = self::observer(&kafka);
    assert_eq!(another.lag(10).unwrap().records, 2);
    // What is negligible to one caller need not be so to the next.
    expect(&another, 0);
    // What was counted before is not taken for what is there now.
    write(&one, 0, 1);
    expect(&observer, 1);
    write(&one, 1, 1);
    expect(&observer, 2);
    commit(&kafka, &[(0, 5), (1, 1)]);
    expect(&observer, 0);
}

#[test]
fn records_of_an_open_or_aborted_transaction_are_no_lag() {
    let kafka = Kafka::start();
    kafka.create_topic(TOPIC, 1);
    let (one, other, observer) = (producer(&kafka, "a"), producer(&kafka, "b"), observer(&kafka));
    write(&one, 0, 10);
    begin(&one, 0, 10);
    // Committed, but behind the open transaction: no reader gets them yet.
    write(&other, 0, 10);
    expect(&observer, 10);
    commit(&kafka, &[(0, 10)]);
    expect(&observer, 0);
    one.abort_transaction(WITHIN).unwrap();
    expect(&observer, 10);
    commit(&kafka, &[(0, 31)]);
    expect(&observer, 0);
}

#[test]
fn offsets_in_an_open_transaction_do_not_count_and_nobody_waits_for_them() {
    let kafka = Kafka::start();
    kafka.create_topic(TOPIC, 1);
    let (source, worker, observer) = (producer(&kafka, "a"), producer(&kafka, "b"), observer(&kafka));
    write(&source, 0, 10);
    commit(&kafka, &[(0, 4)]);
    expect(&observer, 6);
    let member = member(&kafka);
    worker.begin_transaction().unwrap();
    worker
        .send_offsets_to_transaction(&offsets(&[(0, 9)]), &member.group_metadata().unwrap(), WITHIN)
        .unwrap();
    assert_eq!(observer.lag(0).unwrap().records, 6);
    worker.commit_transaction(WITHIN).unwrap();
    expect(&observer, 1);
}

#[test]
fn one_client_sees_each_group_for_itself() {
    let kafka = Kafka::start();
    kafka.create_topic(TOPIC, 1);
    let reader = Arc::new(Reader::new(kafka.address()).unwrap());
    let other = Observer::new(Arc::clone(&reader), "other", TOPIC);
    let ours = Observer::new(reader, GROUP, TOPIC);
    let producer = producer(&kafka, "a");
    write(&producer, 0, 10);
    commit(&kafka, &[(0, 4)]);
    expect(&ours, 6);
    expect(&other, 10);
    commit(&kafka, &[(0, 10)]);
    expect(&ours, 0);
    expect(&other, 10);
    write(&producer, 0, 1);
    expect(&ours, 1);
}

#[test]
fn deleted_records_are_no_lag() {
    let kafka = Kafka::start();
    kafka.create_topic(TOPIC, 2);
    let (producer, observer) = (producer(&kafka, "a"), observer(&kafka));
    write(&producer, 0, 10);
    write(&producer, 1, 10);
    commit(&kafka, &[(0, 4)]);
    expect(&observer, 16);
    let admin: AdminClient<DefaultClientContext> = config(&kafka).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let gone = offsets(&[(0, 7), (1, 8)]);
    runtime
        .block_on(admin.delete_records(&gone, &AdminOptions::new()))
        .unwrap();
    expect(&observer, 3 + 2);
    // All of them: what the group has committed lies before the log.
    let gone = offsets(&[(0, 11), (1, 11)]);
    runtime
        .block_on(admin.delete_records(&gone, &AdminOptions::new()))
        .unwrap();
    expect(&observer, 0);
}

#[test]
fn what_cannot_be_seen_is_said_and_seen_again_when_kafka_is_back() {
    let mut kafka = Kafka::start();
    let observer = observer(&kafka);
    let missing = observer.lag(0).unwrap_err();
    let expected = format!("there is no topic \"items\" in kafka at {:?}", kafka.address());
    assert_eq!(missing.to_string(), expected);
    kafka.create_topic(TOPIC, 1);
    let producer = producer(&kafka, "a");
    write(&producer, 0, 3);
    expect(&observer, 3);
    drop(producer);
    kafka.kill_and_restart();
    expect(&observer, 3);
}

#[test]
fn a_silent_kafka_is_named_in_time_and_its_clients_can_be_dropped() {
    let address = format!("127.0.0.1:{}", free_port());
    let observer = Observer::new(Arc::new(Reader::new(&address).unwrap()), GROUP, TOPIC);
    let start = Instant::now();
    let silent = observer.lag(0).unwrap_err();
    assert!(matches!(silent, Error::Silent { .. }), "{silent:?}");
    assert!(silent.to_string().contains(&address), "{silent}");
    drop(observer);
    assert!(
        start.elapsed() < Duration::from_secs(7),
        "took {:?}",
        start.elapsed()
    );
}
