//! What a resource says of itself after a pass.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::{DefaultHasher, Hasher},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::{NamespaceResourceScope, object::HasStatus},
};
use naru_api::{
    ScalingStatus,
    condition::{Condition, OF_RECONCILERS},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    Context,
    conditions::{self, Ended},
    error::{Error, within},
};

const FIELD_MANAGER: &str = "naru/status";

/// Status of a kind.
pub trait Conditions: Clone + Debug + Default + DeserializeOwned + PartialEq + Serialize {
    fn conditions(&self) -> &[Condition];
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;
    fn observe(&mut self, generation: Option<i64>);
    /// What the autoscaler says beside its conditions, where the kind is scaled.
    fn scaling_mut(&mut self) -> Option<&mut Option<ScalingStatus>>;
}

macro_rules! statuses {
    ($($status:ty: |$this:ident| $scaling:expr),*) => {$(
        impl Conditions for $status {
            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }

            fn conditions_mut(&mut self) -> &mut Vec<Condition> {
                &mut self.conditions
            }

            fn observe(&mut self, generation: Option<i64>) {
                self.observed_generation = generation;
            }

            fn scaling_mut(&mut self) -> Option<&mut Option<ScalingStatus>> {
                let $this = self;
                $scaling
            }
        }
    )*};
}
statuses!(
    naru_api::ScrapeJobStatus: |this| Some(&mut this.scaling),
    naru_api::FilteredSumStatus: |this| Some(&mut this.scaling),
    naru_api::SinkConnectorStatus: |_this| None
);

/// Writes the status and the events that follow from how a pass ended. `fill` sets what only this kind has.
pub async fn conclude<K>(
    context: &Context,
    object: &K,
    ended: &Ended<'_>,
    fill: impl FnOnce(&mut K::Status),
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + HasStatus<Status: Conditions>,
{
    // Nothing was found out.
    if let Err(Error::Busy { .. }) = ended.outcome {
        return Ok(());
    }
    let before = ours(context.written.latest(object).unwrap_or_default());
    let generation = object.meta().generation;
    let mut after = before.clone();
    after.observe(generation);
    *after.conditions_mut() =
        conditions::conditions(before.conditions(), ended, generation, Timestamp::now());
    fill(&mut after);
    // Each write would wake the controller again.
    if before == after {
        return Ok(());
    }
    write(context, object, &before, &after).await
}

/// A hash of what a pass goes by of a resource itself: what is declared, and what we have said of it so far.
pub fn seen<K>(context: &Context, object: &K) -> u64
where
    K: Resource + HasStatus<Status: Conditions>,
{
    let said = ours(context.written.latest(object).unwrap_or_default());
    let meta = object.meta();
    let seen = (
        meta.generation,
        &meta.deletion_timestamp,
        &meta.labels,
        &meta.annotations,
        said,
    );
    let mut hasher = DefaultHasher::new();
    hasher.write(&serde_json::to_vec(&seen).expect("a status has text as keys"));
    hasher.finish()
}

/// Without what the autoscaler says, which is not ours to compare or to write.
fn ours<S: Conditions>(mut status: S) -> S {
    let ours = |condition: &Condition| OF_RECONCILERS.contains(&condition.condition_type.as_str());
    status.conditions_mut().retain(ours);
    if let Some(scaling) = status.scaling_mut() {
        *scaling = None;
    }
    status
}

/// Writes the status, and an event for each change of a condition.
async fn write<K>(context: &Context, object: &K, before: &K::Status, after: &K::Status) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + HasStatus<Status: Conditions>,
{
    let name = object.name_any();
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": name },
        "status": after,
    });
    let api = Api::<K>::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
    let (parameters, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(&body));
    let answer = within(api.patch_status(&name, &parameters, &patch), || {
        format!("write the status of {} {name:?}", K::kind(&()))
    })
    .await?;
    context.written.remember(&answer);
    for event in conditions::transitions(before.conditions(), after.conditions()) {
        context.recorder.publish(&event, &object.object_ref(&())).await;
    }
    Ok(())
}

/// Statuses that were written a moment ago, by uid, until the watch tells of them: a pass in between would write the
/// same again.
#[derive(Debug, Default)]
pub struct Written(Mutex<HashMap<String, (u64, Box<str>)>>);

/// Most statuses that are remembered. The watch is rarely a second behind.
const MOST_WRITTEN: usize = 1024;

impl Written {
    /// The newest status that is known of this resource.
    pub(crate) fn latest<K: Resource + HasStatus<Status: Conditions>>(
        &self,
        object: &K,
    ) -> Option<K::Status> {
        let known = object.status().cloned();
        let Some(uid) = object.uid() else { return known };
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(&uid) {
            Some((written_version, status)) if *written_version > version(object) => {
                serde_json::from_str(status).ok().or(known)
            }
            Some(_) => {
                written.remove(&uid);
                known
            }
            None => known,
        }
    }

    fn remember<K: Resource + HasStatus<Status: Conditions>>(&self, answer: &K) {
        let (Some(uid), Some(status)) = (answer.uid(), answer.status()) else {
            return;
        };
        // As text, which is a quarter of the size.
        let status = serde_json::to_string(status).expect("a status has text as keys");
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() >= MOST_WRITTEN {
            written.clear();
        }
        written.insert(uid, (version(answer), status.into_boxed_str()));
    }
}

fn version<K: Resource>(object: &K) -> u64 {
    let version = object.resource_version();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}
