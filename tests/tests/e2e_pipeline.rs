//! The whole pipeline on kind: the example, a burst, kills, and deletion.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's answer")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use naru_tests::{
    cluster::{
        all_ready, beside_kafka, copy_credentials, eventually, kill_container, kubectl, kubectl_with, mysql,
        with_namespace,
    },
    joongna::Pipeline,
};

/// Products that appear at once.
const BURST: u32 = 6000;

#[tokio::test(flavor = "multi_thread")]
async fn each_product_arrives_once_though_workers_are_killed_and_scaled() {
    with_namespace("joongna", |client, namespace| async move {
        let image = site_image();
        let (pipeline, site, yaml) = Pipeline::in_namespace(&namespace, &image);
        // More sum workers than partitions are allowed, and a small lag calls for them.
        let (job, rest) = yaml.split_once("\n---\n").unwrap();
        let rest = rest.replace("maxReplicas: 3", "maxReplicas: 5, lagPerReplica: 20");
        let yaml = format!("{job}\n---\n{rest}");
        copy_credentials(&client, &namespace).await;
        apply(&namespace, &site).await;
        apply(&namespace, &yaml).await;
        eventually("all four resources are ready", Duration::from_secs(120), || {
            all_ready(&namespace, 4)
        })
        .await;

        let release = format!("release?count={BURST}");
        pipeline
            .site(&client, "POST", &release)
            .await
            .expect("the site did not release products");
        let seen = Seen::default();
        let watch = tokio::spawn(seen.clone().watch(client.clone(), namespace.clone()));
        eventually(
            "the fetchers scale out to the partition count",
            Duration::from_secs(60),
            || async {
                let replicas = seen.of("joongna-fetcher");
                if replicas.contains(&3) {
                    Ok(())
                } else {
                    Err(format!("seen: {replicas:?}"))
                }
            },
        )
        .await;
        for component in ["fetcher", "planner", "sum", "fetcher"] {
            let left = pipeline
                .figures(&client)
                .await
                .and_then(|figures| figures.check());
            assert!(
                left.is_err(),
                "the burst is too small: all was done before the {component} was killed"
            );
            kill(&client, &namespace, component).await;
        }
        eventually(
            "all products are stored and summed once",
            Duration::from_secs(240),
            || async { pipeline.figures(&client).await?.check() },
        )
        .await;
        println!("{:?}", pipeline.figures(&client).await);
        eventually("the fetchers scale back in", Duration::from_secs(120), || async {
            match replicas(&client, &namespace, "joongna-fetcher").await? {
                1 => Ok(()),
                replicas => Err(format!("there are {replicas}")),
            }
        })
        .await;
        watch.abort();
        for deployment in ["joongna-fetcher", "joongna-total-sum"] {
            let replicas = seen.of(deployment);
            assert!(
                replicas.iter().all(|replicas| *replicas <= 3),
                "{deployment} has 3 partitions: {replicas:?}"
            );
        }

        // The partitions of those that went are worked on by the one that stayed.
        pipeline
            .site(&client, "POST", "release?count=300")
            .await
            .expect("the site did not release products");
        eventually(
            "what comes later is stored and summed too",
            Duration::from_secs(60),
            || async { pipeline.figures(&client).await?.check() },
        )
        .await;

        delete(&client, &namespace, &yaml, &pipeline).await;
    })
    .await;
}

/// All that was declared goes, and the data stays.
async fn delete(client: &Client, namespace: &str, yaml: &str, pipeline: &Pipeline) {
    let rows = mysql(&format!("select count(*) from {}", pipeline.items))
        .await
        .unwrap();
    kubectl_with(
        &[
            "--namespace",
            namespace,
            "delete",
            "--wait",
            "--timeout",
            "60s",
            "--filename",
            "-",
        ],
        yaml,
    )
    .await
    .unwrap();
    eventually(
        "nothing of the pipeline is left",
        Duration::from_secs(60),
        || async {
            let ours = ListParams::default().labels("app.kubernetes.io/managed-by=naru");
            let deployments = Api::<Deployment>::namespaced(client.clone(), namespace)
                .list(&ours)
                .await;
            let config_maps = Api::<ConfigMap>::namespaced(client.clone(), namespace)
                .list(&ours)
                .await;
            let left = deployments.map_err(|e| e.to_string())?.items.len()
                + config_maps.map_err(|e| e.to_string())?.items.len();
            let connectors = connectors().await?;
            let registered = connectors.contains(namespace);
            if left == 0 && !registered {
                Ok(())
            } else {
                Err(format!("{left} objects, connectors {connectors}"))
            }
        },
    )
    .await;
    assert_eq!(
        mysql(&format!("select count(*) from {}", pipeline.items))
            .await
            .unwrap(),
        rows,
        "the rows are kept"
    );
    let topics = beside_kafka(&["ls", "/data/log"]).await;
    let topics = topics.unwrap();
    for topic in ["items", "total"] {
        assert!(
            topics.contains(&format!("{namespace}.{topic}-0")),
            "topic {topic} is kept: {topics}"
        );
    }
    mysql(&format!("drop table {}, {}", pipeline.items, pipeline.totals))
        .await
        .unwrap();
}

async fn connectors() -> Result<String, String> {
    kubectl(&[
        "get",
        "--raw",
        "/api/v1/namespaces/naru-stack/services/connect:8083/proxy/connectors",
    ])
    .await
}

async fn apply(namespace: &str, yaml: &str) {
    kubectl_with(&["--namespace", namespace, "apply", "--filename", "-"], yaml)
        .await
        .unwrap();
}

/// The image of the site that `deploy/install` gave to the cluster.
fn site_image() -> String {
    std::env::var("NARU_SITE_IMAGE").expect("NARU_SITE_IMAGE is not set: run this test with `make e2e`")
}

async fn replicas(client: &Client, namespace: &str, deployment: &str) -> Result<i32, String> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let deployment = deployments.get(deployment).await.map_err(|e| e.to_string())?;
    Ok(deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1))
}

/// The replica counts of each Deployment that were seen.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<String, BTreeSet<i32>>>>);

impl Seen {
    /// Looks again and again, until it is aborted.
    async fn watch(self, client: Client, namespace: String) {
        loop {
            for deployment in ["joongna-fetcher", "joongna-total-sum"] {
                if let Ok(replicas) = replicas(&client, &namespace, deployment).await {
                    self.0
                        .lock()
                        .unwrap()
                        .entry(deployment.to_owned())
                        .or_default()
                        .insert(replicas);
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn of(&self, deployment: &str) -> BTreeSet<i32> {
        self.0
            .lock()
            .unwrap()
            .get(deployment)
            .cloned()
            .unwrap_or_default()
    }
}

/// SIGKILL for one running container of a component, and a look that it was indeed started anew.
async fn kill(client: &Client, namespace: &str, component: &str) {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let (pod, before) = eventually("a container is killed", Duration::from_secs(60), || async {
        let of_component = ListParams::default().labels(&format!("app.kubernetes.io/component={component}"));
        let running = pods.list(&of_component).await.map_err(|e| e.to_string())?;
        let pod = running
            .iter()
            .find(|pod| restarts(pod).is_some())
            .ok_or_else(|| format!("no {component} runs"))?;
        kill_container(client, namespace, &pod.name_any()).await?;
        Ok::<_, String>((pod.name_any(), restarts(pod)))
    })
    .await;
    eventually(
        "the killed container is started anew",
        Duration::from_secs(60),
        || async {
            match pods.get_opt(&pod).await.map_err(|e| e.to_string())? {
                Some(pod) if restarts(&pod) <= before => {
                    Err(format!("it has been started {:?} times again", restarts(&pod)))
                }
                // Gone: scaled in meanwhile.
                Some(_) | None => Ok(()),
            }
        },
    )
    .await;
    println!("killed {pod}");
}

/// How often the container of a running pod was started again.
fn restarts(pod: &Pod) -> Option<i32> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    status.state.as_ref()?.running.as_ref()?;
    Some(status.restart_count)
}
