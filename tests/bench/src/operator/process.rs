//! The operator's process, seen from the node that it runs on.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, ResourceExt, api::ListParams};
use snafu::{OptionExt, ResultExt};
use tokio::time::Instant;

use super::{
    cluster::{Cluster, OPERATOR, OPERATOR_NAMESPACE, eventually, in_node},
    error::Error,
    figures::round,
};

const READY: Duration = Duration::from_secs(120);
/// An operator that has listed everything and is left alone is at rest after this.
const REST: Duration = Duration::from_secs(20);

/// A container of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pod: String,
    container: String,
}

impl Process {
    /// The one replica.
    pub(crate) async fn only(cluster: &Cluster) -> Result<Self, Error> {
        eventually("one operator is ready", READY, async || {
            match Self::all(cluster).await?.as_slice() {
                [one] => Ok(one.clone()),
                all => Err(Error::new(format!("{} are ready", all.len()))),
            }
        })
        .await
    }

    /// All replicas that are ready.
    pub(crate) async fn all(cluster: &Cluster) -> Result<Vec<Self>, Error> {
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE)
            .list(&ListParams::default().labels("app.kubernetes.io/name=naru"))
            .await
            .whatever_context("failed to list the operator's pods")?;
        let ready = pods.into_iter().filter_map(|pod| {
            let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
            let ready = status.ready && pod.metadata.deletion_timestamp.is_none();
            let container = status.container_id.as_ref()?.strip_prefix("containerd://")?;
            ready.then(|| Self {
                pod: pod.name_any(),
                container: container.to_owned(),
            })
        });
        Ok(ready.collect())
    }

    /// The one replica, after a restart.
    pub(crate) async fn restarted(cluster: &Cluster) -> Result<Self, Error> {
        let before = Self::only(cluster).await?;
        Api::<Deployment>::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE)
            .restart(OPERATOR)
            .await
            .whatever_context("failed to restart the operator")?;
        eventually("another operator is ready", READY, async || {
            let now = Self::only(cluster).await?;
            if now == before {
                return Err(Error::new("it is still the old one"));
            }
            Ok(now)
        })
        .await
    }

    /// Resident memory, megabytes of 10^6 bytes, after a while without anything to do.
    pub(crate) async fn rss_at_rest(&self, cluster: &Cluster) -> Result<f64, Error> {
        let since = Instant::now();
        tokio::time::sleep(REST).await;
        let status = self.read("cat /proc/$pid/status").await?;
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
                .with_whatever_context(|| format!("the node's kernel does not tell {name}"))
        };
        let megabytes = |kilobytes: f64| round(kilobytes * 1024.0 / 1e6);
        let resident = megabytes(kilobytes("VmRSS:")?);
        let anonymous = megabytes(kilobytes("RssAnon:")?);
        let threads = kilobytes("Threads:")?;
        let what = format!(
            "{}: {resident} MB resident, {anonymous} of them anonymous, {threads} threads",
            self.pod
        );
        crate::found(&what, since);
        self.still_there(cluster).await?;
        Ok(resident)
    }

    /// Thousandths of a core that were used in a while without anything to do.
    pub(crate) async fn millicores_at_rest(&self, cluster: &Cluster, period: Duration) -> Result<f64, Error> {
        tokio::time::sleep(REST).await;
        let (used, since) = (self.cpu().await?, Instant::now());
        tokio::time::sleep(period).await;
        let used = self.cpu().await?.saturating_sub(used);
        let millicores = round(1000.0 * used.as_secs_f64() / since.elapsed().as_secs_f64());
        crate::found(&format!("{}: {millicores} millicores", self.pod), since);
        self.still_there(cluster).await?;
        Ok(millicores)
    }

    /// Time on a processor since the container's start.
    async fn cpu(&self) -> Result<Duration, Error> {
        // Version 2 of control groups counts microseconds, version 1 nanoseconds.
        let script = r"
            if group=$(grep '^0::' /proc/$pid/cgroup) && [ -r /sys/fs/cgroup${group#0::}/cpu.stat ]; then
                sed -n 's/^usage_usec \(.*\)/\1000/p' /sys/fs/cgroup${group#0::}/cpu.stat
            else
                cat /sys/fs/cgroup/cpuacct$(sed -n 's/^[0-9]*:[^:]*cpuacct[^:]*://p' /proc/$pid/cgroup)/cpuacct.usage
            fi";
        let answer = self.read(script).await?;
        let nanoseconds = answer
            .trim()
            .parse()
            .with_whatever_context(|_| format!("no time in {answer:?}"))?;
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Ends it with SIGKILL, as a crash would. Its kubelet starts it again.
    pub(crate) async fn kill(&self) -> Result<(), Error> {
        self.read("kill -9 $pid").await.map(|_| ())
    }

    /// Runs a script in the node that knows the process as `$pid`.
    async fn read(&self, script: &str) -> Result<String, Error> {
        // The container's sandbox is in another group.
        let find = r"
            for group in $(grep -ls $1 /proc/[0-9]*/cgroup); do
                pid=${group#/proc/}
                pid=${pid%/cgroup}
                if [ $(cat /proc/$pid/comm) = naru-operator ]; then break; fi
                pid=
            done
            if [ -z $pid ]; then echo no process naru-operator >&2; exit 1; fi";
        in_node(&format!("{find}\n{script}"), &self.container).await
    }

    /// A restart in between makes a figure worthless.
    async fn still_there(&self, cluster: &Cluster) -> Result<(), Error> {
        if Self::all(cluster).await?.contains(self) {
            return Ok(());
        }
        Err(Error::new(format!(
            "{} was restarted while it was measured: see `kubectl -n {OPERATOR_NAMESPACE} describe pod {}`",
            self.pod, self.pod
        )))
    }

    /// The operator's own counters: each metric summed over its labels.
    pub(crate) async fn counters(&self, cluster: &Cluster) -> Result<BTreeMap<String, f64>, Error> {
        let path = format!(
            "/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{}:8080/proxy/metrics",
            self.pod
        );
        let request = http::Request::get(path)
            .body(Vec::new())
            .whatever_context("failed to ask for metrics")?;
        let text = cluster
            .client
            .request_text(request)
            .await
            .whatever_context("the operator does not tell its metrics")?;
        Ok(sums(&text))
    }
}

/// Label values of requests that no pass over a resource makes.
const NOT_IN_A_PASS: [&str; 3] = ["\"watch\"", "\"leases\"", "\"deployments/scale\""];

/// Each metric of a text in the Prometheus format, summed over its labels, without requests that no pass makes.
fn sums(text: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        if NOT_IN_A_PASS.iter().any(|value| labels.contains(value)) {
            continue;
        }
        *sums.entry(name.to_owned()).or_default() += value.parse().unwrap_or(0.0);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_its_labels_but_for_what_no_pass_asks() {
        let text = "# TYPE requests counter\n\
                    requests_total{verb=\"patch\",code=\"200\"} 3\n\
                    requests_total{verb=\"watch\",code=\"200\"} 9\n\
                    requests_total{verb=\"update\",resource=\"leases\",code=\"200\"} 7\n\
                    requests_total{verb=\"get\",code=\"404\"} 2\n\
                    up 1\n# EOF\n";
        let expected = [("requests_total".to_owned(), 5.0), ("up".to_owned(), 1.0)];
        assert_eq!(sums(text), BTreeMap::from(expected));
    }
}
