//! Many resources: how long they take to come and go, and what they cost while they stay.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{
    cluster::Cluster,
    error::Error,
    figures::{Crowd, Crud, Report, round},
    process::Process,
    resources::{self, Resources},
    seen::{Seen, Told},
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
        let other = |(name, told): (&String, &Told)| {
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

/// 1,000 resources are there, and the autoscaler looks after each.
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
    settled(&sums, &mut seen, COUNT).await?;
    crate::found("1,000 created", begin);
    report.crowd = Some(Crowd {
        rss: process.rss_at_rest(cluster).await?,
        idle: process.millicores_at_rest(cluster, IDLE).await?,
    });
    let since = Instant::now();
    sums.clear().await?;
    crate::found("1,000 deleted", since);
    Ok(())
}

/// Waits until the operator has nothing left to do.
pub(crate) async fn settled(sums: &Resources, seen: &mut Seen, count: usize) -> Result<(), Error> {
    let scaled = |told: &Told| told.replicas == 0;
    seen.until("each resource has a Deployment without pods", SOON, |all| {
        all.len() >= count && all.values().all(scaled)
    })
    .await?;
    sums.observed().await
}
