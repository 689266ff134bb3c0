//! What becomes of what lies outside Kubernetes when resources and namespaces are deleted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's answer")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt, api::DeleteParams};
use naru_api::{ScrapeJob, SinkConnector};
use naru_tests::{
    cluster::{apply, beside_kafka, copy_credentials, ensure, eventually, kubectl, with_namespace},
    connect::{connector, registered, unregister},
    joongna::Pipeline,
    said::{fails, holds, says, told},
};

const SOON: Duration = Duration::from_secs(120);
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:9";
const FORCE: &str = "naru.dev/force-delete=true";

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_deleted_says_so_and_holds_neither_its_resource_nor_its_namespace_when_told_to_go() {
    with_namespace("silent", |client, namespace| async move {
        let (_, _, yaml) = Pipeline::in_namespace(&namespace, "");
        let mut documents = yaml.split("\n---\n");
        let (job, sink) = (documents.next().unwrap(), documents.next().unwrap());
        let job = format!("{job}\n  deletionPolicy: Delete\n  kafka: {{bootstrapServers: \"{NOWHERE}\"}}\n");
        let sink = |name: &str| {
            let sink = sink.replace("name: joongna-mysql", &format!("name: {name}"));
            format!("{}\n  connect: {{url: \"http://{NOWHERE}\"}}\n", sink.trim_end())
        };
        apply(&namespace, &job).await.unwrap();
        for name in ["alone", "with-all"] {
            apply(&namespace, &sink(name)).await.unwrap();
        }
        let jobs = Api::<ScrapeJob>::namespaced(client.clone(), &namespace);
        let sinks = Api::<SinkConnector>::namespaced(client.clone(), &namespace);
        eventually("what lies outside is held on to", SOON, || async {
            let held = [
                jobs.get("joongna")
                    .await
                    .map_err(|e| e.to_string())?
                    .finalizers()
                    .len(),
                sinks
                    .get("alone")
                    .await
                    .map_err(|e| e.to_string())?
                    .finalizers()
                    .len(),
                sinks
                    .get("with-all")
                    .await
                    .map_err(|e| e.to_string())?
                    .finalizers()
                    .len(),
            ];
            ensure(held == [1, 1, 1], || format!("finalizers: {held:?}"))
        })
        .await;

        // A resource.
        sinks.delete("alone", &DeleteParams::default()).await.unwrap();
        let waits = fails("Ready", "ConnectorNotDeleted").saying(NOWHERE);
        says(&sinks, "alone", SOON, waits).await;
        let forced = Instant::now();
        annotate(&namespace, &["sinkconnector/alone"]).await;
        eventually("it goes", SOON, || async {
            let left = sinks.get_opt("alone").await.map_err(|e| e.to_string())?;
            ensure(left.is_none(), || "it is still there".to_owned())
        })
        .await;
        println!(
            "a resource was let go {:.1} s after it was forced",
            forced.elapsed().as_secs_f64()
        );
        let connector = format!("{namespace}.alone");
        told(
            &client,
            (&namespace, "alone"),
            SOON,
            "ConnectorLeftBehind",
            &[&connector],
        )
        .await;

        // All there is.
        let namespaces = Api::<Namespace>::all(client.clone());
        namespaces
            .delete(&namespace, &DeleteParams::default())
            .await
            .unwrap();
        says(&sinks, "with-all", SOON, fails("Ready", "ConnectorNotDeleted")).await;
        says(
            &jobs,
            "joongna",
            SOON,
            fails("Ready", "TopicsNotDeleted").saying(NOWHERE),
        )
        .await;
        let forced = Instant::now();
        annotate(&namespace, &["sinkconnector/with-all", "scrapejob/joongna"]).await;
        eventually("the namespace goes", SOON, || async {
            match namespaces.get_opt(&namespace).await.map_err(|e| e.to_string())? {
                None => Ok(()),
                Some(left) => Err(format!("{:?}", left.status.and_then(|status| status.conditions))),
            }
        })
        .await;
        println!(
            "the namespace was gone {:.1} s after it was forced",
            forced.elapsed().as_secs_f64()
        );
        // Nobody may create an Event there any more.
        let log = [
            "--namespace",
            "naru-system",
            "logs",
            "--selector",
            "app.kubernetes.io/name=naru",
            "--tail",
            "-1",
        ];
        let log = kubectl(&log).await.unwrap();
        let left = log
            .lines()
            .filter(|line| line.contains("left something behind") && line.contains(&namespace));
        assert!(left.count() >= 3, "the log says what was left behind");
    })
    .await;
}

async fn annotate(namespace: &str, resources: &[&str]) {
    let annotate = ["--namespace", namespace, "annotate", FORCE];
    let (command, annotation) = annotate.split_at(3);
    kubectl(&[command, resources, annotation].concat()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_connectors_go_with_their_resource_or_stay_as_its_policy_says() {
    with_namespace("policies", |client, namespace| async move {
        let (_, _, yaml) = Pipeline::in_namespace(&namespace, "");
        let mut documents = yaml.split("\n---\n");
        let (job, sink) = (documents.next().unwrap(), documents.next().unwrap());
        copy_credentials(&client, &namespace).await;
        let jobs = Api::<ScrapeJob>::namespaced(client.clone(), &namespace);
        let sinks = Api::<SinkConnector>::namespaced(client.clone(), &namespace);
        for (name, policy) in [("stays", "Orphan"), ("goes", "Delete")] {
            let of = |yaml: &str, before: &str| {
                let yaml = yaml.replace(&format!("name: {before}\n"), &format!("name: {name}\n"));
                let yaml = yaml.replace(&format!("{namespace}.items"), &format!("{namespace}.{name}"));
                format!("{}\n  deletionPolicy: {policy}\n", yaml.trim_end())
            };
            apply(&namespace, &of(job, "joongna")).await.unwrap();
            apply(&namespace, &of(sink, "joongna-mysql")).await.unwrap();
        }
        for name in ["stays", "goes"] {
            says(&sinks, name, SOON, holds("Ready", "Running")).await;
        }
        let mut of = Vec::new();
        for name in ["stays", "goes"] {
            of.push(eventually("all topics were created", SOON, || created(&jobs, name)).await);
        }
        println!("topics that go: {:?}", of[1]);
        let there = topics().await.unwrap();
        assert!(of.iter().all(|of| of.is_subset(&there)), "{of:?} of {there:?}");

        let deleted = Instant::now();
        for name in ["stays", "goes"] {
            jobs.delete(name, &DeleteParams::default()).await.unwrap();
            sinks.delete(name, &DeleteParams::default()).await.unwrap();
        }
        eventually("all resources go", SOON, || async {
            let mut left = 0;
            for name in ["stays", "goes"] {
                left += usize::from(jobs.get_opt(name).await.map_err(|e| e.to_string())?.is_some());
                left += usize::from(sinks.get_opt(name).await.map_err(|e| e.to_string())?.is_some());
            }
            ensure(left == 0, || format!("{left} are left"))
        })
        .await;
        println!(
            "all resources were gone after {:.1} s",
            deleted.elapsed().as_secs_f64()
        );
        // The broker renames the folder of a deleted topic a moment later.
        eventually("the topics go", SOON, || async {
            let there = topics().await?;
            let left: Vec<_> = of[1].intersection(&there).collect();
            ensure(left.is_empty(), || format!("{left:?}"))
        })
        .await;
        let there = topics().await.unwrap();
        assert!(of[0].is_subset(&there), "{:?} of {there:?}", of[0]);

        let gone = connector(&client, &format!("{namespace}.goes")).await.unwrap();
        assert_eq!(gone, None);
        let orphan = format!("{namespace}.stays");
        assert!(registered(&client, &orphan).await.unwrap().runs());
        unregister(&client, &orphan).await.unwrap();
    })
    .await;
}

/// The topics that a job says were created for it: that of its records, dead letters, ranges and the head.
async fn created(jobs: &Api<ScrapeJob>, name: &str) -> Result<BTreeSet<String>, String> {
    let job = jobs.get(name).await.map_err(|e| e.to_string())?;
    let created = job.status.unwrap_or_default().created_topics;
    (created.len() == 4)
        .then(|| created.iter().cloned().collect())
        .ok_or_else(|| format!("{created:?}"))
}

/// The topics that the broker has.
async fn topics() -> Result<BTreeSet<String>, String> {
    let folders = beside_kafka(&["ls", "/data/log"]).await?;
    // A folder for each partition, and of a deleted topic with another ending.
    Ok(folders
        .lines()
        .filter_map(|folder| folder.strip_suffix("-0"))
        .map(str::to_owned)
        .collect())
}
