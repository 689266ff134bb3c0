//! Pipelines that stand still for a while.

use kube::Api;
use naru_api::{FilteredSum, ScrapeJob, SinkConnector};
use naru_tests::{
    cluster::{ensure, eventually, kubectl, with_namespace},
    connect::registered,
    said::{fails, holds, says},
    workers::{deployment, pods, replicas, revision, settled},
};

use crate::{Quiet, SOON};

const WORKERS: [&str; 3] = ["joongna-planner", "joongna-fetcher", "joongna-total-sum"];

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_pipeline_has_no_workers_and_a_paused_connector_and_goes_on_as_it_was() {
    with_namespace("suspended", |client, namespace| async move {
        Quiet::start(&client, &namespace).await;
        let jobs = Api::<ScrapeJob>::namespaced(client.clone(), &namespace);
        let sums = Api::<FilteredSum>::namespaced(client.clone(), &namespace);
        let sinks = Api::<SinkConnector>::namespaced(client.clone(), &namespace);
        let connector = format!("{namespace}.joongna-mysql");
        let config = registered(&client, &connector).await.unwrap().config;
        let mut revisions = Vec::new();
        for name in WORKERS {
            revisions.push(revision(&deployment(&client, &namespace, name).await.unwrap()));
        }

        suspend(&namespace, true).await;
        let suspended = holds("Paused", "Suspended");
        says(&jobs, "joongna", SOON, suspended).await;
        says(&sums, "joongna-total", SOON, suspended).await;
        says(&sinks, "joongna-mysql", SOON, suspended).await;
        says(&sums, "joongna-total", SOON, fails("Ready", "Suspended")).await;
        says(&sums, "joongna-total", SOON, fails("Degraded", "AsExpected")).await;
        eventually("there are no workers", SOON, || async {
            let left = pods(&client, &namespace).await?;
            ensure(left.is_empty(), || format!("{left:?}"))
        })
        .await;
        eventually("the connector is paused", SOON, || async {
            let now = registered(&client, &connector).await?;
            let paused = now.state == "PAUSED" && now.tasks.iter().all(|task| task == "PAUSED");
            ensure(paused, || format!("{now:?}"))
        })
        .await;
        for name in WORKERS {
            assert_eq!(
                replicas(&deployment(&client, &namespace, name).await.unwrap()),
                0,
                "{name}"
            );
        }

        suspend(&namespace, false).await;
        says(&sums, "joongna-total", SOON, holds("Ready", "Running")).await;
        says(&sinks, "joongna-mysql", SOON, holds("Ready", "Running")).await;
        says(&jobs, "joongna", SOON, fails("Paused", "NotSuspended")).await;
        eventually("the workers are back", SOON, || async {
            settled(&deployment(&client, &namespace, "joongna-fetcher").await?)?;
            for name in WORKERS {
                let replicas = replicas(&deployment(&client, &namespace, name).await?);
                if replicas != 1 {
                    return Err(format!("{name} has {replicas} replicas"));
                }
            }
            Ok(())
        })
        .await;
        let connector = registered(&client, &connector).await.unwrap();
        assert!(connector.runs() && connector.config == config, "{connector:?}");
        for (name, before) in WORKERS.iter().zip(revisions) {
            let now = revision(&deployment(&client, &namespace, name).await.unwrap());
            assert_eq!(now, before, "{name} is as it was");
        }
    })
    .await;
}

async fn suspend(namespace: &str, suspend: bool) {
    let patch = format!(r#"{{"spec": {{"suspend": {suspend}}}}}"#);
    for resource in [
        "scrapejob/joongna",
        "filteredsum/joongna-total",
        "sinkconnector/joongna-mysql",
    ] {
        let patch = [
            "--namespace",
            namespace,
            "patch",
            resource,
            "--type",
            "merge",
            "--patch",
            &patch,
        ];
        kubectl(&patch).await.unwrap();
    }
}
