//! Rollouts that make no progress.

use std::time::Instant;

use kube::{Api, Client};
use naru_api::ScrapeJob;
use naru_tests::{
    cluster::{apply, ensure, eventually, kubectl, with_namespace},
    joongna::Pipeline,
    said::{fails, holds, says, told},
    workers::{deployment, revision, settled},
};

use crate::SOON;

/// Whoever asks for nothing is given more disk than there is: no pod of the namespace finds a node any more.
const FULL: &str = "
apiVersion: v1
kind: LimitRange
metadata: {name: full}
spec:
  limits:
    - {type: Container, defaultRequest: {ephemeral-storage: 1000Ti}}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_without_progress_says_why_and_gives_way_to_the_last_good_revision_where_it_may() {
    with_namespace("rollout", |client, namespace| async move {
        let image = std::env::var("NARU_SITE_IMAGE").expect("run this test with `make e2e`");
        let (_, site, yaml) = Pipeline::in_namespace(&namespace, &image);
        let job = yaml.split("\n---\n").next().unwrap();
        let job = |agent: &str, deadline: &str, auto_rollback: bool| {
            let rollout = format!("rollout: {{progressDeadline: {deadline}, autoRollback: {auto_rollback}}}");
            let job = job.replace("joongna example", agent);
            format!("{}\n  {rollout}\n", job.trim_end())
        };
        let jobs = Api::<ScrapeJob>::namespaced(client.clone(), &namespace);
        apply(&namespace, &site).await.unwrap();
        apply(&namespace, &job("first", "10s", false)).await.unwrap();
        says(&jobs, "joongna", SOON, holds("Ready", "Running")).await;

        // No node has room for the new pods.
        apply(&namespace, FULL).await.unwrap();
        apply(&namespace, &job("second", "10s", false)).await.unwrap();
        let edited = Instant::now();
        let stalled = holds("Degraded", "RolloutStalled").saying("a pod cannot be scheduled");
        let stalled = says(&jobs, "joongna", SOON, stalled).await;
        println!(
            "stalled after {:.1} s: {}",
            edited.elapsed().as_secs_f64(),
            stalled.message
        );
        says(&jobs, "joongna", SOON, fails("Ready", "RolloutStalled")).await;
        told(
            &client,
            (&namespace, "joongna"),
            SOON,
            "RolloutStalled",
            &["cannot be scheduled"],
        )
        .await;
        make_room(&namespace).await;
        says(&jobs, "joongna", SOON, holds("Ready", "Running")).await;
        says(&jobs, "joongna", SOON, fails("Degraded", "AsExpected")).await;
        let good = revisions(&client, &namespace).await.unwrap();
        // Workers that have only just become ready are no proof.
        eventually("the revision has proved itself", SOON, || async {
            let job = jobs.get("joongna").await.map_err(|error| error.to_string())?;
            let proved = job.status.and_then(|status| status.last_good_revision);
            ensure(good[0] == proved, || format!("{proved:?}, expected {good:?}"))
        })
        .await;

        // The same where it may give way: the last good one is declared again, and comes up once there is room.
        apply(&namespace, FULL).await.unwrap();
        apply(&namespace, &job("third", "10s", true)).await.unwrap();
        let edited = Instant::now();
        let back = holds("Degraded", "RolledBack").saying("a pod cannot be scheduled");
        says(&jobs, "joongna", SOON, back).await;
        println!("rolled back after {:.1} s", edited.elapsed().as_secs_f64());
        make_room(&namespace).await;
        eventually("the last good revision runs again", SOON, || async {
            let now = revisions(&client, &namespace).await?;
            for name in ["joongna-planner", "joongna-fetcher"] {
                settled(&deployment(&client, &namespace, name).await?)?;
            }
            ensure(now == good, || format!("{now:?}, expected {good:?}"))
        })
        .await;
        told(&client, (&namespace, "joongna"), SOON, "RolledBack", &[]).await;

        // Until it is edited.
        apply(&namespace, &job("fourth", "2m", true)).await.unwrap();
        says(&jobs, "joongna", SOON, holds("Ready", "Running")).await;
        says(&jobs, "joongna", SOON, fails("Degraded", "AsExpected")).await;
        assert_ne!(revisions(&client, &namespace).await.unwrap(), good);
    })
    .await;
}

/// Nodes have room again, for new pods: what others have asked for stays with them.
async fn make_room(namespace: &str) {
    let delete = ["--namespace", namespace, "delete"];
    let pending = ["pods", "--field-selector", "status.phase=Pending", "--wait=false"];
    kubectl(&[&delete[..], &["limitrange", "full"]].concat())
        .await
        .unwrap();
    kubectl(&[&delete[..], &pending].concat()).await.unwrap();
}

/// What runs.
async fn revisions(client: &Client, namespace: &str) -> Result<[Option<String>; 2], String> {
    Ok([
        revision(&deployment(client, namespace, "joongna-planner").await?),
        revision(&deployment(client, namespace, "joongna-fetcher").await?),
    ])
}
