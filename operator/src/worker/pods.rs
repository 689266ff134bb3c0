//! Why pods do not come up. Asked for only where it is known that they do not.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStatus, Pod},
};
use kube::{Api, ResourceExt, api::ListParams};

use super::revision;
use crate::controller::{Context, Error, error::within};

/// Most pods that are looked at.
const MOST: u32 = 50;

/// The clearest reason why a pod of this Deployment's current template does not come up; none if all are about to.
pub(super) async fn failing(context: &Context, deployment: &Deployment) -> Result<Option<String>, Error> {
    let namespace = deployment.namespace().unwrap_or_default();
    let labels = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.match_labels.as_ref());
    let selector: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let pods = Api::<Pod>::namespaced(context.client.clone(), &namespace);
    let parameters = ListParams::default().labels(&selector.join(",")).limit(MOST);
    let pods = within(pods.list(&parameters), || {
        format!("list the pods of Deployment {:?}", deployment.name_any())
    })
    .await?;
    let revision = revision::running(deployment);
    let current = pods.items.iter().filter(|pod| revision::of_pod(pod) == revision);
    Ok(clearest(current))
}

/// The same pods always have the same reason, in whatever order they come.
fn clearest<'a>(pods: impl Iterator<Item = &'a Pod>) -> Option<String> {
    pods.filter_map(why).min().map(|(_, text)| text)
}

/// What keeps a pod from being ready, the surest first. None if nothing is wrong with it, or nothing yet.
fn why(pod: &Pod) -> Option<(u8, String)> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let broken = containers
        .filter(|container| !container.ready)
        .find_map(container);
    let conditions = status.conditions.iter().flatten();
    let unscheduled = || {
        let mut conditions = conditions.clone();
        let condition = conditions.find(|condition| {
            condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
        })?;
        let message = condition.message.as_deref().unwrap_or("no node has room for it");
        Some((2, format!("a pod cannot be scheduled: {message}")))
    };
    broken.or_else(unscheduled)
}

fn container(container: &ContainerStatus) -> Option<(u8, String)> {
    let state = container.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let last = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let ended = state.and_then(|state| state.terminated.as_ref()).or(last);
    let name = &container.name;
    if let Some(ended) = ended.filter(|ended| ended.exit_code != 0) {
        let reason = ended.reason.as_deref().unwrap_or("Error");
        let code = ended.exit_code;
        return Some((
            0,
            format!("container {name:?} ends with exit code {code} ({reason})"),
        ));
    }
    let waiting = waiting?;
    let message = waiting.message.as_deref();
    match waiting.reason.as_deref()? {
        // These take turns.
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" => Some((
            1,
            format!(
                "image {:?} of container {name:?} cannot be pulled",
                container.image
            ),
        )),
        reason @ ("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => Some((
            1,
            format!(
                "container {name:?} cannot be started ({reason}): {}",
                message.unwrap_or("no reason given")
            ),
        )),
        "CrashLoopBackOff" => Some((0, format!("container {name:?} ends again and again"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "x" }, "status": status })).unwrap()
    }

    fn of(state: &Value, last: &Value) -> Pod {
        pod(&json!({ "containerStatuses": [{
            "name": "fetcher", "ready": false, "restartCount": 3, "image": "naru/workers:2", "imageID": "",
            "state": state, "lastState": last,
        }] }))
    }

    #[test]
    fn each_way_not_to_come_up_has_its_words() {
        let ended = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
        let running = json!({ "running": {} });
        let waiting = |reason: &str| json!({ "waiting": { "reason": reason, "message": "back-off 5m0s" } });
        let crash = "container \"fetcher\" ends with exit code 1 (Error)";
        let image = "image \"naru/workers:2\" of container \"fetcher\" cannot be pulled";
        let cases = [
            (of(&waiting("CrashLoopBackOff"), &ended), Some(crash)),
            // In between it runs for a moment.
            (of(&running, &ended), Some(crash)),
            (of(&ended, &json!({})), Some(crash)),
            (of(&waiting("ErrImagePull"), &json!({})), Some(image)),
            (of(&waiting("ImagePullBackOff"), &json!({})), Some(image)),
            (
                of(&waiting("CreateContainerConfigError"), &json!({})),
                Some("container \"fetcher\" cannot be started (CreateContainerConfigError): back-off 5m0s"),
            ),
            (of(&waiting("ContainerCreating"), &json!({})), None),
            (of(&running, &json!({})), None),
            (
                pod(
                    &json!({ "conditions": [{ "type": "PodScheduled", "status": "False",
                    "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu." }] }),
                ),
                Some("a pod cannot be scheduled: 0/1 nodes are available: 1 Insufficient cpu."),
            ),
        ];
        for (pod, expected) in cases {
            assert_eq!(clearest([&pod].into_iter()).as_deref(), expected, "{pod:?}");
        }
    }

    #[test]
    fn among_many_pods_the_surest_reason_is_told_whatever_their_order() {
        let ended = of(
            &json!({}),
            &json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }),
        );
        let pulling = of(&json!({ "waiting": { "reason": "ErrImagePull" } }), &json!({}));
        let text = clearest([&pulling, &ended].into_iter());
        assert_eq!(
            text.as_deref(),
            Some("container \"fetcher\" ends with exit code 137 (OOMKilled)")
        );
        assert_eq!(text, clearest([&ended, &pulling].into_iter()));
    }
}
