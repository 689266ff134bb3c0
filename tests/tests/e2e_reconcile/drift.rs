//! What somebody else changes.

use std::{
    fmt::Display,
    future::Future,
    time::{Duration, Instant},
};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt, api::DeleteParams};
use naru_api::SinkConnector;
use naru_tests::{
    cluster::{ensure, eventually, kubectl, with_namespace},
    connect::{configure, registered, unregister},
    said::{fails, holds, says, told},
    workers::{config_maps, container, deployment, replicas, replicas_owner},
};

use crate::{Quiet, SOON};

/// How long it may take until it is changed back.
const REPAIRED: Duration = Duration::from_secs(15);

/// Waits until it is as it was, and prints how long that took.
async fn repaired<E, F>(what: &str, condition: impl FnMut() -> F)
where
    E: Display,
    F: Future<Output = Result<(), E>>,
{
    let begun = Instant::now();
    eventually(what, REPAIRED, condition).await;
    println!("{what} after {:.1} s", begun.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changes_or_deletes_is_as_declared_within_15_s_and_replicas_are_whose_they_were() {
    with_namespace("drift", |client, namespace| async move {
        Quiet::start(&client, &namespace).await;
        let (client, namespace) = (&client, namespace.as_str());

        // A field.
        let name = "joongna-fetcher";
        let before = container(&deployment(client, namespace, name).await.unwrap(), "RUST_LOG").unwrap();
        let image = "fetcher=naru/workers:of-somebody-else";
        let set = ["--namespace", namespace, "set", "image", "deployment/joongna-fetcher", image];
        kubectl(&set).await.unwrap();
        repaired("the image is changed back", || async {
            let now = container(&deployment(client, namespace, name).await?, "RUST_LOG");
            ensure(now.as_ref() == Some(&before), || format!("{now:?}"))
        })
        .await;
        let field = "spec.template.spec.containers[fetcher].image";
        told(client, (namespace, "joongna"), REPAIRED, "DriftRepaired", &[field, name]).await;

        // A field, and replicas beside it.
        let name = "joongna-total-sum";
        let before = deployment(client, namespace, name).await.unwrap();
        let variables = before.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].env.clone();
        let place = variables.iter().flatten().position(|variable| variable.name == "RUST_LOG").unwrap();
        let patch = format!(
            r#"[{{"op": "replace", "path": "/spec/template/spec/containers/0/env/{place}/value", "value": "trace"}},
                {{"op": "replace", "path": "/spec/replicas", "value": 2}}]"#
        );
        let patch = ["--namespace", namespace, "patch", "deployment", name, "--type", "json", "--patch", &patch];
        kubectl(&patch).await.unwrap();
        let was = container(&before, "RUST_LOG");
        repaired("the environment is changed back", || async {
            let now = container(&deployment(client, namespace, name).await?, "RUST_LOG");
            ensure(now == was, || format!("{now:?}"))
        })
        .await;
        let field = "spec.template.spec.containers[sum].env[RUST_LOG].value";
        let note = told(client, (namespace, "joongna-total"), REPAIRED, "DriftRepaired", &[field]).await;
        assert!(!note.contains("replicas"), "{note}");
        let after = deployment(client, namespace, name).await.unwrap();
        let owner = replicas_owner(&after);
        match replicas(&after) {
            2 => assert_eq!(owner.as_deref(), Some("kubectl-patch"), "a person's replicas are left alone"),
            // They are too many for the lag.
            1 => assert_eq!(owner.as_deref(), Some("naru/autoscaler"), "only the autoscaler scales in"),
            other => panic!("{other} replicas, of {owner:?}"),
        }

        // A whole child.
        let uid = after.uid();
        let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
        deployments.delete(name, &DeleteParams::default()).await.unwrap();
        repaired("a deleted Deployment is there again", || async {
            let now = deployment(client, namespace, name).await?;
            ensure(now.uid() != uid, || "it is still the old one".to_owned())
        })
        .await;
        let gone = format!("somebody deleted Deployment {name:?}");
        told(client, (namespace, "joongna-total"), REPAIRED, "DriftRepaired", &[&gone]).await;
        let before = config_maps(client, namespace).await.unwrap();
        let lost = before.keys().find(|name| name.starts_with("joongna-scrape-")).unwrap();
        kubectl(&["--namespace", namespace, "delete", "configmap", lost]).await.unwrap();
        repaired("a deleted ConfigMap is there again", || async {
            let now = config_maps(client, namespace).await?;
            let found = now.get(lost).ok_or_else(|| "it is not there".to_owned())?;
            ensure(*found != before[lost], || "it is still the old one".to_owned())
        })
        .await;
        let gone = format!("somebody deleted ConfigMap {lost:?}");
        told(client, (namespace, "joongna"), REPAIRED, "DriftRepaired", &[&gone]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changes_in_connect_is_as_declared_within_15_s() {
    with_namespace("redrawn", |client, namespace| async move {
        Quiet::start(&client, &namespace).await;
        let (client, namespace) = (&client, namespace.as_str());
        let name = format!("{namespace}.joongna-mysql");
        let before = registered(client, &name).await.unwrap();

        let mut other = before.config.clone();
        other.insert("batch.size".to_owned(), "7".to_owned());
        configure(client, &name, &other).await.unwrap();
        repaired("the connector's configuration is changed back", || async {
            let now = registered(client, &name).await?;
            ensure(now.config == before.config, || format!("{:?}", now.config))
        })
        .await;
        let sink = (namespace, "joongna-mysql");
        told(client, sink, REPAIRED, "DriftRepaired", &["batch.size"]).await;

        unregister(client, &name).await.unwrap();
        repaired(
            "a connector that was unregistered is registered again",
            || async {
                let now = registered(client, &name).await?;
                ensure(now.config == before.config, || format!("{:?}", now.config))
            },
        )
        .await;
        told(client, sink, REPAIRED, "DriftRepaired", &["unregistered"]).await;
        let sinks = Api::<SinkConnector>::namespaced(client.clone(), namespace);
        says(&sinks, "joongna-mysql", SOON, holds("Ready", "Running")).await;
        says(&sinks, "joongna-mysql", SOON, fails("Degraded", "AsExpected")).await;
    })
    .await;
}
