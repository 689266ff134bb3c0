//! Lets go of the replicas of a Deployment that naru does not scale: they are nobody's then, and whoever applies others meets
//! no conflict.
//!
//! A field manager that applies without a field which it owns alone has it fall back to its default, which would be 1, or
//! 0 by way of the scale. So the entries in the managed fields themselves are changed, which changes no value.

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    Target,
    scale::{FIELD_MANAGER, Problem, Refusal, within},
};
use crate::controller::{Context, apply::FIRST_REPLICAS};

/// What all field managers of naru's begin with.
const OURS: &str = "naru/";

/// Gives up the replicas of the target's workers. Returns whether that is done: somebody else may just change the Deployment.
pub(super) async fn release(context: &Context, target: &Target) -> Result<bool, Refusal> {
    let name = &target.deployment;
    let deployments: Api<Deployment> = Api::namespaced(context.client.clone(), &target.object.namespace);
    let refused = |problem: Problem| problem.doing(format!("give up the replicas of Deployment {name:?}"));
    let found = within(deployments.get_metadata_opt(name))
        .await
        .map_err(refused)?;
    let Some(patch) = found.and_then(|found| without_replicas(&found.metadata)) else {
        return Ok(true);
    };
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&patch);
    match within(deployments.patch_metadata(name, &parameters, &patch)).await {
        Ok(_) => {
            tracing::info!("gave up the replicas, which others may set now");
            Ok(true)
        }
        Err(Problem::Api(kube::Error::Api(status))) if status.is_conflict() || status.is_not_found() => {
            Ok(false)
        }
        Err(problem) => Err(refused(problem)),
    }
}

/// The change after which the replicas are nobody's of naru's; none if they are not. Pure.
fn without_replicas(found: &ObjectMeta) -> Option<Value> {
    let mut owned = false;
    let mut managed = found.managed_fields.clone().unwrap_or_default();
    for entry in &mut managed {
        let ours = entry
            .manager
            .as_ref()
            .is_some_and(|manager| manager.starts_with(OURS));
        if let Some(fields) = entry.fields_v1.as_mut().filter(|_| ours) {
            owned |= take(&mut fields.0, &["f:spec", "f:replicas"]);
        }
    }
    managed.retain(|entry| {
        entry
            .fields_v1
            .as_ref()
            .is_none_or(|fields| fields.0 != json!({}))
    });
    let first = found
        .annotations
        .as_ref()
        .is_some_and(|annotations| annotations.contains_key(FIRST_REPLICAS));
    (owned || first).then(|| {
        json!({ "metadata": {
            "resourceVersion": found.resource_version,
            "managedFields": managed,
            "annotations": { FIRST_REPLICAS: null },
        } })
    })
}

/// Takes a field out, and what is empty without it. Returns whether it was there.
fn take(fields: &mut Value, path: &[&str]) -> bool {
    let (Some((name, rest)), Some(fields)) = (path.split_first(), fields.as_object_mut()) else {
        return false;
    };
    let taken = match rest {
        [] => fields.remove(*name).is_some(),
        _ => fields.get_mut(*name).is_some_and(|inner| take(inner, rest)),
    };
    if fields.get(*name).is_some_and(|inner| *inner == json!({})) && taken {
        fields.remove(*name);
    }
    taken
}
