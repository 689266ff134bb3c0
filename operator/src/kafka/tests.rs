//! Topics with brokers in memory, and with brokers that nobody runs.

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use rdkafka::mocking::MockCluster;

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
        let ensured = again.ensure_for(&owner, &wanted, Freshness::Now, &mut created);
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
    let first = cluster.partitions("items", Freshness::Now).await.unwrap_err();
    let began = Instant::now();
    let second = cluster.partitions("items", Freshness::Now).await.unwrap_err();
    assert!(began.elapsed() < DEADLINE / 5, "{:?}", began.elapsed());
    assert_eq!(first.to_string(), second.to_string());
    let text = second.to_string();
    assert!(
        text.starts_with(&format!("kafka at {bootstrap_servers:?} does not answer since ")),
        "{text}"
    );
}

#[tokio::test]
async fn many_topics_are_asked_for_at_once_before_they_are_too_old() {
    let brokers = MockCluster::new(1).unwrap();
    let topics: Vec<_> = (0..=MANY).map(|number| format!("topic-{number}")).collect();
    for topic in &topics {
        brokers.create_topic(topic, 3, 1).unwrap();
    }
    let cluster = Clusters::default().get(&brokers.bootstrap_servers()).unwrap();
    let before = Instant::now();
    // Seen a while ago, when they had fewer partitions.
    for topic in &topics {
        cluster
            .topics
            .put(topic.clone(), 2, before - Duration::from_secs(15));
    }
    let last = topics.last().unwrap();
    assert_eq!(cluster.partitions(last, Freshness::Now).await.unwrap(), Some(3));
    for topic in &topics {
        assert_eq!(
            cluster.topics.get(topic, Freshness::Now, before),
            Some(3),
            "{topic}"
        );
    }
}
