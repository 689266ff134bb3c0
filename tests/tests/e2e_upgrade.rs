//! An upgrade to this commit, under a pipeline that runs, from that before the newest change of what is installed: see
//! `deploy/previous`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's answer")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};
use naru_tests::{
    cluster::{all_ready, copy_credentials, eventually, kubectl_with, release, repository, with_namespace},
    joongna::Pipeline,
    operator,
};
use tokio::sync::oneshot;

/// `deploy/previous` has put the commit that is upgraded from, and its images, there.
const PREVIOUS: &str = "target/previous";
const THIS: &str = ".";
/// Products that appear at once, so that the upgrade begins with work under way.
const BURST: u32 = 4000;
/// Without an operator workers go on, but nothing is scaled and no edit is seen.
const LONGEST_OUTAGE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_loses_nothing_and_rolls_the_workers_at_most_once() {
    let old = repository()
        .join(PREVIOUS)
        .join("deploy/examples/joongna/pipeline.yaml");
    let old = std::fs::read_to_string(old)
        .expect("there is no previous version: run this test with `make e2e`, or deploy/previous before");
    release(PREVIOUS).await;
    with_namespace("upgrade", |client, namespace| async move {
        let (pipeline, site, yaml) = Pipeline::from_example(&old, &namespace, &image(THIS, "site"));
        copy_credentials(&client, &namespace).await;
        apply(&namespace, &site).await;
        apply(&namespace, &yaml).await;
        let ready = || all_ready(&namespace, 4);
        eventually(
            "the old version runs the pipeline",
            Duration::from_secs(120),
            ready,
        )
        .await;
        let before = workers(&client, &namespace).await;
        let old_image = image(PREVIOUS, "workers");
        assert!(
            before.len() == 3 && before.values().all(|worker| worker.image == old_image),
            "planner, fetcher and sum are of the old version: {before:?}"
        );

        let burst = format!("release?count={BURST}");
        pipeline.site(&client, "POST", &burst).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let watch = tokio::spawn(longest_outage(client.clone(), stopped));
        let upgrade = Instant::now();
        release(THIS).await;
        println!("helm upgraded both charts within {:?}", upgrade.elapsed());
        let left = pipeline
            .figures(&client)
            .await
            .and_then(|figures| figures.check());
        assert!(
            left.is_err(),
            "the burst is too small: all was done before the upgrade"
        );
        let new_image = image(THIS, "workers");
        eventually(
            "all workers are of this version",
            Duration::from_secs(120),
            || async {
                let now = workers(&client, &namespace).await;
                if now
                    .values()
                    .all(|worker| worker.settled && worker.image == new_image)
                {
                    Ok(())
                } else {
                    Err(format!("{now:?}, expected {new_image}"))
                }
            },
        )
        .await;
        println!("the workers are of this version after {:?}", upgrade.elapsed());

        pipeline.site(&client, "POST", "release?count=300").await.unwrap();
        eventually(
            "each product of before, meanwhile and after arrives once",
            Duration::from_secs(240),
            || async { pipeline.figures(&client).await?.check() },
        )
        .await;
        eventually("all is ready", Duration::from_secs(60), ready).await;
        let after = workers(&client, &namespace).await;
        for (name, worker) in &after {
            let rolled = worker.revision - before[name].revision;
            assert!(
                rolled <= 1,
                "{name} was rolled {rolled} times: {before:?}, {after:?}"
            );
        }
        assert_eq!(
            restarts(&client, &namespace).await,
            0,
            "no container ended by itself"
        );
        stop.send(()).unwrap();
        let outage = watch.await.unwrap();
        println!("no operator worked for at most {outage:?}");
        assert!(outage <= LONGEST_OUTAGE, "no operator worked for {outage:?}");
    })
    .await;
}

/// The tag that `deploy/images/build` gave to an image of a checkout.
fn image(checkout: &str, name: &str) -> String {
    let tags = repository().join(checkout).join("target/images/tags");
    let tags = std::fs::read_to_string(tags).expect("no images: run this test with `make e2e`");
    let prefix = format!("naru/{name}:");
    let tag = tags.lines().find(|tag| tag.starts_with(&prefix));
    tag.expect("the image has a tag").to_owned()
}

/// A Deployment of workers.
#[derive(Debug)]
struct Worker {
    image: String,
    /// Counts the pod templates that it has had.
    revision: u32,
    /// All of its pods are of the newest template, and ready.
    settled: bool,
}

async fn workers(client: &Client, namespace: &str) -> BTreeMap<String, Worker> {
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=naru");
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let listed = deployments.list(&ours).await.unwrap();
    listed
        .into_iter()
        .map(|deployment| (deployment.name_any(), worker(&deployment)))
        .collect()
}

fn worker(deployment: &Deployment) -> Worker {
    let spec = deployment.spec.as_ref().unwrap();
    let status = deployment.status.clone().unwrap_or_default();
    let pods = [status.replicas, status.updated_replicas, status.ready_replicas];
    let containers = &spec.template.spec.as_ref().unwrap().containers;
    let revision = deployment.annotations().get("deployment.kubernetes.io/revision");
    Worker {
        image: containers[0].image.clone().unwrap(),
        revision: revision.map_or(0, |revision| revision.parse().unwrap()),
        settled: status.observed_generation == deployment.metadata.generation
            && pods
                .iter()
                .all(|count| count.unwrap_or(0) == spec.replicas.unwrap_or(1)),
    }
}

/// Restarts of all containers of the namespace.
async fn restarts(client: &Client, namespace: &str) -> i32 {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let pods = pods.list(&ListParams::default()).await.unwrap();
    let statuses = pods.into_iter().filter_map(|pod| pod.status?.container_statuses);
    statuses.flatten().map(|container| container.restart_count).sum()
}

/// The longest time until `stopped` in which no operator worked.
async fn longest_outage(client: Client, mut stopped: oneshot::Receiver<()>) -> Duration {
    let mut longest = Duration::ZERO;
    let mut worked_at = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    while stopped.try_recv().is_err() {
        looks.tick().await;
        let look = tokio::time::timeout(Duration::from_secs(1), operator::works(&client));
        if let Ok(Ok(())) = look.await {
            worked_at = Instant::now();
        }
        longest = longest.max(worked_at.elapsed());
    }
    longest
}

async fn apply(namespace: &str, yaml: &str) {
    let apply = ["--namespace", namespace, "apply", "--filename", "-"];
    kubectl_with(&apply, yaml).await.unwrap();
}
