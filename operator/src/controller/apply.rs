//! Makes children what they should be.

#[cfg(test)]
mod tests;

use std::fmt::Debug;

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ConfigMap, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
    runtime::events::EventType,
};
use naru_api::condition::reason;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Context,
    drift::{self, Decision, decide, differences},
    error::{Error, within},
    events::tell,
    live::{Kept, Live, controller},
};

/// Field manager of everything that reconcilers apply. The autoscaler has its own, so that it alone owns replicas.
pub const FIELD_MANAGER: &str = "naru/operator";
/// Field manager of the autoscaler: reconcilers leave `spec.replicas` out of what they apply, so that it is this one's
/// alone.
pub const AUTOSCALER: &str = "naru/autoscaler";
/// Instead of the hash of what was applied, while a child is being made in several steps.
const BEGUN: &str = "begun";

/// A kind that resources own.
pub trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize
{
    /// Whether it never changes once it is there.
    const IMMUTABLE: bool;

    fn kept(live: &Live) -> &Kept<Self>;
}

impl Child for Deployment {
    const IMMUTABLE: bool = false;

    fn kept(live: &Live) -> &Kept<Self> {
        &live.deployments
    }
}

impl Child for ConfigMap {
    const IMMUTABLE: bool = true;

    fn kept(live: &Live) -> &Kept<Self> {
        &live.config_maps
    }
}

impl Child for PodDisruptionBudget {
    const IMMUTABLE: bool = false;

    fn kept(live: &Live) -> &Kept<Self> {
        &live.budgets
    }
}

/// Whether all is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Yes,
    /// Somebody keeps changing the child. It is changed back more and more rarely.
    Later,
}

/// Makes a child what it should be. Asks for nothing and writes nothing where it is so already. `first`: how many
/// replicas a Deployment begins with, where that is not what it is to have later on.
pub async fn settle<K, C>(
    context: &Context,
    owner: &K,
    wanted: &C,
    first: Option<i32>,
) -> Result<Settled, Error>
where
    K: Resource<DynamicType = ()>,
    C: Child,
{
    let (namespace, name) = (owner.namespace().unwrap_or_default(), wanted.name_any());
    let live = C::kept(&context.live).get(&namespace, &name);
    if let Some(live) = &live {
        refuse_others(owner, live)?;
    }
    match decide(wanted, live.as_ref()) {
        Decision::Nothing => {}
        Decision::Apply if live.is_some() => {
            if let (true, Some(replicas)) = (live.as_ref().is_some_and(is_begun), first) {
                hand_over(context, &namespace, wanted, replicas).await?;
            }
            patch(context, &namespace, wanted).await?;
        }
        Decision::Apply => make(context, owner, wanted, first).await?,
        Decision::Repair(fields) => return repair(context, owner, wanted, &fields).await,
    }
    Ok(Settled::Yes)
}

/// Whether a pass that made it has ended half-way.
fn is_begun<C: Child>(live: &C) -> bool {
    live.annotations()
        .get(drift::APPLIED)
        .is_some_and(|applied| applied == BEGUN)
}

/// Makes a child that is not there, and tells so if somebody else has deleted it.
async fn make<K, C>(context: &Context, owner: &K, wanted: &C, first: Option<i32>) -> Result<(), Error>
where
    K: Resource<DynamicType = ()>,
    C: Child,
{
    let (namespace, name) = (owner.namespace().unwrap_or_default(), wanted.name_any());
    let uid = owner.meta().uid.as_deref().unwrap_or_default();
    let lost = C::kept(&context.live).lost(&namespace, &name, uid);
    if C::IMMUTABLE {
        create(context, owner, wanted).await?;
    } else {
        // An apply would take over what is there, so it is looked at first.
        match (get::<C>(context, &namespace, &name).await?, first) {
            (Some(found), _) => refuse_others(owner, &found)?,
            (None, Some(replicas)) => begin(context, &namespace, wanted, replicas).await?,
            (None, None) => {}
        }
        patch(context, &namespace, wanted).await?;
    }
    if lost {
        let kind = C::kind(&());
        tracing::info!(%kind, %namespace, %name, "created again what somebody else deleted");
        let note = format!("somebody deleted {kind} {name:?}, which was created again");
        let (type_, reason) = (EventType::Warning, reason::DRIFT_REPAIRED);
        tell(context, owner, type_, reason, "Repair", note).await;
    }
    Ok(())
}

/// Changes back what somebody else has changed, and tells so.
async fn repair<K, C>(context: &Context, owner: &K, wanted: &C, fields: &[String]) -> Result<Settled, Error>
where
    K: Resource<DynamicType = ()>,
    C: Child,
{
    let (namespace, name, kind) = (
        owner.namespace().unwrap_or_default(),
        wanted.name_any(),
        C::kind(&()),
    );
    let (what, now) = (format!("{kind}/{namespace}/{name}"), Instant::now().into_std());
    if !context.repairs.due(&what, now) {
        return Ok(Settled::Later);
    }
    context.repairs.done(&what, now);
    let answer = patch(context, &namespace, wanted).await?;
    let fields = fields.join(", ");
    if !differences(wanted, &answer).is_empty() {
        tracing::warn!(%kind, %namespace, %name, fields, "failed to change back what somebody else changed");
        return Ok(Settled::Later);
    }
    tracing::info!(%kind, %namespace, %name, fields, "changed back what somebody else changed");
    let note = format!("somebody changed {fields} of {kind} {name:?}, which was changed back");
    let (type_, reason) = (EventType::Warning, reason::DRIFT_REPAIRED);
    tell(context, owner, type_, reason, "Repair", note).await;
    Ok(Settled::Yes)
}

/// Makes a child with its first replicas, which are then handed over.
async fn begin<C: Child>(context: &Context, namespace: &str, wanted: &C, replicas: i32) -> Result<(), Error> {
    let mut first = serde_json::to_value(wanted).expect("Kubernetes objects have text as keys");
    // If it ends here, the next pass goes on.
    first["metadata"]["annotations"][drift::APPLIED] = BEGUN.into();
    first["spec"]["replicas"] = replicas.into();
    apply_as(context, namespace, wanted, FIELD_MANAGER, first).await?;
    hand_over(context, namespace, wanted, replicas).await
}

/// Makes the first replicas the autoscaler's: so they stay when the apply that follows leaves them out.
async fn hand_over<C: Child>(
    context: &Context,
    namespace: &str,
    wanted: &C,
    replicas: i32,
) -> Result<(), Error> {
    let theirs = json!({
        "apiVersion": C::api_version(&()), "kind": C::kind(&()), "metadata": { "name": wanted.name_any() },
        "spec": { "replicas": replicas },
    });
    apply_as(context, namespace, wanted, AUTOSCALER, theirs).await
}

async fn apply_as<C: Child>(
    context: &Context,
    namespace: &str,
    wanted: &C,
    manager: &str,
    part: Value,
) -> Result<(), Error> {
    let (api, name) = (api::<C>(context, namespace), wanted.name_any());
    let (parameters, part) = (PatchParams::apply(manager).force(), Patch::Apply(part));
    let applied = within(api.patch(&name, &parameters, &part), || {
        format!("make {} {name:?}", C::kind(&()))
    });
    applied.await.map(drop)
}

async fn patch<C: Child>(context: &Context, namespace: &str, wanted: &C) -> Result<C, Error> {
    let (api, name) = (api::<C>(context, namespace), wanted.name_any());
    let (parameters, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(wanted));
    let began = C::kept(&context.live).begin();
    let answer = within(api.patch(&name, &parameters, &patch), || {
        format!("apply {} {name:?}", C::kind(&()))
    })
    .await?;
    C::kept(&context.live).put(began, &answer);
    Ok(answer)
}

/// One request where [`settle`] would need two: what never changes need not be applied.
async fn create<K, C>(context: &Context, owner: &K, wanted: &C) -> Result<(), Error>
where
    K: Resource<DynamicType = ()>,
    C: Child,
{
    let (namespace, name) = (owner.namespace().unwrap_or_default(), wanted.name_any());
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let began = C::kept(&context.live).begin();
    let api = api::<C>(context, &namespace);
    let answer = within(api.create(&parameters, wanted), || {
        format!("create {} {name:?}", C::kind(&()))
    });
    match answer.await {
        Ok(answer) => C::kept(&context.live).put(began, &answer),
        // The watch is behind, or it is somebody else's.
        Err(Error::Kubernetes {
            source: kube::Error::Api(status),
            ..
        }) if status.is_already_exists() => {
            if let Some(found) = get::<C>(context, &namespace, &name).await? {
                refuse_others(owner, &found)?;
            }
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What the API server has, whatever the watch shows.
pub async fn get<C: Child>(context: &Context, namespace: &str, name: &str) -> Result<Option<C>, Error> {
    let api = api::<C>(context, namespace);
    within(api.get_opt(name), || format!("read {} {name:?}", C::kind(&()))).await
}

fn api<C: Child>(context: &Context, namespace: &str) -> Api<C> {
    Api::namespaced(context.client.clone(), namespace)
}

/// What has the name of a child and is not ours stays as it is.
fn refuse_others<K, C>(owner: &K, found: &C) -> Result<(), Error>
where
    K: Resource<DynamicType = ()>,
    C: Child,
{
    if owns(owner, found) {
        return Ok(());
    }
    let (kind, name) = (C::kind(&()), found.name_any());
    let before =
        controller(found).is_some_and(|other| other.kind == K::kind(&()) && other.name == owner.name_any());
    let message = if before {
        format!("{kind} {name:?} belongs to a resource of the same name that was deleted, and is about to go")
    } else {
        format!(
            "there is a {kind} {name:?} that belongs to somebody else: delete it, or give this resource another name"
        )
    };
    Err(Error::dependency(reason::NAME_CONFLICT, message))
}

/// Whether the resource is the controlling owner of a child.
pub fn owns<K: Resource<DynamicType = ()>, C: Resource>(owner: &K, child: &C) -> bool {
    let uid = owner.meta().uid.as_deref();
    controller(child).is_some_and(|controller| Some(controller.uid.as_str()) == uid)
}

/// Makes the resource the controlling owner of a child: the child goes when the resource goes.
pub fn owner<K: Resource<DynamicType = ()>>(owner: &K) -> Vec<OwnerReference> {
    owner.controller_owner_ref(&()).into_iter().collect()
}
