//! Server-side apply of what a resource owns.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use snafu::ResultExt;

use super::error::{Error, error::KubernetesSnafu};

/// Field manager of everything that reconcilers apply. The autoscaler has its own, so that it alone owns replicas.
pub const FIELD_MANAGER: &str = "naru/operator";

/// Applies a child and returns it as the API server has it now.
pub async fn apply<K>(client: &Client, namespace: &str, child: &K) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize,
{
    Api::<K>::namespaced(client.clone(), namespace)
        .patch(
            &child.name_any(),
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(child),
        )
        .await
        .with_context(|_| KubernetesSnafu {
            doing: format!("apply {} {:?}", K::kind(&()), child.name_any()),
        })
}

/// Makes the resource the controlling owner of a child: the child goes when the resource goes.
pub fn owner<K: Resource<DynamicType = ()>>(owner: &K) -> Vec<OwnerReference> {
    owner.controller_owner_ref(&()).into_iter().collect()
}
