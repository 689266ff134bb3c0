//! How long nobody acts when the leader goes.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use snafu::{OptionExt, ResultExt};
use tokio::time::Instant;

use super::{
    cluster::{Cluster, OPERATOR, OPERATOR_NAMESPACE, command, eventually},
    edits,
    error::Error,
    figures::{Failover, Report, round},
    process::Process,
    resources::{self, Resources},
    seen::Seen,
};

const ROUNDS: usize = 3;
const SOON: Duration = Duration::from_secs(120);

pub(crate) async fn measure(cluster: &Cluster, report: &mut Report) -> Result<(), Error> {
    let deployments = Api::<Deployment>::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE);
    let deployment = deployments
        .get(OPERATOR)
        .await
        .whatever_context("failed to read the operator's Deployment")?;
    let before = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let measured = rounds(cluster, report).await;
    // Whatever came of it.
    measured.and(replicas(before).await)
}

async fn rounds(cluster: &Cluster, report: &mut Report) -> Result<(), Error> {
    replicas(2).await?;
    let sums = Resources::sums(cluster);
    sums.clear().await?;
    let mut seen = Seen::of(cluster);
    sums.create(0..1, &resources::sum(cluster)).await?;
    let first = format!("{}-sum", sums.name(0));
    seen.until("a Deployment", SOON, |all| all.contains_key(&first))
        .await?;
    let (mut clean, mut kill) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        clean = clean.max(change_leader(cluster, &sums, &mut seen, End::Told, 2 * round).await?);
        kill = kill.max(change_leader(cluster, &sums, &mut seen, End::Killed, 2 * round + 1).await?);
    }
    report.failover = Some(Failover {
        failover_rounds: ROUNDS,
        failover_clean_s: round(clean.as_secs_f64()),
        failover_kill_s: round(kill.as_secs_f64()),
    });
    sums.clear().await
}

#[derive(Clone, Copy, Debug)]
enum End {
    Told,
    Killed,
}

/// Ends the leader, and waits until its successor has changed something. An edit that the old leader could still have
/// carried out would say nothing, so that it is made when there is a new one.
async fn change_leader(
    cluster: &Cluster,
    sums: &Resources,
    seen: &mut Seen,
    end: End,
    number: usize,
) -> Result<Duration, Error> {
    let (leader, old) = eventually("two operators are ready, and one leads", SOON, async || {
        let processes = Process::all(cluster).await?;
        let held = Held::now(cluster).await?;
        let leader = processes
            .iter()
            .find(|process| held.holder.starts_with(&process.pod))
            .cloned();
        match (leader, processes.len()) {
            (Some(leader), 2) => Ok((leader, held)),
            (_, ready) => Err(Error::new(format!("{ready} are ready, {:?} leads", held.holder))),
        }
    })
    .await?;
    let start = Instant::now();
    match end {
        End::Told => {
            Api::<Pod>::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE)
                .delete(&leader.pod, &DeleteParams::default())
                .await
                .whatever_context("failed to delete the leader's pod")?;
        }
        End::Killed => leader.kill().await?,
    }
    eventually("there is another leader", SOON, async || {
        let now = Held::now(cluster).await?;
        if now.holder.is_empty() || now == old {
            return Err(Error::new(format!("{:?} leads", now.holder)));
        }
        Ok(())
    })
    .await?;
    let elected = start.elapsed();
    // A multiple of the resources that edits are spread over: always the first one.
    edits::edit(sums, seen, 100 * (1 + number)).await?;
    let acted = start.elapsed();
    crate::found(
        &format!(
            "{end:?}: another leader after {:.2} s, its first change after {:.2} s",
            elected.as_secs_f64(),
            acted.as_secs_f64()
        ),
        start,
    );
    Ok(acted)
}

/// Who holds the operator's Lease, and since when.
#[derive(Debug, PartialEq)]
struct Held {
    holder: String,
    acquired: Option<String>,
}

impl Held {
    async fn now(cluster: &Cluster) -> Result<Self, Error> {
        let leases = Api::<Lease>::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE)
            .list(&ListParams::default())
            .await
            .whatever_context("failed to list Leases")?;
        let lease = leases
            .into_iter()
            .find(|lease| {
                lease
                    .metadata
                    .name
                    .as_ref()
                    .is_some_and(|name| name.starts_with(OPERATOR))
            })
            .and_then(|lease| lease.spec)
            .with_whatever_context(|| {
                format!("there is no Lease of the operator's in namespace {OPERATOR_NAMESPACE}")
            })?;
        Ok(Self {
            holder: lease.holder_identity.unwrap_or_default(),
            acquired: lease.acquire_time.map(|time| format!("{time:?}")),
        })
    }
}

/// Makes the chart ask for so many operators, and waits for them.
async fn replicas(count: i32) -> Result<(), Error> {
    let since = Instant::now();
    let set = format!("replicas={count}");
    let chart = [
        "upgrade",
        OPERATOR,
        "charts/naru",
        "--namespace",
        OPERATOR_NAMESPACE,
        "--reuse-values",
    ];
    command(
        "helm",
        &[&chart[..], &["--wait", "--timeout", "3m", "--set", &set]].concat(),
    )
    .await?;
    crate::found(&set, since);
    Ok(())
}
