//! Group ownership and transactions of the workers against the real Kafka.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of tests that cannot go on ends the test"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use naru_tests::loopback::{Kafka, eventually};
use naru_worker_core::drain::Drain;
use naru_worker_core::kafka::consumer::{Assigned, Error as ConsumerError, Event, GroupConsumer, Revoked};
use naru_worker_core::kafka::transaction::{Error, Position, Record, TransactionalProducer};
use naru_worker_core::kafka::upsert::{Error as UpsertError, UpsertProducer};

const POLL: Duration = Duration::from_millis(50);
const WITHIN: Duration = Duration::from_secs(30);

fn record<'a>(topic: &'a str, key: &str) -> Record<'a> {
    Record {
        topic,
        partition: None,
        key: Some(key.as_bytes().to_vec()),
        value: Some(key.as_bytes().to_vec()),
        headers: vec![("kind", b"test".to_vec())],
    }
}

fn assigned(consumer: &GroupConsumer) -> Vec<Assigned> {
    let mut found = Vec::new();
    eventually(WITHIN, "partitions are assigned", || {
        if let Event::Assigned(assigned) = consumer.poll(POLL).unwrap() {
            found = assigned;
        }
        !found.is_empty()
    });
    found
}

/// The first message of the next batch.
fn next_value(consumer: &GroupConsumer) -> String {
    let mut value = None;
    eventually(WITHIN, "a message arrives", || {
        if let Event::Messages(batch) = consumer.poll(POLL).unwrap() {
            value = batch.iter().find_map(|message| Some(text(message.value?)));
        }
        value.is_some()
    });
    value.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn upserts_are_there_once_they_are_flushed_and_offsets_that_follow_are_committed_by_themselves() {
    let kafka = Kafka::start();
    kafka.create_topic("in", 1);
    kafka.create_topic("out", 1);
    let producer = UpsertProducer::open(&kafka.contract(), "pod-1").unwrap();
    producer
        .flush(["a", "b", "c"].map(|key| record("in", key)))
        .unwrap();
    let member = GroupConsumer::join_following(&kafka.contract(), "group", "pod-1", "in").unwrap();
    assigned(&member);
    assert_eq!(next_value(&member), "a");
    let committed = || kafka.committed("group", "in", 0).map(|(offset, _)| offset);
    let poll = |offset| {
        eventually(WITHIN, "the offset follows", || {
            member.poll(POLL).unwrap();
            committed() == Some(offset)
        });
    };

    producer.flush([record("out", "A")]).unwrap();
    assert_eq!((kafka.read_committed("out").len(), committed()), (1, None));
    member.follow(&member.offsets([(0, 1, "")]));
    poll(1);
    member.follow(&member.offsets([(0, 2, "")]));
    poll(2);
    // What has not been committed when the group is left is committed then.
    member.follow(&member.offsets([(0, 3, "")]));
    member.leave(WITHIN);
    assert_eq!(committed(), Some(3));

    let too_large = Record {
        value: Some(vec![1; 2_000_000]),
        ..record("out", "C")
    };
    let written = producer.flush([record("out", "B"), too_large]);
    assert!(
        matches!(written, Err(UpsertError::Unwritten { .. })),
        "{written:?}"
    );
    assert_eq!(
        kafka.read_committed("out").len(),
        2,
        "what came before is there, and nothing is under way"
    );
    producer.flush([record("out", "B")]).unwrap();
}

#[test]
fn a_partition_that_was_paused_brings_messages_again_when_it_comes_back() {
    let kafka = Kafka::start();
    kafka.create_topic("in", 2);
    let first = GroupConsumer::join(&kafka.contract(), "group", "pod-1", "in").unwrap();
    assert_eq!(assigned(&first).len(), 2);
    first.pause(0).unwrap();
    first.pause(1).unwrap();

    let second = GroupConsumer::join(&kafka.contract(), "group", "pod-2", "in").unwrap();
    let mut moved = None;
    eventually(WITHIN, "one partition moves", || {
        let _ = first.poll(POLL).unwrap();
        if let Event::Assigned(assigned) = second.poll(POLL).unwrap() {
            moved = assigned.first().map(|assigned| assigned.partition);
        }
        moved.is_some()
    });
    second.leave(WITHIN);
    let mut source = TransactionalProducer::open(&kafka.contract(), "source").unwrap();
    let message = Record {
        partition: moved,
        ..record("in", "a")
    };
    source.commit([message], None).unwrap();
    assert_eq!(next_value(&first), "a");
}

#[test]
fn records_offsets_and_metadata_are_committed_together_and_found_by_the_next_owner() {
    let kafka = Kafka::start();
    kafka.create_topic("in", 1);
    kafka.create_topic("out", 1);
    let mut source = TransactionalProducer::open(&kafka.contract(), "source").unwrap();
    source
        .commit(["a", "b", "c"].map(|key| record("in", key)), None)
        .unwrap();

    let first = GroupConsumer::join(&kafka.contract(), "group", "pod-1", "in").unwrap();
    assert_eq!(
        assigned(&first),
        [Assigned {
            partition: 0,
            position: 0,
            start: 0,
            deleted: 0,
            metadata: None
        }]
    );
    assert_eq!(next_value(&first), "a");
    let mut sink = TransactionalProducer::open(&kafka.contract(), "sink").unwrap();
    let offsets = first.offsets([(0, 1, "state after a")]);
    let member = first.member().unwrap();
    sink.commit([record("out", "A")], Some(Position { offsets, member }))
        .unwrap();
    first.leave(WITHIN);

    let second = GroupConsumer::join(&kafka.contract(), "group", "pod-2", "in").unwrap();
    let metadata = Some("state after a".to_owned());
    assert_eq!(
        assigned(&second),
        [Assigned {
            partition: 0,
            position: 1,
            start: 0,
            deleted: 0,
            metadata
        }]
    );
    assert_eq!(next_value(&second), "b");
    assert_eq!(kafka.read_committed("out").len(), 1);
}

#[test]
fn a_commit_takes_milliseconds() {
    let kafka = Kafka::start();
    kafka.create_topic("out", 3);
    kafka.create_topic("in", 1);
    let consumer = GroupConsumer::join(&kafka.contract(), "group", "pod-1", "in").unwrap();
    assigned(&consumer);
    let mut producer = TransactionalProducer::open(&kafka.contract(), "sink").unwrap();
    let mut times = (0..200)
        .map(|_| {
            let started = Instant::now();
            let offsets = consumer.offsets([(0, 0, "")]);
            let member = consumer.member().unwrap();
            let position = Some(Position { offsets, member });
            producer
                .commit(["a", "b", "c"].map(|key| record("out", key)), position)
                .unwrap();
            started.elapsed()
        })
        .collect::<Vec<_>>();
    times.sort();
    let (median, slow) = (times[100], times[190]);
    println!("commit of 3 records and an offset: median {median:?}, 95 % within {slow:?}");
    // rust-rdkafka's own flush would make it 100 ms and more.
    assert!(
        median < Duration::from_millis(50),
        "the median commit took {median:?}"
    );
    assert_eq!(kafka.read_committed("out").len(), 600);
}

#[test]
fn a_second_producer_with_the_same_id_fences_the_first() {
    let kafka = Kafka::start();
    kafka.create_topic("out", 1);
    let mut first = TransactionalProducer::open(&kafka.contract(), "planner").unwrap();
    first.commit([record("out", "first")], None).unwrap();
    let mut second = TransactionalProducer::open(&kafka.contract(), "planner").unwrap();
    let refused = first.commit([record("out", "zombie")], None).unwrap_err();
    assert!(matches!(refused, Error::Fenced { .. }), "{refused}");
    second.commit([record("out", "second")], None).unwrap();
    let keys = kafka
        .read_committed("out")
        .into_iter()
        .map(|record| record.key.unwrap())
        .collect::<Vec<_>>();
    assert_eq!(keys, [b"first".to_vec(), b"second".to_vec()]);
}

#[test]
fn a_transaction_that_cannot_be_completed_leaves_nothing_and_the_next_one_succeeds() {
    let kafka = Kafka::start();
    kafka.create_topic("out", 1);
    let mut producer = TransactionalProducer::open(&kafka.contract(), "sink").unwrap();
    let records = [record("out", "half"), record("no-such-topic", "other half")];
    let refused = producer.commit(records, None).unwrap_err();
    assert!(matches!(refused, Error::Aborted { .. }), "{refused}");
    producer.commit([record("out", "whole")], None).unwrap();
    let records = kafka.read_committed("out");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].value.as_deref(), Some(&b"whole"[..]));
}

#[test]
fn partitions_move_to_a_member_that_joins_and_back_at_once_when_it_leaves() {
    let kafka = Kafka::start();
    kafka.create_topic("in", 4);
    let first = GroupConsumer::join(&kafka.contract(), "group", "pod-1", "in").unwrap();
    assert_eq!(assigned(&first).len(), 4);
    let second = GroupConsumer::join(&kafka.contract(), "group", "pod-2", "in").unwrap();
    let mut given = Vec::new();
    let mut taken = Vec::new();
    eventually(WITHIN, "two partitions have moved", || {
        match first.poll(POLL).unwrap() {
            Event::Revoked(Revoked {
                partitions,
                lost: false,
            }) => given.extend(partitions),
            Event::Revoked(lost) => panic!("{lost:?}"),
            _ => {}
        }
        if let Event::Assigned(assigned) = second.poll(POLL).unwrap() {
            taken.extend(assigned.iter().map(|assigned| assigned.partition));
        }
        taken.len() == 2
    });
    given.sort_unstable();
    taken.sort_unstable();
    assert_eq!(given, taken);

    // Not within the session timeout of 10 s: the member says that it leaves.
    let started = Instant::now();
    second.leave(WITHIN);
    let left = started.elapsed();
    let mut regained = 0;
    eventually(Duration::from_secs(5), "the partitions are back", || {
        if let Event::Assigned(assigned) = first.poll(POLL).unwrap() {
            regained += assigned.len();
        }
        regained == 2
    });
    println!(
        "left after {left:?}, partitions were back after {:?}",
        started.elapsed()
    );
    assert_eq!(kafka.members("group"), ["pod-1"]);
}

#[test]
fn a_member_that_closes_keeps_its_place_and_gets_the_same_partitions_back() {
    let kafka = Kafka::start();
    kafka.create_topic("in", 2);
    let before = GroupConsumer::join(&kafka.contract(), "group", "pod-1", "in").unwrap();
    assert_eq!(assigned(&before).len(), 2);
    drop(before);
    assert_eq!(kafka.members("group"), ["pod-1"]);
    let after = GroupConsumer::join(&kafka.contract(), "group", "pod-1", "in").unwrap();
    assert_eq!(assigned(&after).len(), 2);
}

#[test]
fn a_member_whose_place_was_taken_cannot_commit_and_is_told() {
    let kafka = Kafka::start();
    kafka.create_topic("in", 1);
    kafka.create_topic("out", 1);
    let zombie = GroupConsumer::join(&kafka.contract(), "group", "pod-1", "in").unwrap();
    assigned(&zombie);
    let member = zombie.member().unwrap();
    let twin = GroupConsumer::join(&kafka.contract(), "group", "pod-1", "in").unwrap();
    assigned(&twin);
    let mut producer = TransactionalProducer::open(&kafka.contract(), "zombie").unwrap();
    let offsets = zombie.offsets([(0, 0, "stale")]);
    let position = Some(Position { offsets, member });
    let refused = producer.commit([record("out", "stale")], position).unwrap_err();
    assert!(matches!(refused, Error::Aborted { .. }), "{refused}");
    assert_eq!(kafka.read_committed("out"), []);
    assert_eq!(kafka.committed("group", "in", 0), None);
    let mut told = false;
    eventually(WITHIN, "the zombie is told", || {
        told = matches!(zombie.poll(POLL), Err(ConsumerError::Replaced { .. }));
        told
    });
}

#[test]
fn a_partition_whose_owner_was_restarted_between_two_rebalances_is_given_to_somebody() {
    let kafka = Kafka::start();
    kafka.create_topic("in", 2);
    let join = |name: &str| GroupConsumer::join(&kafka.contract(), "group", name, "in").unwrap();
    let first = join("pod-1");
    assert_eq!(assigned(&first).len(), 2);
    let second = join("pod-2");
    eventually(WITHIN, "the first one is to give one up", || {
        second.poll(POLL).unwrap();
        matches!(first.poll(POLL).unwrap(), Event::Revoked(_))
    });
    // Before it has, and has joined again.
    drop(first);
    let mut members = [
        ("pod-1", join("pod-1"), BTreeSet::new()),
        ("pod-2", second, BTreeSet::new()),
    ];
    let started = Instant::now();
    eventually(Duration::from_secs(90), "each has one", || {
        for (name, member, owned) in &mut members {
            match member.poll(POLL) {
                Ok(Event::Assigned(assigned)) => owned.extend(assigned.iter().map(|one| one.partition)),
                Ok(Event::Revoked(revoked)) => {
                    owned.retain(|partition| !revoked.partitions.contains(partition));
                }
                Ok(_) => {}
                // As a worker, which begins another session.
                Err(error) => {
                    assert!(matches!(error, ConsumerError::Unowned { .. }), "{error}");
                    *member = join(name);
                    owned.clear();
                }
            }
        }
        members.iter().all(|(_, _, owned)| owned.len() == 1)
    });
    println!("given after {:?}", started.elapsed());
}

#[test]
fn members_that_are_given_partitions_while_their_processes_end_leave_nevertheless() {
    let kafka = Kafka::start();
    kafka.create_topic("in", 8);
    let drain = Drain::default();
    let mut members = (1..=4)
        .map(|number| {
            let name = format!("pod-{number}");
            let member = GroupConsumer::join(&kafka.contract(), "group", &name, "in").unwrap();
            member.until(&drain)
        })
        .collect::<Vec<_>>();
    let mut owned = [0; 4];
    eventually(WITHIN, "each has its part", || {
        for (member, owned) in members.iter().zip(&mut owned) {
            match member.poll(POLL).unwrap() {
                Event::Assigned(assigned) => *owned += assigned.len(),
                Event::Revoked(revoked) => *owned -= revoked.partitions.len(),
                _ => {}
            }
        }
        owned == [2; 4]
    });
    members.remove(0).leave(WITHIN);
    // The group gives the others what the first one had, of which they are not told before they ask.
    eventually(WITHIN, "the rebalance is over", || {
        kafka.state("group") == "Stable" && kafka.members("group").len() == 3
    });
    drain.begin(Duration::from_secs(22));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for member in members {
            scope.spawn(|| member.leave(WITHIN));
        }
    });
    println!("all have left after {:?}", started.elapsed());
    assert_eq!(kafka.members("group"), Vec::<String>::new());
}

#[test]
fn a_member_that_leaves_while_it_joins_is_no_ghost() {
    let kafka = Kafka::start();
    kafka.create_topic("in", 2);
    let heir = GroupConsumer::join(&kafka.contract(), "group", "heir", "in").unwrap();
    let mut owned = assigned(&heir).len();
    let early = GroupConsumer::join(&kafka.contract(), "group", "early", "in").unwrap();
    // Its state would tell more, and passes too soon to be seen by everybody.
    eventually(WITHIN, "the group has heard of it", || {
        kafka.members("group").len() == 2
    });
    let started = Instant::now();
    // Sooner than its session would time out (10 s).
    early.leave(Duration::from_secs(8));
    println!("left after {:?}", started.elapsed());
    assert_eq!(kafka.members("group"), ["heir"]);
    eventually(WITHIN, "the heir has all partitions", || {
        match heir.poll(POLL).unwrap() {
            Event::Assigned(assigned) => owned += assigned.len(),
            Event::Revoked(revoked) => owned -= revoked.partitions.len(),
            _ => {}
        }
        owned == 2
    });
}
