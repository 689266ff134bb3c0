//! What keeps running, and what is made right again, whatever somebody does to a pipeline.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's answer")]

#[path = "e2e_reconcile/connectors.rs"]
mod connectors;
#[path = "e2e_reconcile/drift.rs"]
mod drift;
#[path = "e2e_reconcile/rest.rs"]
mod rest;
#[path = "e2e_reconcile/rollout.rs"]
mod rollout;
#[path = "e2e_reconcile/suspend.rs"]
mod suspend;

use std::time::Duration;

use kube::{Api, Client};
use naru_api::{FilteredSum, SinkConnector};
use naru_tests::{
    cluster::{apply, copy_credentials, eventually},
    joongna::Pipeline,
    said::{holds, says},
    workers::{deployment, settled},
};

/// For what takes seconds, on a machine that is busy.
const SOON: Duration = Duration::from_secs(120);

/// A pipeline without its site: nothing flows, so that nothing changes by itself.
struct Quiet {
    /// The ScrapeJob.
    job: String,
    /// The SinkConnector of its records.
    sink: String,
    /// The FilteredSum over them.
    sum: String,
}

impl Quiet {
    fn of(namespace: &str) -> Self {
        let (_, _, yaml) = Pipeline::in_namespace(namespace, "");
        let mut documents = yaml.split("\n---\n").map(str::to_owned);
        let mut next = || documents.next().unwrap();
        Self {
            job: next(),
            sink: next(),
            sum: next(),
        }
    }

    /// Declares all of it, and waits until it runs.
    async fn start(client: &Client, namespace: &str) -> Self {
        let quiet = Self::of(namespace);
        copy_credentials(client, namespace).await;
        apply(
            namespace,
            &format!("{}\n---\n{}\n---\n{}", quiet.job, quiet.sink, quiet.sum),
        )
        .await
        .unwrap();
        let sinks = Api::<SinkConnector>::namespaced(client.clone(), namespace);
        says(&sinks, "joongna-mysql", SOON, holds("Ready", "Running")).await;
        let sums = Api::<FilteredSum>::namespaced(client.clone(), namespace);
        says(&sums, "joongna-total", SOON, holds("Ready", "Running")).await;
        eventually("the fetcher is ready", SOON, || async {
            settled(&deployment(client, namespace, "joongna-fetcher").await?)
        })
        .await;
        quiet
    }
}
