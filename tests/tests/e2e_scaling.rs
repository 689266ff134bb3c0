//! How many workers there are, and whose business that is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's answer")]

use std::time::{Duration, Instant};

use kube::{Api, Client};
use naru_api::{FilteredSum, ScalingDecision};
use naru_tests::{
    cluster::{apply, beside_kafka, beside_kafka_with, ensure, eventually, kubectl, with_namespace},
    said::{fails, holds, says},
    workers::{deployment, replicas, replicas_owner, settled},
};

/// For what takes seconds, on a machine that is busy.
const SOON: Duration = Duration::from_secs(120);
/// Records per second, and seconds.
const LOAD: (u32, u32) = (30_000, 20);

/// Workers that are slow enough for a load that a small machine can make.
const SLOW: &str = "{apiVersion: v1, kind: LimitRange, metadata: {name: slow}, \
    spec: {limits: [{type: Container, default: {cpu: 25m}}]}}";

fn sum(topic: &str, scaling: &str, rest: &str) -> String {
    format!(
        "apiVersion: naru.dev/v1alpha1\nkind: FilteredSum\nmetadata: {{name: load}}\nspec:\n  input: {{topic: {topic}}}\n  \
         sum: {{field: price}}\n  output: {{topic: {topic}.total}}\n  scaling: {scaling}\n{rest}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_as_many_workers_as_the_load_takes_but_never_more_than_partitions() {
    with_namespace("scaling", |client, namespace| async move {
        let (client, namespace) = (&client, namespace.as_str());
        let topic = topic(client, namespace, 3).await;
        apply(namespace, SLOW).await.unwrap();
        apply(namespace, &sum(&topic, "{minReplicas: 1, maxReplicas: 4}", ""))
            .await
            .unwrap();
        let sums = Api::<FilteredSum>::namespaced(client.clone(), namespace);
        says(&sums, "load", SOON, holds("Ready", "Running")).await;
        says(&sums, "load", SOON, holds("ScalingActive", "FollowingLag")).await;
        assert_eq!(
            sums.get("load").await.unwrap().status.unwrap().max_replicas,
            Some(3)
        );

        let begun = Instant::now();
        let load = tokio::spawn(async move { write(&topic).await });
        let workers = async || replicas(&deployment(client, namespace, "load-sum").await.unwrap());
        eventually("there are three workers", SOON, async || {
            let now = workers().await;
            ensure(now >= 3, || format!("{now} workers"))
        })
        .await;
        println!(
            "three workers {:.1} s after the load began",
            begun.elapsed().as_secs_f64()
        );
        load.await.unwrap();
        eventually(
            "there is one worker again",
            Duration::from_secs(300),
            async || {
                let now = workers().await;
                ensure(now == 1, || format!("{now} workers"))
            },
        )
        .await;
        println!(
            "one worker {:.1} s after the load began",
            begun.elapsed().as_secs_f64()
        );

        let decisions: Vec<ScalingDecision> = eventually("all is told", SOON, || async {
            let status = sums.get("load").await.map_err(|e| e.to_string())?.status.unwrap();
            let history = status.scaling.map(|scaling| scaling.history).unwrap_or_default();
            ensure(history.first().is_some_and(|last| last.to == 1), || {
                format!("{history:?}")
            })?;
            Ok::<_, String>(history)
        })
        .await;
        for decision in &decisions {
            println!("{} -> {}: {}", decision.from, decision.to, decision.message);
        }
        let out = decisions
            .iter()
            .filter(|decision| decision.to > decision.from)
            .count();
        assert!((1..=2).contains(&out) && decisions.len() <= 4, "{decisions:?}");
        assert!(decisions.iter().all(|decision| decision.to <= 3), "{decisions:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_others_scale_stay_as_many_as_these_have_said() {
    with_namespace("others", |client, namespace| async move {
        let (client, namespace) = (&client, namespace.as_str());
        let topic = topic(client, namespace, 2).await;
        let others = "{minReplicas: 1, maxReplicas: 2, mode: Disabled}";
        apply(namespace, &sum(&topic, others, "")).await.unwrap();
        let sums = Api::<FilteredSum>::namespaced(client.clone(), namespace);
        says(&sums, "load", SOON, fails("ScalingActive", "Disabled")).await;
        says(&sums, "load", SOON, holds("Ready", "Running")).await;
        let name = "load-sum";
        eventually("nobody of naru's owns the replicas", SOON, || async {
            let owner = replicas_owner(&deployment(client, namespace, name).await?);
            ensure(owner.is_none(), || format!("{owner:?}"))
        })
        .await;
        kubectl(&[
            "--namespace",
            namespace,
            "scale",
            "deployment",
            name,
            "--replicas",
            "2",
        ])
        .await
        .unwrap();
        eventually("there are two", SOON, || async {
            let now = deployment(client, namespace, name).await?;
            ensure(replicas(&now) == 2, || "there are not".to_owned())?;
            settled(&now)
        })
        .await;

        // An edit that the operator applies.
        let before = deployment(client, namespace, name)
            .await
            .unwrap()
            .metadata
            .generation;
        apply(namespace, &sum(&topic, others, "  commitInterval: 200ms\n"))
            .await
            .unwrap();
        eventually("the workers are of the new spec", SOON, || async {
            let now = deployment(client, namespace, name).await?;
            ensure(now.metadata.generation > before, || "they are not".to_owned())?;
            settled(&now)
        })
        .await;
        let now = deployment(client, namespace, name).await.unwrap();
        assert_eq!(replicas(&now), 2);
        let owner = replicas_owner(&now);
        assert!(
            owner.as_ref().is_none_or(|owner| !owner.starts_with("naru")),
            "{owner:?}"
        );
    })
    .await;
}

/// A topic of records with a price.
async fn topic(client: &Client, namespace: &str, partitions: u32) -> String {
    let topic = format!("{namespace}.items");
    let partitions = partitions.to_string();
    let create = [
        "kafka",
        "topics",
        "--create",
        "--topic",
        &topic,
        "--partitions",
        &partitions,
    ];
    beside_kafka(&create).await.unwrap();
    let id = register(client, &topic).await;
    assert!(
        id < 128,
        "the text that is written has no room for schema id {id}"
    );
    // An Avro record of price 1.
    let record = format!("\0\0\0\0{}\u{2}", char::from(id));
    let file = format!("cat > {}", file(&topic));
    beside_kafka_with(&["sh", "-c", &file], &record).await.unwrap();
    topic
}

fn file(topic: &str) -> String {
    format!("/tmp/{topic}")
}

/// Writes records for as long as the load lasts.
async fn write(topic: &str) {
    let (rate, seconds) = LOAD;
    let script = format!(
        "exec java -Xmx128m -cp '/opt/kafka/*' org.apache.kafka.tools.ProducerPerformance --topic {topic} \
         --num-records {} --throughput {rate} --payload-file {} --payload-delimiter '\\n\\n' \
         --producer-props bootstrap.servers=kafka:9092 linger.ms=20",
        rate * seconds,
        file(topic)
    );
    beside_kafka(&["sh", "-c", &script]).await.unwrap();
}

/// Registers the schema of the topic's records. Returns its id.
async fn register(client: &Client, topic: &str) -> u8 {
    let schema = r#"{"type": "record", "name": "Item", "fields": [{"name": "price", "type": "long"}]}"#;
    let registry = "/api/v1/namespaces/naru-stack/services/registry:8081/proxy/apis/ccompat/v7";
    let request = http::Request::post(format!("{registry}/subjects/{topic}-value/versions"))
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(serde_json::to_vec(&serde_json::json!({ "schema": schema })).unwrap())
        .unwrap();
    let answer: serde_json::Value =
        serde_json::from_str(&client.request_text(request).await.unwrap()).unwrap();
    u8::try_from(answer["id"].as_u64().unwrap()).unwrap()
}
