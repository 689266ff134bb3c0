//! Topics with brokers in memory, and with brokers that nobody runs.

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use rdkafka::{mocking::MockCluster, types::RDKafkaRespErr};

use super::*;

#[tokio::test]
async fn partitions_that_were_added_meanwhile_are_seen_before_a_topic_is_found_too_small() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("totals", 2, 1).unwrap();
    let clusters = Clusters::default();
    let cluster = clusters.get(&brokers.bootstrap_servers()).unwrap();
    cluster.topics.put("totals".to_owned(), 1, Instant::now());
    let wanted = TopicSpec {
        name: "totals".to_owned(),
        partitions: 2,
        config: BTreeMap::new(),
        grow: false,
    };
    assert_eq!(
        cluster.partitions("totals", Freshness::Known).await.unwrap(),
        Some(1)
    );
    let partitions = cluster.ensure(&wanted, "uid", Freshness::Known).await.unwrap();
    assert_eq!((partitions, cluster.created().len()), (2, 0));
}

#[tokio::test]
async fn a_topic_whose_creation_was_not_answered_is_ours_and_one_whose_creation_was_not_sent_is_not() {
    let brokers = MockCluster::new(1).unwrap();
    let cluster = Clusters::default().get(&brokers.bootstrap_servers()).unwrap();
    let wanted = |name: &str| TopicSpec {
        name: name.to_owned(),
        partitions: 1,
        config: BTreeMap::new(),
        grow: false,
    };
    let owner = ConfigMap {
        metadata: ObjectMeta {
            uid: Some("uid".to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    // It was asked for nothing yet, so that one at a time may.
    let turn = cluster.turn().await.unwrap();
    let unsent = wanted("unsent");
    let unsent = cluster.create(&unsent, "uid").await;
    assert!(matches!(unsent, Err(Error::Busy { .. })), "{unsent:?}");
    drop(turn);
    // These brokers know of no creation of topics.
    let lost = cluster.create(&wanted("lost"), "uid").await;
    assert!(matches!(lost, Err(Error::Unreachable { .. })), "{lost:?}");
    let again = Clusters::default().get(&brokers.bootstrap_servers()).unwrap();
    again.created().extend(cluster.created().drain());
    let mut created = Vec::new();
    for name in ["unsent", "lost"] {
        brokers.create_topic(name, 1, 1).unwrap();
        let wanted = wanted(name);
        let ensured = again.ensure_for(&owner, &wanted, Freshness::now(), &mut created);
        assert_eq!(ensured.await.unwrap(), 1);
    }
    assert_eq!(created, ["lost"]);
}

#[tokio::test]
async fn nothing_is_changed_without_the_lead() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("items", 1, 1).unwrap();
    let clusters = Clusters::default().behind(Fence::closed());
    let cluster = clusters.get(&brokers.bootstrap_servers()).unwrap();
    let more = TopicSpec {
        name: "items".to_owned(),
        partitions: 2,
        config: BTreeMap::new(),
        grow: true,
    };
    let refusals = [
        cluster.ensure(&more, "uid", Freshness::Known).await.map(|_| ()),
        cluster.delete_topics(&["items".to_owned()]).await,
        cluster.delete_group("items").await,
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Err(Error::Fenced { .. })), "{refusal:?}");
    }
}

#[tokio::test]
async fn brokers_that_nobody_runs_are_named_and_asked_once() {
    // A port that was free a moment ago, so that nobody listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bootstrap_servers = listener.local_addr().unwrap().to_string();
    drop(listener);
    let clusters = Clusters::default();
    let cluster = clusters.get(&bootstrap_servers).unwrap();
    let first = cluster.partitions("items", Freshness::now()).await.unwrap_err();
    let began = Instant::now();
    let second = cluster.partitions("items", Freshness::now()).await.unwrap_err();
    assert!(began.elapsed() < DEADLINE / 5, "{:?}", began.elapsed());
    assert_eq!(first.to_string(), second.to_string());
    let text = second.to_string();
    assert!(
        text.starts_with(&format!("kafka at {bootstrap_servers:?} does not answer since ")),
        "{text}"
    );
}

#[tokio::test]
async fn one_look_tells_all_who_wait_for_one_what_there_is_and_what_is_not() {
    let brokers = MockCluster::new(1).unwrap();
    for topic in ["items", "totals"] {
        brokers.create_topic(topic, 3, 1).unwrap();
    }
    let cluster = Clusters::default().get(&brokers.bootstrap_servers()).unwrap();
    let before = Instant::now();
    let items = cluster.partitions("items", Freshness::now());
    assert_eq!(items.await.unwrap(), Some(3));
    assert_eq!(
        cluster
            .topics
            .get(&"totals".to_owned(), Freshness::Since(before), before),
        Some(3)
    );
    let asked = cluster.looked();
    assert!(asked > Some(before));
    let missing = cluster.partitions("missing", Freshness::Since(before));
    assert_eq!(missing.await.unwrap(), None);
    assert_eq!(
        cluster.looked(),
        asked,
        "whoever began before does with that look"
    );

    // Whoever comes later asks again.
    brokers.create_topic("late", 1, 1).unwrap();
    let late = cluster.partitions("late", Freshness::Recent);
    assert_eq!(late.await.unwrap(), Some(1));
    assert!(cluster.looked() > asked);
}

#[tokio::test]
async fn a_topic_that_may_not_be_seen_is_not_taken_for_missing() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("items", 3, 1).unwrap();
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    brokers.topic_error("items", denied).unwrap();
    let cluster = Clusters::default().get(&brokers.bootstrap_servers()).unwrap();
    // All topics were asked for by passes that began as this one, and it was not among them.
    let began = Freshness::now();
    *cluster.looked.lock().unwrap() = Some(Instant::now());
    assert_eq!(cluster.partitions("items", began).await.unwrap(), None);
    for _ in 0..2 {
        let refused = cluster.sought("items", began).await.unwrap_err();
        let expected = format!(
            "kafka at {:?} refused to describe topic \"items\": TopicAuthorizationFailed (Broker: Topic authorization failed)",
            brokers.bootstrap_servers()
        );
        assert_eq!(refused.to_string(), expected);
    }
    assert_eq!(cluster.sought("missing", began).await.unwrap(), None);

    // Once it may be seen, it is.
    brokers
        .topic_error("items", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR)
        .unwrap();
    let seen = cluster.sought("items", Freshness::now()).await;
    assert_eq!(seen.unwrap(), Some(3));
}

#[tokio::test]
async fn one_of_very_many_topics_is_looked_at_alone() {
    let brokers = MockCluster::new(1).unwrap();
    for topic in ["items", "totals"] {
        brokers.create_topic(topic, 3, 1).unwrap();
    }
    let cluster = Clusters::default().get(&brokers.bootstrap_servers()).unwrap();
    cluster.has_many.store(true, Ordering::Relaxed);
    let before = Instant::now();
    let items = cluster.partitions("items", Freshness::now());
    assert_eq!(items.await.unwrap(), Some(3));
    assert_eq!(
        cluster
            .topics
            .get(&"totals".to_owned(), Freshness::Since(before), before),
        None
    );
    assert_eq!(cluster.looked(), None);
    let missing = cluster.partitions("missing", Freshness::now());
    assert_eq!(missing.await.unwrap(), None);
}
