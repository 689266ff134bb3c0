//! What nobody changes.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use kube::{Api, Client};
use naru_api::{FilteredSum, ScrapeJob, SinkConnector};
use naru_tests::{
    cluster::{ensure, eventually, with_namespace},
    operator,
    said::version,
    workers::{generations, pods},
};

use crate::Quiet;

/// Passes over each resource in a row that must write nothing.
const PASSES: usize = 2;
/// A resource that runs is looked at every 30 s. At first there may be something to write.
const LOOKED_AT: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_nobody_changes_is_looked_at_again_and_again_and_nothing_is_written() {
    with_namespace("rest", |client, namespace| async move {
        Quiet::start(&client, &namespace).await;
        let first = written(&client, &namespace).await.unwrap();
        // When passes over each resource went through since the last write.
        let since = RefCell::new((first, BTreeMap::<String, Vec<f64>>::new()));
        eventually("passes write nothing", LOOKED_AT, || async {
            // In this order: what these passes have written is seen.
            let successes = successes(&client, &namespace).await?;
            let now = written(&client, &namespace).await?;
            let (before, passes) = &mut *since.borrow_mut();
            if *before != now {
                println!("written: {before:?}, then {now:?}");
                (*before, *passes) = (now, BTreeMap::new());
            }
            for (name, at) in successes {
                let passes = passes.entry(name).or_default();
                if passes.last() != Some(&at) {
                    passes.push(at);
                }
            }
            // The first of them may have been before the last write.
            let enough = passes.len() == 3 && passes.values().all(|passes| passes.len() > PASSES);
            ensure(enough, || format!("passes since the last write: {passes:?}"))
        })
        .await;
        for (name, passes) in &since.borrow().1 {
            let (count, took) = (passes.len() - 1, passes.last().unwrap() - passes[0]);
            println!("{count} passes in {took:.0} s without a write: {name}");
        }
    })
    .await;
}

/// All that a write would change: versions of resources, generations of Deployments, and their pods.
async fn written(
    client: &Client,
    namespace: &str,
) -> Result<impl PartialEq + std::fmt::Debug + use<>, String> {
    let jobs = Api::<ScrapeJob>::namespaced(client.clone(), namespace);
    let sums = Api::<FilteredSum>::namespaced(client.clone(), namespace);
    let sinks = Api::<SinkConnector>::namespaced(client.clone(), namespace);
    let versions = [
        version(&jobs, "joongna").await?,
        version(&sums, "joongna-total").await?,
        version(&sinks, "joongna-mysql").await?,
    ];
    let generations = generations(client, namespace).await?;
    Ok((versions, generations, pods(client, namespace).await?))
}

/// When the last pass over each resource of a namespace went through, as the leader tells.
async fn successes(client: &Client, namespace: &str) -> Result<BTreeMap<String, f64>, String> {
    let metrics = operator::metrics(&operator::leader(client).await?).await?;
    let ours = format!("namespace=\"{namespace}\"");
    Ok(metrics
        .into_iter()
        .filter(|(series, _)| {
            series.starts_with("naru_operator_reconcile_last_success_time_seconds") && series.contains(&ours)
        })
        .collect())
}
