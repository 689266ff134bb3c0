//! What becomes of topics and consumer groups in the real Kafka: refused, left alone, deleted.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use naru_operator::{
    endpoint::Freshness,
    kafka::{Clusters, TopicSpec},
    metrics::Metrics,
};
use naru_tests::loopback::{Kafka, eventually};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
};

const WITHIN: Duration = Duration::from_secs(20);

fn topic(name: &str) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions: 2,
        config: BTreeMap::new(),
        grow: false,
    }
}

/// A consumer group with an offset, and no members.
fn commit(kafka: &Kafka, group: &str, topic: &str) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .set("group.id", group)
        .create()
        .unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, 0, Offset::Offset(0)).unwrap();
    // A broker that has just started loads its groups first.
    eventually(WITHIN, "the offset is committed", || {
        consumer.commit(&offsets, CommitMode::Sync).is_ok()
    });
}

/// Whether Kafka knows offsets of the group.
fn has_offsets(kafka: &Kafka, group: &str, topic: &str) -> bool {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .set("group.id", group)
        .create()
        .unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let found = consumer.committed_offsets(asked, WITHIN).unwrap();
    found.elements()[0].offset() != Offset::Invalid
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_groups_that_are_deleted_are_gone_and_others_stay() {
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let cluster = Clusters::default().get(kafka.address()).unwrap();
    let owner = ConfigMap::default();
    let mut created = Vec::new();
    for name in ["mine", "other", "mine"] {
        let wanted = topic(name);
        let ensured = cluster.ensure_for(&owner, &wanted, Freshness::now(), &mut created);
        assert_eq!(ensured.await.unwrap(), 2, "{name}");
    }
    assert_eq!(created, ["mine", "other"]);
    for (group, topic) in [("group", "mine"), ("group", "other"), ("bystander", "other")] {
        commit(&kafka, group, topic);
        assert!(has_offsets(&kafka, group, topic), "{group} of {topic}");
    }

    let topics = ["mine".to_owned()];
    // A second time as after a crash between the deletion and its report.
    for _ in 0..2 {
        cluster.delete_group("group").await.unwrap();
        cluster.delete_topics(&topics).await.unwrap();
    }
    assert_eq!(cluster.partitions("mine", Freshness::now()).await.unwrap(), None);
    assert_eq!(
        cluster.partitions("other", Freshness::now()).await.unwrap(),
        Some(2)
    );
    assert!(!has_offsets(&kafka, "group", "other"));
    assert!(has_offsets(&kafka, "bystander", "other"));
}

/// Requests that were made to Kafka.
fn requests(metrics: &Metrics) -> u64 {
    let text = metrics.text();
    let lines = text.lines();
    let counts = lines.filter_map(|line| {
        let of_kafka = line.strip_prefix("naru_operator_external_requests_total{system=\"kafka\"")?;
        of_kafka.rsplit(' ').next()?.parse::<u64>().ok()
    });
    counts.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_wanted_at_once_are_asked_for_at_once_each_for_its_owner() {
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let metrics = Metrics::default();
    let clusters = Clusters::default().counted(metrics.external.clone());
    let cluster = clusters.get(kafka.address()).unwrap();
    let began = Freshness::now();
    // Two resources want the same topic: it is of one of them.
    let names = (0..60).flat_map(|number| [format!("own-{number}"), format!("shared-{}", number / 2)]);
    let wanted: Vec<_> = names.enumerate().collect();
    let created = futures::future::join_all(wanted.iter().map(async |(number, name)| {
        let owner = ConfigMap {
            metadata: ObjectMeta {
                uid: Some(format!("uid-{}", number / 2)),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        let mut created = Vec::new();
        let partitions = cluster
            .ensure_for(&owner, &topic(name), began, &mut created)
            .await;
        assert_eq!(partitions.unwrap(), 2, "{name}");
        created
    }))
    .await;
    let mut created: Vec<String> = created.into_iter().flatten().collect();
    created.sort();
    let mut expected: Vec<String> = wanted.into_iter().map(|(_, name)| name).collect();
    expected.sort();
    expected.dedup();
    assert_eq!(created, expected);
    let requests = requests(&metrics);
    assert!((2..=20).contains(&requests), "{requests} requests for 90 topics");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_with_members_is_not_deleted() {
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let cluster = Clusters::default().get(kafka.address()).unwrap();
    let (owner, wanted, mut created) = (ConfigMap::default(), topic("items"), Vec::new());
    let ensured = cluster.ensure_for(&owner, &wanted, Freshness::now(), &mut created);
    ensured.await.unwrap();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .set("group.id", "group")
        .create()
        .unwrap();
    consumer.subscribe(&["items"]).unwrap();
    let end = std::time::Instant::now() + WITHIN;
    while consumer.assignment().unwrap().count() == 0 {
        assert!(std::time::Instant::now() < end, "no partition was assigned");
        let _ = consumer.poll(Duration::from_millis(200));
    }
    let refused = cluster.delete_group("group").await.unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("refused to delete consumer group \"group\""),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_loses_what_workers_need_is_refused_until_it_is_set_right() {
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let cluster = Clusters::default().get(kafka.address()).unwrap();
    let (owner, mut created) = (ConfigMap::default(), Vec::new());
    // As somebody makes it who knows nothing of naru: with the brokers' defaults.
    cluster
        .ensure_for(&owner, &topic("totals"), Freshness::now(), &mut created)
        .await
        .unwrap();
    let compacted = TopicSpec {
        config: BTreeMap::from([("cleanup.policy", "compact"), ("segment.ms", "600000")]),
        ..topic("totals")
    };
    let refused = cluster.ensure_for(&owner, &compacted, Freshness::Known, &mut created);
    assert_eq!(
        refused.await.unwrap_err().to_string(),
        "topic \"totals\" has cleanup.policy=delete, with which it loses what the workers need: set it to compact"
    );

    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .create()
        .unwrap();
    let set = AlterConfig::new(ResourceSpecifier::Topic("totals")).set("cleanup.policy", "compact");
    let answers = admin.alter_configs([&set], &AdminOptions::new()).await.unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let end = std::time::Instant::now() + WITHIN;
    while let Err(error) = cluster
        .ensure_for(&owner, &compacted, Freshness::Known, &mut created)
        .await
    {
        assert!(std::time::Instant::now() < end, "{error}");
    }
}
