//! A worker ends in time whatever Kafka does.

#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

use std::time::{Duration, Instant};

use naru_contract::Kafka;
use naru_worker_core::drain::Drain;
use naru_worker_core::kafka::consumer::{Event, GroupConsumer};
use naru_worker_core::kafka::transaction::{Record, TransactionalProducer};
use rdkafka::mocking::MockCluster;

fn record() -> Record<'static> {
    Record {
        topic: "out",
        partition: Some(0),
        key: None,
        value: Some(b"value".to_vec()),
        headers: Vec::new(),
    }
}

#[test]
fn a_commit_under_way_and_the_leave_after_it_share_what_is_left() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("in", 1, 1).unwrap();
    brokers.create_topic("out", 1, 1).unwrap();
    let kafka = Kafka {
        bootstrap_servers: brokers.bootstrap_servers(),
        properties: Default::default(),
    };
    let drain = Drain::default();
    let member = GroupConsumer::join(&kafka, "group", "pod-1", "in")
        .unwrap()
        .until(&drain);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !matches!(
        member.poll(Duration::from_millis(100)).unwrap(),
        Event::Assigned(_)
    ) {
        assert!(Instant::now() < deadline, "no partitions were assigned");
    }
    let mut producer = TransactionalProducer::open(&kafka, "id").unwrap().until(&drain);
    producer.commit([record()], None).unwrap();
    // From here on no broker answers.
    brokers.broker_down(1).unwrap();
    let started = Instant::now();
    let told = std::thread::spawn({
        let drain = drain.clone();
        move || drain.begin(Duration::from_secs(11))
    });
    let committed = producer.commit([record()], None);
    // By itself a commit takes 20 s, and its abort 10 s more.
    let took = started.elapsed();
    assert!(committed.is_err());
    assert!(took < Duration::from_secs(6), "the commit took {took:?}");
    told.join().unwrap();
    member.leave(Duration::from_secs(5));
    drop(producer);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(13), "all took {took:?}");
}
