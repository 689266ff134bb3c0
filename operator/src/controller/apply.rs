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
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Context,
    drift::{Decision, decide, differences},
    error::{Error, within},
    events::tell,
    live::{Followed, Kept, Live, controller},
};

/// Field manager of everything that reconcilers apply. Whoever sets the replicas of a Deployment, the autoscaler first of
/// all, has another one, and owns them from then on.
pub const FIELD_MANAGER: &str = "naru/operator";
/// Annotation of a Deployment: the replicas that it began with, until somebody has set others.
pub const FIRST_REPLICAS: &str = "naru.dev/first-replicas";

/// A kind that resources own.
pub trait Child: Followed + Resource<Scope = NamespaceResourceScope> + Debug {
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

/// Replicas that a Deployment is given though they are not what it is to have later on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Begins {
    /// When it is made.
    pub at_first: Option<i32>,
    /// When it is changed.
    pub again: Option<i32>,
}

/// Whether all is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Yes,
    /// Somebody keeps changing the child. It is changed back more and more rarely.
    Later,
}

/// Makes a child what it should be. Asks for nothing and writes nothing where it is so already.
pub async fn settle<K, C>(context: &Context, owner: &K, wanted: &C, begins: Begins) -> Result<Settled, Error>
where
    K: Resource<DynamicType = ()>,
    C: Child,
{
    let (namespace, name) = (owner.namespace().unwrap_or_default(), wanted.name_any());
    let live = C::kept(&context.live).get(&namespace, &name);
    if let Some(live) = &live {
        refuse_others(owner, live)?;
    }
    let decision = decide(&wanted.pruned(), live.as_ref());
    match (decision, &live) {
        (Decision::Nothing, _) => Ok(Settled::Yes),
        (Decision::Apply, Some(live)) => change(context, wanted, live, begins.again)
            .await
            .map(|_| Settled::Yes),
        (Decision::Repair(fields), Some(live)) => repair(context, owner, wanted, live, &fields).await,
        (Decision::Apply | Decision::Repair(_), None) => make(context, owner, wanted, begins.at_first).await,
    }
}

/// Makes a child that is not there, and tells so if somebody else has deleted it.
async fn make<K, C>(context: &Context, owner: &K, wanted: &C, first: Option<i32>) -> Result<Settled, Error>
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
        introduce(context, owner, wanted, first).await?;
    }
    if lost {
        let kind = C::kind(&());
        tracing::info!(%kind, %namespace, %name, "created again what somebody else deleted");
        let note = format!("somebody deleted {kind} {name:?}, which was created again");
        let (type_, reason) = (EventType::Warning, reason::DRIFT_REPAIRED);
        tell(context, owner, type_, reason, "Repair", note).await;
    }
    Ok(Settled::Yes)
}

/// Changes back what somebody else has changed, and tells so.
async fn repair<K, C>(
    context: &Context,
    owner: &K,
    wanted: &C,
    live: &C,
    fields: &[String],
) -> Result<Settled, Error>
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
    let answer = change(context, wanted, live, None).await?;
    context.repairs.done(&what, now);
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

/// Applies a child of which the watch knows nothing.
async fn introduce<K, C>(context: &Context, owner: &K, wanted: &C, first: Option<i32>) -> Result<(), Error>
where
    K: Resource<DynamicType = ()>,
    C: Child,
{
    let made = match first {
        Some(replicas) => with_replicas(wanted, replicas),
        None => to_json(wanted),
    };
    // Without force nothing is taken over that somebody else has made otherwise.
    match apply(context, wanted, made, false).await {
        Err(error) if error.is_conflict() || error.is_invalid() => {
            let (namespace, name) = (owner.namespace().unwrap_or_default(), wanted.name_any());
            let Some(found) = get::<C>(context, &namespace, &name).await? else {
                return Err(error);
            };
            // The watch is behind.
            refuse_others(owner, &found)?;
            change(context, wanted, &found, None).await.map(drop)
        }
        applied => applied.map(drop),
    }
}

/// Applies a child over what there is.
async fn change<C: Child>(context: &Context, wanted: &C, live: &C, again: Option<i32>) -> Result<C, Error> {
    let first = live.annotations().get(FIRST_REPLICAS);
    let first: Option<i32> = first.and_then(|first| first.parse().ok());
    let unchanged = first.filter(|first| to_json(live)["spec"]["replicas"] == *first);
    let part = match again.or(unchanged) {
        // Nobody else has set them yet, and what we own and leave out would fall back to 1. Of this version only: the
        // autoscaler may be about to set them.
        Some(first) => {
            let mut part = with_replicas(wanted, first);
            part["metadata"]["resourceVersion"] = live.resource_version().into();
            part
        }
        None => to_json(wanted),
    };
    apply(context, wanted, part, true).await
}

/// With the replicas that a Deployment begins with. They are ours until somebody sets others.
fn with_replicas<C: Child>(wanted: &C, replicas: i32) -> Value {
    let mut with = to_json(wanted);
    with["metadata"]["annotations"][FIRST_REPLICAS] = replicas.to_string().into();
    with["spec"]["replicas"] = replicas.into();
    with
}

async fn apply<C: Child>(context: &Context, wanted: &C, part: Value, force: bool) -> Result<C, Error> {
    let (namespace, name) = (wanted.namespace().unwrap_or_default(), wanted.name_any());
    let (api, kept) = (api::<C>(context, &namespace), C::kept(&context.live));
    let parameters = PatchParams {
        force,
        ..PatchParams::apply(FIELD_MANAGER)
    };
    let began = kept.begin();
    let answer = within(api.patch(&name, &parameters, &Patch::Apply(part)), || {
        format!("apply {} {name:?}", C::kind(&()))
    })
    .await?;
    kept.put(began, &answer);
    Ok(answer)
}

fn to_json<C: Child>(child: &C) -> Value {
    serde_json::to_value(child).expect("Kubernetes objects have text as keys")
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
