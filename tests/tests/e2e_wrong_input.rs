//! What a wrong input gets on a real API server: a refusal, or a condition that names what is wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's answer")]

use std::time::Duration;

use kube::Api;
use naru_api::{FilteredSum, ScrapeJob, SinkConnector};
use naru_tests::{
    cluster::{apply, eventually, with_namespace},
    joongna::Pipeline,
    said::{fails, holds, says},
    workers::{deployment, generations, pods, settled},
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
        let wrong = fails("Valid", "InvalidSpec");
        says(&job, "joongna", SOON, wrong.saying("field \"title\"")).await;
        let sum = Api::<FilteredSum>::namespaced(client.clone(), &namespace);
        says(&sum, "joongna-total", SOON, wrong.saying("filter: ")).await;
        let sink = Api::<SinkConnector>::namespaced(client.clone(), &namespace);
        let missing = fails("DependenciesReady", "SecretMissing").saying("mysql");
        says(&sink, "joongna-mysql", SOON, missing).await;
        let running = generations(&client, &namespace).await.unwrap();
        assert!(
            running.is_empty(),
            "nothing runs for a spec that cannot work: {running:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_dependency_is_named_and_a_bad_edit_changes_nothing_that_runs() {
    with_namespace("unmoved", |client, namespace| async move {
        let (_, _, yaml) = Pipeline::in_namespace(&namespace, "");
        let documents: Vec<_> = yaml.split("\n---\n").collect();
        let (job, sum) = (documents[0], documents[2]);
        apply(&namespace, &format!("{job}\n---\n{sum}")).await.unwrap();
        let jobs = Api::<ScrapeJob>::namespaced(client.clone(), &namespace);
        let sums = Api::<FilteredSum>::namespaced(client.clone(), &namespace);
        says(&sums, "joongna-total", SOON, holds("Ready", "Running")).await;
        eventually("the fetcher is ready", SOON, || async {
            settled(&deployment(&client, &namespace, "joongna-fetcher").await?)
        })
        .await;
        let running = || async {
            let generations = generations(&client, &namespace).await.unwrap();
            (generations, pods(&client, &namespace).await.unwrap())
        };
        let before = running().await;
        assert_eq!(before.0.len(), 3, "planner, fetcher and sum: {before:?}");

        let elsewhere = "registry: {url: \"http://127.0.0.1:9/silent\"}";
        let silent = fails("DependenciesReady", "RegistryUnreachable").saying("127.0.0.1:9");
        let as_before = holds("Degraded", "LastKnownGood");
        apply(
            &namespace,
            &format!(
                "{}\n  {elsewhere}\n---\n{}\n  {elsewhere}\n",
                job.trim_end(),
                sum.trim_end()
            ),
        )
        .await
        .unwrap();
        says(&jobs, "joongna", SOON, silent).await;
        says(&jobs, "joongna", SOON, as_before).await;
        says(&sums, "joongna-total", SOON, silent).await;
        says(&sums, "joongna-total", SOON, as_before).await;
        let other = format!("{job}\n  kafka: {{bootstrapServers: \"127.0.0.1:9\"}}\n")
            .replace("name: joongna\n", "name: other\n");
        apply(&namespace, &other).await.unwrap();
        let silent = fails("DependenciesReady", "KafkaUnreachable").saying("127.0.0.1:9");
        says(&jobs, "other", SOON, silent).await;
        let bad = job.replace("$..product.productSeq", "\"$..[\"");
        apply(&namespace, &bad).await.unwrap();
        let wrong = fails("Valid", "InvalidSpec").saying("field \"productSeq\"");
        says(&jobs, "joongna", SOON, wrong).await;
        says(&jobs, "joongna", SOON, as_before).await;
        assert_eq!(running().await, before, "the workers were left as they were");

        apply(&namespace, &format!("{job}\n---\n{sum}")).await.unwrap();
        let mended = fails("Degraded", "AsExpected");
        says(&jobs, "joongna", SOON, mended).await;
        says(&sums, "joongna-total", SOON, mended).await;
        says(&sums, "joongna-total", SOON, holds("Ready", "Running")).await;
        assert_eq!(running().await, before, "and mending changed nothing either");
    })
    .await;
}
