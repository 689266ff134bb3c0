//! What is made of offsets.

use rdkafka::{
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::*;

#[test]
fn offsets_before_a_group_are_bounded_by_the_log() {
    // (case, log start, committed, last stable offset, expected)
    let cases = [
        ("never committed", 7, None, 10, 7..10),
        ("in the middle", 0, Some(4), 10, 4..10),
        ("done", 0, Some(10), 10, 10..10),
        ("committed records were deleted", 7, Some(4), 10, 7..10),
        ("everything was deleted", 10, Some(4), 10, 10..10),
        ("the topic was made anew", 0, Some(400), 10, 10..10),
        ("empty", 0, None, 0, 0..0),
    ];
    for (case, start, committed, end, expected) in cases {
        let committed = committed.map(|offset| (0, offset)).into_iter().collect();
        let found = ahead(
            &BTreeMap::from([(0, start)]),
            &committed,
            &BTreeMap::from([(0, end)]),
        );
        assert_eq!(found, BTreeMap::from([(0, expected)]), "{case}");
    }
}

#[test]
fn what_was_counted_is_the_lag_and_offsets_are_where_the_group_is() {
    let ahead = BTreeMap::from([(0, 4..10), (1, 7..7), (2, 0..5000)]);
    let lag = lag(&ahead, &BTreeMap::from([(0, 3)]));
    let partition = |position, end, lag| Partition { end, position, lag };
    let offsets = vec![partition(4, 10, 3), partition(7, 7, 0), partition(0, 5000, 5000)];
    assert_eq!((lag.records, lag.partitions, lag.offsets), (5003, 3, offsets));
}

#[test]
fn how_busy_workers_are_is_known_where_all_who_did_something_say_so() {
    let before = BTreeMap::from([(0, 5), (1, 5), (2, 5)]);
    let now = |said: [(i64, &str); 3]| Committed {
        offsets: (0..).zip(said.map(|(offset, _)| offset)).collect(),
        metadata: (0..).zip(said.map(|(_, metadata)| metadata.to_owned())).collect(),
    };
    let (half, all) = (r#"{"busy":0.5}"#, r#"{"busy":1.0}"#);
    for (said, expected) in [
        ([(6, half), (9, all), (9, all)], Some(2.5 / 3.0)),
        // What was said long ago does not count.
        ([(6, half), (5, all), (5, "")], Some(0.5)),
        ([(6, half), (9, all), (9, "")], None),
        ([(6, half), (9, r#"{"busy":7}"#), (5, "")], None),
        ([(6, "3 41"), (5, all), (5, all)], None),
        ([(5, half), (5, all), (5, all)], None),
    ] {
        assert_eq!(busy(&before, &now(said)), expected, "{said:?}");
    }
    assert_eq!(
        busy(&BTreeMap::new(), &now([(6, half), (6, half), (6, half)])),
        None
    );
}

#[test]
fn the_same_failure_has_the_same_words() {
    let ask = |code| Error::Ask {
        what: "the offsets",
        topic: "items".to_owned(),
        bootstrap_servers: "kafka:9092".to_owned(),
        source: Box::new(KafkaError::OffsetFetch(code)),
    };
    let [timed_out, cut] = [
        RDKafkaErrorCode::OperationTimedOut,
        RDKafkaErrorCode::BrokerTransportFailure,
    ]
    .map(|code| Unknown::from(&ask(code)));
    assert_eq!((timed_out.reason, &timed_out.message), (cut.reason, &cut.message));
    assert_eq!(cut.reason, reason::KAFKA_UNREACHABLE);
    assert_ne!(timed_out.detail, cut.detail);
    let refused = Unknown::from(&ask(RDKafkaErrorCode::TopicAuthorizationFailed));
    assert_eq!(refused.reason, reason::KAFKA_REFUSED);
    assert!(
        refused.message.contains("Topic authorization failed"),
        "{}",
        refused.message
    );
    let missing = Unknown::from(&Error::NoTopic {
        topic: "items".to_owned(),
        bootstrap_servers: "kafka:9092".to_owned(),
    });
    assert_eq!(missing.reason, reason::TOPIC_MISSING);
}

#[test]
fn an_outage_does_not_make_forget_who_is_idle() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("items", 2, 1).unwrap();
    let reader = Arc::new(Reader::new(&brokers.bootstrap_servers()).unwrap());
    let observer = |topic| Observer::new(Arc::clone(&reader), "sum", topic);
    let (idle, missing) = (observer("items"), observer("sales"));
    assert_eq!(idle.known(), None);
    for _ in 0..2 {
        assert_eq!(idle.lag(0).unwrap().records, 0);
    }
    assert_eq!(
        idle.known().map(|lag| lag.partitions),
        Some(2),
        "it was just asked"
    );
    assert!(matches!(missing.lag(0), Err(Error::NoTopic { .. })));
    let remembers = |observer: &Observer| observer.idle().is_some();
    assert_eq!((remembers(&idle), remembers(&missing)), (true, false));
    drop(brokers);
    reader.forget();
    for _ in 0..2 {
        for observer in [&idle, &missing] {
            let silent = observer.lag_by(Instant::now() + Duration::from_millis(300), 0);
            assert!(silent.as_ref().is_err_and(Error::is_silence), "{silent:?}");
        }
    }
    assert_eq!((remembers(&idle), remembers(&missing)), (true, false));
    assert_eq!(idle.known(), None);
}

#[test]
fn a_group_with_something_to_do_is_not_idle_however_little_that_is() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("items", 2, 1).unwrap();
    let producer: BaseProducer = client_config(&brokers.bootstrap_servers()).create().unwrap();
    let record = BaseRecord::<str, str>::to("items").partition(1).payload("record");
    producer.send(record).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
    let reader = Arc::new(Reader::new(&brokers.bootstrap_servers()).unwrap());
    let observer = Observer::new(reader, "sum", "items");
    assert_eq!(observer.end("items").unwrap(), 1);
    for _ in 0..3 {
        assert_eq!(observer.lag(10_000).unwrap().records, 1);
        assert!(observer.idle().is_none());
    }
}

#[test]
fn lag_does_not_overflow() {
    assert_eq!(total([u64::MAX, 1].into_iter()), u64::MAX);
}
