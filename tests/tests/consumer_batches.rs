//! Batches of messages against the real Kafka: all of them, once and in order, whatever happens between two batches.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of tests that cannot go on ends the test"
)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use naru_tests::loopback::{Kafka, eventually};
use naru_worker_core::kafka::consumer::{Error, Event, GroupConsumer, Revoked};
use naru_worker_core::kafka::transaction::{Position, TransactionalProducer};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const POLL: Duration = Duration::from_millis(50);
const WITHIN: Duration = Duration::from_secs(60);

/// Writes so many records more to each partition. There are no transactions, so the offsets have no gaps.
fn write(kafka: &Kafka, partitions: Range<i32>, records: i64) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .create()
        .unwrap();
    for record in 0..records {
        let value = record.to_string();
        for partition in partitions.clone() {
            let mut message = BaseRecord::<str, str>::to("in")
                .partition(partition)
                .payload(&value);
            while let Err((_, refused)) = producer.send(message) {
                message = refused;
                producer.poll(Duration::from_millis(10));
            }
        }
    }
    producer.flush(WITHIN).unwrap();
}

/// A member of the group that follows what it owns, and commits it when it has to give it up.
struct Member {
    consumer: GroupConsumer,
    sink: TransactionalProducer,
    /// Next offset of each partition that is owned.
    next: BTreeMap<i32, i64>,
    batches: usize,
}

impl Member {
    fn join(kafka: &Kafka, instance: &str, at_once: usize) -> Self {
        let consumer = GroupConsumer::join(&kafka.contract(), "group", instance, "in").unwrap();
        Self {
            consumer: consumer.at_once(at_once),
            sink: TransactionalProducer::open(&kafka.contract(), instance).unwrap(),
            next: BTreeMap::new(),
            batches: 0,
        }
    }

    /// One event. Every message must be the next one of a partition that is owned; one that came already may come again
    /// around a rebalance.
    fn step(&mut self) {
        let event = self.consumer.poll(POLL).unwrap();
        match event {
            Event::Assigned(assigned) => {
                self.next
                    .extend(assigned.iter().map(|one| (one.partition, one.position)));
            }
            Event::Revoked(Revoked { partitions, lost }) => {
                // Lost after an outage that was longer than a session: whoever is next begins at what was committed.
                if !lost {
                    self.commit();
                }
                self.next.retain(|partition, _| !partitions.contains(partition));
            }
            Event::Messages(batch) => {
                self.batches += 1;
                for (partition, messages) in batch.runs() {
                    let next = self.next.get_mut(&partition);
                    let next = next.expect("the partition is owned");
                    for message in messages {
                        assert!(message.offset <= *next, "{} after {next}", message.offset);
                        assert!(message.value.is_some() && message.key.is_none());
                        *next = message.offset + 1;
                    }
                }
            }
            Event::Idle => {}
        }
    }

    fn commit(&mut self) {
        let offsets = self
            .consumer
            .offsets(self.next.iter().map(|(partition, next)| (*partition, *next, "")));
        let member = self.consumer.member().unwrap();
        let position = Position { offsets, member };
        self.sink.commit([], Some(position)).unwrap();
    }
}

#[test]
fn every_message_arrives_once_and_in_order_while_partitions_move() {
    const RECORDS: i64 = 60_000;
    let kafka = Kafka::start();
    kafka.create_topic("in", 4);
    write(&kafka, 0..4, RECORDS);
    // Small batches, so that librdkafka's queue is full of messages whenever a partition moves.
    let mut first = Member::join(&kafka, "pod-1", 7);
    eventually(WITHIN, "the first member has read something", || {
        first.step();
        first.batches > 20
    });
    for round in 2..=4 {
        let mut other = Member::join(&kafka, &format!("pod-{round}"), 7);
        eventually(WITHIN, "the other member has partitions and reads them", || {
            first.step();
            other.step();
            first.next.len() == 2 && other.batches > 20
        });
        let read = first.next.values().sum::<i64>() + other.next.values().sum::<i64>();
        assert!(read < 4 * RECORDS, "there is something left to read");
        other.commit();
        other.consumer.leave(WITHIN);
        eventually(WITHIN, "the partitions are back", || {
            first.step();
            first.next.len() == 4
        });
    }
    first.consumer = first.consumer.at_once(1000);
    eventually(WITHIN, "all is read", || {
        first.step();
        first.next.values().all(|next| *next == RECORDS)
    });
}

/// Offsets of the messages of partition 0 in the next batch that has any.
fn offsets(consumer: &GroupConsumer) -> Vec<i64> {
    let mut found = Vec::new();
    eventually(WITHIN, "messages of partition 0 arrive", || {
        if let Event::Messages(batch) = consumer.poll(POLL).unwrap() {
            let messages = batch.iter().filter(|message| message.partition == 0);
            found = messages.map(|message| message.offset).collect();
        }
        !found.is_empty()
    });
    assert!(found.is_sorted_by(|one, next| one + 1 == *next), "{found:?}");
    found
}

#[test]
fn a_partition_that_is_paused_goes_on_after_its_last_batch_or_where_it_is_told() {
    let kafka = Kafka::start();
    kafka.create_topic("in", 2);
    write(&kafka, 0..2, 20_000);
    let consumer = GroupConsumer::join(&kafka.contract(), "group", "pod-1", "in")
        .unwrap()
        .at_once(100);
    let (mut next, mut end) = (0, 20_000);
    for round in 0..5 {
        let read = offsets(&consumer);
        assert_eq!(read[0], next, "round {round}");
        next = read[read.len() - 1] + 1;
        consumer.pause(0).unwrap();
        // The other partition goes on, and what of this one had been fetched does not come.
        write(&kafka, 1..2, 1);
        end += 1;
        eventually(WITHIN, "the other partition goes on", || {
            let Event::Messages(batch) = consumer.poll(POLL).unwrap() else {
                return false;
            };
            assert!(batch.iter().all(|message| message.partition == 1));
            batch.iter().any(|message| message.offset + 1 == end)
        });
        // As for a record that has to wait in the midst of a batch, and as for a batch that is done.
        if round % 2 == 0 {
            next -= 3;
            consumer.seek(0, next).unwrap();
        }
        consumer.resume(0).unwrap();
    }
    // Back, and without a pause.
    consumer.seek(0, 42).unwrap();
    assert_eq!(offsets(&consumer)[0], 42);
    consumer.pause(0).unwrap();
    consumer.resume(0).unwrap();
    let next = offsets(&consumer)[0];
    assert!((43..=142).contains(&next), "{next} is not where it was");
}

#[test]
fn a_partition_that_is_resumed_goes_on_at_once() {
    let kafka = Kafka::start();
    kafka.create_topic("in", 1);
    let consumer = GroupConsumer::join(&kafka.contract(), "group", "a", "in").unwrap();
    eventually(WITHIN, "the partition is assigned", || {
        matches!(consumer.poll(POLL).unwrap(), Event::Assigned(_))
    });
    // A thread that fetches nothing looks up once a second, so that one of these is soon after.
    let late = (0..5).map(|_| {
        consumer.pause(0).unwrap();
        write(&kafka, 0..1, 1);
        let ends = Instant::now() + Duration::from_millis(200);
        while Instant::now() < ends {
            assert!(
                matches!(consumer.poll(POLL).unwrap(), Event::Idle),
                "it is paused"
            );
        }
        consumer.resume(0).unwrap();
        let resumed = Instant::now();
        eventually(WITHIN, "a message arrives", || {
            matches!(consumer.poll(POLL).unwrap(), Event::Messages(_))
        });
        resumed.elapsed()
    });
    let late: Vec<_> = late.collect();
    let is_late = |after: &Duration| *after > Duration::from_millis(400);
    assert!(!late.iter().all(is_late), "{late:?}");
}

#[test]
fn a_broker_that_fails_delays_messages_and_loses_none() {
    let mut kafka = Kafka::start();
    kafka.create_topic("in", 3);
    let mut member = Member::join(&kafka, "pod-1", 50);
    for round in 1..=2 {
        write(&kafka, 0..3, 3000);
        let before = member.batches;
        eventually(WITHIN, "the member reads", || {
            member.step();
            member.batches > before + 10
        });
        kafka.kill_and_restart();
        let end = round * 3000;
        eventually(WITHIN, "all is read", || {
            member.step();
            member.next.values().all(|next| *next == end)
        });
    }
}

#[test]
fn a_position_that_the_log_does_not_have_ends_the_session() {
    let kafka = Kafka::start();
    kafka.create_topic("in", 1);
    write(&kafka, 0..1, 100);
    let consumer = GroupConsumer::join(&kafka.contract(), "group", "pod-1", "in").unwrap();
    assert_eq!(offsets(&consumer)[0], 0);
    consumer.seek(0, 5000).unwrap();
    let mut told = None;
    eventually(WITHIN, "the error is told", || {
        told = consumer.poll(POLL).err();
        told.is_some()
    });
    assert!(matches!(told, Some(Error::Consume { .. })), "{told:?}");
}

#[test]
fn a_member_ends_at_once_with_messages_that_nobody_has_read() {
    let kafka = Kafka::start();
    kafka.create_topic("in", 3);
    write(&kafka, 0..3, 10_000);
    for _ in 0..3 {
        let mut member = Member::join(&kafka, "pod-1", 10);
        eventually(WITHIN, "the member has read something", || {
            member.step();
            member.batches > 5
        });
        let began = Instant::now();
        drop(member);
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
}
