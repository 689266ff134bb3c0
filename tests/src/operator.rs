//! The operator that `deploy/install` has installed, as its own pods tell of it.

use std::collections::BTreeMap;

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::cluster::{ensure, kubectl};

/// Where it is installed.
pub const NAMESPACE: &str = "naru-system";
/// Name of its Deployment and of its Lease.
pub const NAME: &str = "naru";

/// The pod that leads.
pub async fn leader(client: &Client) -> Result<String, String> {
    let leases = Api::<Lease>::namespaced(client.clone(), NAMESPACE);
    let lease = leases.get(NAME).await.map_err(|e| e.to_string())?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    // Each start of a pod's container is another holder.
    let pod = holder.as_deref().and_then(|holder| holder.rsplit_once('_'));
    pod.map(|(pod, _)| pod.to_owned())
        .ok_or_else(|| format!("{holder:?} holds the Lease"))
}

/// Whether an operator works: the one that holds the Lease says itself that it leads and has seen what there is. One that
/// stands by is ready, too, and does nothing.
pub async fn works(client: &Client) -> Result<(), String> {
    let leader = leader(client).await?;
    let uri = format!("/api/v1/namespaces/{NAMESPACE}/pods/{leader}:8080/proxy/readyz");
    let request = http::Request::get(uri)
        .body(Vec::new())
        .map_err(|e| e.to_string())?;
    let says = client.request_text(request).await.map_err(|e| e.to_string())?;
    ensure(says.trim() == "ok", || format!("{leader} says {says:?}"))
}

/// The pods that are ready and stay.
pub async fn ready(client: &Client) -> Result<Vec<String>, String> {
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let operators =
        ListParams::default().labels("app.kubernetes.io/name=naru,app.kubernetes.io/instance=naru");
    let pods = pods.list(&operators).await.map_err(|e| e.to_string())?;
    let ready = pods.iter().filter(|pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let mut conditions = conditions.into_iter().flatten();
        pod.metadata.deletion_timestamp.is_none()
            && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
    });
    Ok(ready.map(ResourceExt::name_any).collect())
}

/// What a pod answers at a path.
pub async fn ask(pod: &str, path: &str) -> Result<String, String> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy{path}");
    kubectl(&["get", "--raw", &path]).await
}

/// The metrics of a pod: values by series.
pub async fn metrics(pod: &str) -> Result<BTreeMap<String, f64>, String> {
    let text = ask(pod, "/metrics").await?;
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let values = series.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    Ok(values.collect())
}

/// Passes that a pod has made over resources since it started.
pub async fn passes(pod: &str) -> Result<f64, String> {
    let metrics = metrics(pod).await?;
    let passes = metrics
        .iter()
        .filter(|(series, _)| series.starts_with("naru_operator_reconciles_total"));
    Ok(passes.map(|(_, count)| count).sum())
}
