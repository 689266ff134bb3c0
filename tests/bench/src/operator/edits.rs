//! How soon an edit shows, and what the operator costs while nobody edits.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use snafu::ResultExt;
use tokio::time::Instant;

use super::{
    cluster::{Cluster, object},
    crowd,
    error::Error,
    figures::{Edits, Report, percentile, round},
    process::Process,
    resources::{self, Resources},
    seen::Seen,
};

const RESOURCES: usize = 100;
const SAMPLES: usize = 500;
/// First edits, which are not counted: connections are made, caches filled.
const WARM_UP: usize = 20;
/// Between two samples: the Deployment controller makes a ReplicaSet for each, and is not what is measured.
const PAUSE: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_secs(60);
const YARDSTICK: &str = "yardstick";

pub(crate) async fn measure(cluster: &Cluster, report: &mut Report) -> Result<(), Error> {
    let sums = Resources::sums(cluster);
    sums.clear().await?;
    let mut seen = Seen::of(cluster);
    let since = Instant::now();
    sums.create(0..RESOURCES, &resources::sum(cluster)).await?;
    crowd::settled(&sums, &mut seen, RESOURCES).await?;
    crate::found("100 created", since);

    let process = Process::only(cluster).await?;
    let idle_millicores = process.millicores_at_rest(cluster, IDLE).await?;
    let (per_reconcile, per_edit) = api_calls(cluster, &process, &sums).await?;

    let since = Instant::now();
    let yardstick = Yardstick::create(cluster).await?;
    let (mut edits, mut bare) = (Vec::new(), Vec::new());
    for number in 0..WARM_UP + SAMPLES {
        let edit = edit(&sums, &mut seen, number).await?;
        tokio::time::sleep(PAUSE).await;
        let patch = yardstick.patch(&mut seen, number).await?;
        tokio::time::sleep(PAUSE).await;
        if number >= WARM_UP {
            edits.push(edit);
            bare.push(patch);
        }
    }
    let figures = Edits {
        edit_samples: edits.len(),
        edit_p50: percentile(&edits, 50),
        edit_p99: percentile(&edits, 99),
        yardstick_p50: percentile(&bare, 50),
        yardstick_p99: percentile(&bare, 99),
        api_calls_per_reconcile: per_reconcile,
        api_calls_per_edit: per_edit,
        idle_millicores,
    };
    let Edits {
        edit_p50,
        edit_p99,
        yardstick_p50,
        yardstick_p99,
        ..
    } = figures;
    crate::found(
        &format!(
            "edit p50 {edit_p50} ms, p99 {edit_p99} ms; bare patch p50 {yardstick_p50} ms, p99 {yardstick_p99} ms"
        ),
        since,
    );
    report.edits = Some(figures);
    sums.clear().await
}

/// Changes a resource, and waits for the news that its Deployment changed.
pub(crate) async fn edit(sums: &Resources, seen: &mut Seen, number: usize) -> Result<Duration, Error> {
    let resource = number % RESOURCES;
    let deployment = format!("{}-sum", sums.name(resource));
    let before = seen.now();
    let start = Instant::now();
    sums.edit(resource, &resources::change(number)).await?;
    Ok(seen.changed(&deployment, &before).await?.duration_since(start))
}

/// A Deployment that no operator looks after.
struct Yardstick(Api<Deployment>);

impl Yardstick {
    async fn create(cluster: &Cluster) -> Result<Self, Error> {
        let labels = json!({ "app": YARDSTICK });
        let deployment: Deployment = object(json!({
            "metadata": { "name": YARDSTICK },
            "spec": {
                "replicas": 0,
                "revisionHistoryLimit": 3,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{ "name": "none", "image": "none" }] },
                },
            },
        }))?;
        let api = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        api.create(&PostParams::default(), &deployment)
            .await
            .whatever_context("failed to create a Deployment")?;
        Ok(Self(api))
    }

    /// Patches it, and waits for the news that it changed.
    async fn patch(&self, seen: &mut Seen, number: usize) -> Result<Duration, Error> {
        let annotations = json!({ "naru.dev/bench": number.to_string() });
        let change = json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } });
        let before = seen.now();
        let start = Instant::now();
        self.0
            .patch(YARDSTICK, &PatchParams::default(), &Patch::Merge(change))
            .await
            .whatever_context("failed to patch a Deployment")?;
        Ok(seen.changed(YARDSTICK, &before).await?.duration_since(start))
    }
}

/// Requests to the API server per pass and per edit. None if the operator does not count them.
async fn api_calls(
    cluster: &Cluster,
    process: &Process,
    sums: &Resources,
) -> Result<(Option<f64>, Option<f64>), Error> {
    const CALLS: &str = "naru_operator_api_requests_total";
    const PASSES: &str = "naru_operator_reconciles_total";
    let settle = Duration::from_secs(5);
    tokio::time::sleep(settle).await;
    let before = process.counters(cluster).await?;
    sums.edit_all(0..RESOURCES, &resources::change(3999)).await?;
    sums.observed().await?;
    tokio::time::sleep(settle).await;
    let after = process.counters(cluster).await?;
    let grown = |name: &str| Some(after.get(name)? - before.get(name).unwrap_or(&0.0));
    let (calls, passes) = (grown(CALLS), grown(PASSES));
    println!(
        "    {} requests to the API server in {} passes for {RESOURCES} edits",
        told(calls),
        told(passes)
    );
    let per_reconcile = calls
        .zip(passes)
        .map(|(calls, passes)| round(calls / passes.max(1.0)));
    Ok((per_reconcile, calls.map(|calls| round(calls / RESOURCES as f64))))
}

fn told(count: Option<f64>) -> String {
    count.map_or_else(|| "an unknown number of".to_owned(), |count| count.to_string())
}
