//! What a wrong input gets on a real API server: a refusal, or a condition that names what is wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's answer")]

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};
use naru_api::{Condition, FilteredSum, ScrapeJob, SinkConnector};
use naru_tests::{
    cluster::{eventually, kubectl_with, with_namespace},
    joongna::Pipeline,
};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_refuses_what_cannot_work() {
    with_namespace("refused", |_, namespace| async move {
        let (_, _, yaml) = Pipeline::in_namespace(&namespace, "");
        let cases = [
            ("/product/{id}", "/product", "with {id} in it once"),
            ("start: 228000001", "start: soon", "must be \"latest\" or an id"),
            (
                "maxReplicas: 3",
                "maxReplicas: 0",
                "should be greater than or equal to 1",
            ),
            (
                "{url: '/product/(\\d+)'}]",
                "{url: 'a', css: b}]",
                "exactly one of json, css, meta and url",
            ),
            (
                "{item: 0}",
                "{item: 0, split: ','}",
                "exactly one of keep, regex, split, padTo and item",
            ),
            ("jdbc:mysql://", "jdbc:mysql://root:secret@", "spec.mysql.url"),
            ("delay: 1s", "delay: 1 fortnight", "spec.retry.fixed.delay"),
            ("filter:", "filtre:", "unknown field \"spec.filtre\""),
        ];
        for (right, wrong, expected) in cases {
            assert!(yaml.contains(right), "the example has {right:?}");
            let answer = apply(&namespace, &yaml.replace(right, wrong)).await;
            let refusal = answer.expect_err(&format!("{wrong:?} was accepted"));
            assert!(
                refusal.contains(expected),
                "{wrong:?} gets {refusal:?}, expected {expected:?}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_names_what_the_api_server_cannot_see() {
    with_namespace("named", |client, namespace| async move {
        let (_, _, yaml) = Pipeline::in_namespace(&namespace, "");
        let wrong = yaml
            .replace("css: main h1", "css: \"main >> h1\"")
            .replace("filter: price <= 1000000", "filter: price <=");
        apply(&namespace, &wrong).await.unwrap();
        let job = Api::<ScrapeJob>::namespaced(client.clone(), &namespace);
        condition(&job, "joongna", "Valid", "InvalidSpec", "field \"title\"").await;
        let sum = Api::<FilteredSum>::namespaced(client.clone(), &namespace);
        condition(&sum, "joongna-total", "Valid", "InvalidSpec", "filter: ").await;
        let sink = Api::<SinkConnector>::namespaced(client.clone(), &namespace);
        condition(&sink, "joongna-mysql", "DependenciesReady", "", "mysql").await;
        assert!(
            deployments(&client, &namespace).await.is_empty(),
            "nothing runs for a spec that cannot work"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_dependency_is_named_and_a_bad_edit_changes_nothing_that_runs() {
    with_namespace("silent", |client, namespace| async move {
        let (_, _, yaml) = Pipeline::in_namespace(&namespace, "");
        let job = yaml.split("\n---\n").next().unwrap();
        apply(&namespace, job).await.unwrap();
        let jobs = Api::<ScrapeJob>::namespaced(client.clone(), &namespace);
        eventually("there are a planner and fetchers", SOON, || async {
            let found = deployments(&client, &namespace).await;
            if found.len() == 2 {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await;
        let before = deployments(&client, &namespace).await;

        let elsewhere = format!("{job}\n  registry: {{url: \"http://127.0.0.1:9/silent\"}}\n");
        apply(&namespace, &elsewhere).await.unwrap();
        condition(
            &jobs,
            "joongna",
            "DependenciesReady",
            "RegistryUnreachable",
            "127.0.0.1:9",
        )
        .await;
        let other = format!("{job}\n  kafka: {{bootstrapServers: \"127.0.0.1:9\"}}\n")
            .replace("name: joongna\n", "name: other\n");
        apply(&namespace, &other).await.unwrap();
        condition(
            &jobs,
            "other",
            "DependenciesReady",
            "KafkaUnreachable",
            "127.0.0.1:9",
        )
        .await;
        let bad = job.replace("$..product.productSeq", "\"$..[\"");
        apply(&namespace, &bad).await.unwrap();
        condition(&jobs, "joongna", "Valid", "InvalidSpec", "field \"productSeq\"").await;
        assert_eq!(
            deployments(&client, &namespace).await,
            before,
            "the workers were left as they were"
        );

        apply(&namespace, job).await.unwrap();
        eventually("the mended job is valid again", SOON, || async {
            let job = jobs.get("joongna").await.map_err(|e| e.to_string())?;
            match job
                .status
                .unwrap_or_default()
                .conditions
                .iter()
                .find(|c| c.condition_type == "Valid")
            {
                Some(valid) if valid.status == "True" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        assert_eq!(
            deployments(&client, &namespace).await,
            before,
            "and mending changed nothing either"
        );
    })
    .await;
}

/// Waits for a condition that is false for this reason (any, if empty), with this text in its message.
async fn condition<K>(api: &Api<K>, name: &str, condition_type: &str, reason: &str, text: &str)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Conditions,
{
    eventually(
        &format!("{name}: {condition_type} is false with {text:?}"),
        SOON,
        || async {
            let object = api.get(name).await.map_err(|e| e.to_string())?;
            let found = object
                .conditions()
                .iter()
                .find(|c| c.condition_type == condition_type)
                .cloned();
            match found {
                Some(found)
                    if found.status == "False"
                        && (reason.is_empty() || found.reason == reason)
                        && found.message.contains(text) =>
                {
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await;
}

trait Conditions {
    fn conditions(&self) -> &[Condition];
}

macro_rules! has_conditions {
    ($($kind:ty),*) => {$(
        impl Conditions for $kind {
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }
        }
    )*};
}
has_conditions!(ScrapeJob, FilteredSum, SinkConnector);

/// Name and generation of each Deployment. A generation changes only with the Deployment's spec.
async fn deployments(client: &Client, namespace: &str) -> Vec<(String, i64)> {
    let list = Api::<Deployment>::namespaced(client.clone(), namespace)
        .list(&Default::default())
        .await
        .unwrap();
    list.into_iter()
        .map(|deployment| {
            let metadata = deployment.metadata;
            (
                metadata.name.unwrap_or_default(),
                metadata.generation.unwrap_or_default(),
            )
        })
        .collect()
}

async fn apply(namespace: &str, yaml: &str) -> Result<String, String> {
    kubectl_with(&["--namespace", namespace, "apply", "--filename", "-"], yaml).await
}
