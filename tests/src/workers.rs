//! The Deployments and ConfigMaps of resources, as a test looks at them.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{Api, Client, ResourceExt, api::ListParams};

/// Everything of this kind that naru owns in a namespace has it.
const OURS: &str = "app.kubernetes.io/managed-by=naru";

/// The Deployment of this name.
pub async fn deployment(client: &Client, namespace: &str, name: &str) -> Result<Deployment, String> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    deployments.get(name).await.map_err(|e| e.to_string())
}

/// Generation of each Deployment by its name. It changes only with the Deployment's spec.
pub async fn generations(client: &Client, namespace: &str) -> Result<BTreeMap<String, i64>, String> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let all = deployments.list(&ListParams::default().labels(OURS)).await;
    let all = all.map_err(|e| e.to_string())?;
    let generation = |deployment: &Deployment| deployment.metadata.generation.unwrap_or_default();
    Ok(all
        .iter()
        .map(|deployment| (deployment.name_any(), generation(deployment)))
        .collect())
}

/// The uid of each ConfigMap by its name.
pub async fn config_maps(client: &Client, namespace: &str) -> Result<BTreeMap<String, String>, String> {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let all = config_maps.list(&ListParams::default().labels(OURS)).await;
    let all = all.map_err(|e| e.to_string())?;
    let uid = |config_map: &ConfigMap| config_map.uid().unwrap_or_default();
    Ok(all
        .iter()
        .map(|config_map| (config_map.name_any(), uid(config_map)))
        .collect())
}

/// The uid of each pod of workers by its name, and how often its container was started again.
pub async fn pods(client: &Client, namespace: &str) -> Result<BTreeMap<String, (String, i32)>, String> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let all = pods.list(&ListParams::default().labels(OURS)).await;
    let all = all.map_err(|e| e.to_string())?;
    let restarts = |pod: &Pod| {
        let statuses = pod
            .status
            .as_ref()
            .and_then(|status| status.container_statuses.as_ref());
        statuses
            .into_iter()
            .flatten()
            .map(|status| status.restart_count)
            .sum()
    };
    Ok(all
        .iter()
        .map(|pod| (pod.name_any(), (pod.uid().unwrap_or_default(), restarts(pod))))
        .collect())
}

/// Replicas that a Deployment asks for.
pub fn replicas(deployment: &Deployment) -> i32 {
    let spec = deployment.spec.as_ref();
    spec.and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Who has set the replicas of a Deployment last.
pub fn replicas_owner(deployment: &Deployment) -> Option<String> {
    let mut entries = deployment.managed_fields().iter();
    let entry = entries.find(|entry| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
    });
    entry.and_then(|entry| entry.manager.clone())
}

/// The image of its container, and the value of one of its environment variables.
pub fn container(deployment: &Deployment, variable: &str) -> Option<(String, Option<String>)> {
    let container = deployment
        .spec
        .as_ref()?
        .template
        .spec
        .as_ref()?
        .containers
        .first()?;
    let variables = container.env.iter().flatten();
    let value = variables
        .filter(|found| found.name == variable)
        .find_map(|found| found.value.clone());
    Some((container.image.clone()?, value))
}

/// The revision that its pods are of.
pub fn revision(deployment: &Deployment) -> Option<String> {
    let template = deployment.spec.as_ref()?.template.metadata.as_ref()?;
    template.annotations.as_ref()?.get("naru.dev/revision").cloned()
}

/// Whether all pods are of the newest template, and ready; otherwise how many.
pub fn settled(deployment: &Deployment) -> Result<(), String> {
    let status = deployment.status.clone().unwrap_or_default();
    let pods = [status.replicas, status.updated_replicas, status.ready_replicas];
    let wanted = replicas(deployment);
    if status.observed_generation == deployment.metadata.generation
        && pods.iter().all(|count| count.unwrap_or(0) == wanted)
    {
        Ok(())
    } else {
        Err(format!(
            "{}: of {wanted} pods {pods:?} are there, of the newest template, ready",
            deployment.name_any()
        ))
    }
}
