//! Many resources: how long they take to come and go, and what they cost while they stay.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use super::{
    cluster::Cluster,
    error::Error,
    figures::{Crowd, Crud, Report, round},
    process::Process,
    resources::{self, Resources},
    seen::Seen,
};

const SOON: Duration = Duration::from_secs(180);
/// Kubernetes' garbage collector makes 20 requests a second, and needs several for each resource.
const COLLECTED: Duration = Duration::from_secs(300);
const IDLE: Duration = Duration::from_secs(30);

/// 500 resources are created, changed and deleted. Each step begins when the one before has shown for all of them.
pub(crate) async fn come_and_go(cluster: &Cluster, report: &mut Report) -> Result<(), Error> {
    const COUNT: usize = 500;
    let sums = Resources::sums(cluster);
    sums.clear().await?;
    let mut seen = Seen::of(cluster);
    seen.until("no Deployment is left", COLLECTED, BTreeMap::is_empty)
        .await?;
    let begin = Instant::now();
    sums.create(0..COUNT, &resources::sum(cluster)).await?;
    seen.until("500 Deployments", SOON, |all| all.len() >= COUNT)
        .await?;
    let created = Instant::now();
    crate::found("500 created", begin);

    let before = seen.now();
    sums.edit_all(0..COUNT, &resources::change(0)).await?;
    seen.until("500 Deployments change", SOON, |all| {
        let other = |(name, told): (&String, &super::seen::Told)| {
            before
                .get(name)
                .is_none_or(|before| before.template != told.template)
        };
        all.iter().filter(|entry| other(*entry)).count() >= COUNT
    })
    .await?;
    let changed = Instant::now();
    crate::found("500 changed", created);

    sums.delete(0..COUNT).await?;
    let deleted = Instant::now();
    crate::found("500 deleted", changed);

    seen.until("no Deployment is left", COLLECTED, BTreeMap::is_empty)
        .await?;
    crate::found("their Deployments collected", deleted);
    let seconds = |from: Instant, to: Instant| round(to.duration_since(from).as_secs_f64());
    report.crud = Some(Crud {
        all: seconds(begin, deleted),
        create: seconds(begin, created),
        change: seconds(created, changed),
        delete: seconds(changed, deleted),
        collect: seconds(deleted, Instant::now()),
    });
    Ok(())
}

/// 1,000 resources are there: first suspended, then looked after by the autoscaler.
pub(crate) async fn stay(cluster: &Cluster, report: &mut Report) -> Result<(), Error> {
    const COUNT: usize = 1000;
    let sums = Resources::sums(cluster);
    sums.clear().await?;
    let mut seen = Seen::of(cluster);
    seen.until("no Deployment is left", COLLECTED, BTreeMap::is_empty)
        .await?;
    let process = Process::only(cluster).await?;
    let begin = Instant::now();
    sums.create(0..COUNT, &resources::sum(cluster)).await?;
    seen.until("1,000 Deployments", SOON, |all| all.len() >= COUNT)
        .await?;
    sums.observed().await?;
    crate::found("1,000 created", begin);
    let rss_suspended = process.rss_at_rest(cluster).await?;

    let since = Instant::now();
    sums.edit_all(0..COUNT, &json!({ "spec": { "suspend": false } }))
        .await?;
    sums.observed().await?;
    crate::found("1,000 resumed", since);
    let rss = process.rss_at_rest(cluster).await?;
    report.crowd = Some(Crowd {
        rss,
        rss_suspended,
        idle: process.millicores_at_rest(cluster, IDLE).await?,
    });
    let since = Instant::now();
    sums.clear().await?;
    crate::found("1,000 deleted", since);
    Ok(())
}
