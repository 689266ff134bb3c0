//! What the resources own, as the API server has it. Kept up to date by one watch for each kind of child, so that a
//! pass that has nothing to change asks for nothing.
//!
//! Each object is kept as JSON text without what no pass goes by, compressed, which is a small part of what the typed
//! object takes, and read when a pass looks at it. What is looked at often is kept beside it.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Debug,
    io::{Read, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use futures::{StreamExt, pin_mut};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ConfigMap, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Resource, ResourceExt,
    core::NamespaceResourceScope,
    runtime::{WatchStreamExt, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Error, PAGE};
use crate::worker::Scaled;

/// Label of everything that reconcilers create.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "naru");
/// How long a pass waits for the first list.
const FIRST_LIST: Duration = Duration::from_secs(10);
/// Objects that are remembered after they went: more than can go during one request.
const MOST_GONE: usize = 1024;
/// Owners that wait to be looked at, by kind. The watch waits when there are more.
const WAKES: usize = 1024;

/// The children of all resources.
#[derive(Debug, Default)]
pub struct Live {
    pub deployments: Kept<Deployment>,
    pub config_maps: Kept<ConfigMap>,
    pub budgets: Kept<PodDisruptionBudget>,
}

impl Live {
    /// Waits until it is known what there is: before that, all would look as if it were missing.
    pub async fn listed(&self) -> Result<(), Error> {
        let all = async {
            tokio::join!(
                self.deployments.listed(),
                self.config_maps.listed(),
                self.budgets.listed()
            )
        };
        match tokio::time::timeout(FIRST_LIST, all).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Silent {
                doing: "list Deployments, ConfigMaps and PodDisruptionBudgets".to_owned(),
            }),
        }
    }
}

/// A kind of child.
pub trait Followed: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize {
    /// What is known of an object without reading its text.
    type Glance: Copy + Debug + Default;

    fn glance(&self) -> Self::Glance;

    /// Without what no pass goes by.
    fn pruned(&self) -> Self {
        let mut pruned = self.clone();
        pruned.meta_mut().managed_fields = None;
        pruned
    }
}

impl Followed for Deployment {
    type Glance = Scaled;

    fn glance(&self) -> Scaled {
        Scaled::of(self)
    }
}

impl Followed for ConfigMap {
    type Glance = ();

    fn glance(&self) {}

    /// What it holds cannot change, and is read again where it is needed: it is more than all the rest.
    fn pruned(&self) -> Self {
        let mut metadata = self.metadata.clone();
        metadata.managed_fields = None;
        Self {
            metadata,
            immutable: self.immutable,
            ..Self::default()
        }
    }
}

impl Followed for PodDisruptionBudget {
    type Glance = ();

    fn glance(&self) {}
}

/// Namespace and name.
type Place = (String, String);

/// The objects of one kind.
#[derive(Debug)]
pub struct Kept<K: Followed> {
    state: Mutex<State<K::Glance>>,
    listed: watch::Sender<bool>,
    kind: std::marker::PhantomData<fn() -> K>,
}

#[derive(Debug, Default)]
struct State<G> {
    objects: BTreeMap<Place, Object<G>>,
    /// During a list: what it has named so far.
    named: Option<BTreeSet<Place>>,
    /// The objects that went last, and how many have in all. An answer to a request that was under way at that time may
    /// be out of date.
    gone: VecDeque<Place>,
    times: u64,
    /// What somebody else has deleted and is not there again, with the uid of its owner.
    lost: BTreeMap<Place, String>,
}

#[derive(Debug)]
struct Object<G> {
    version: u64,
    owner: Option<OwnerReference>,
    glance: G,
    text: Box<[u8]>,
}

/// When a request began, for [`Kept::put`].
#[derive(Clone, Copy, Debug)]
pub struct Began(u64);

impl<K: Followed> Default for Kept<K> {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            listed: watch::Sender::new(false),
            kind: std::marker::PhantomData,
        }
    }
}

impl<K: Followed> Kept<K> {
    /// The object of this name, if there is one, [pruned](Followed::pruned).
    pub fn get(&self, namespace: &str, name: &str) -> Option<K> {
        let place = (namespace.to_owned(), name.to_owned());
        let state = self.state();
        state.objects.get(&place).map(Object::parse)
    }

    /// What is known of the object of this name without reading it.
    pub fn glance(&self, namespace: &str, name: &str) -> Option<K::Glance> {
        let place = (namespace.to_owned(), name.to_owned());
        let state = self.state();
        state.objects.get(&place).map(|object| object.glance)
    }

    /// Names of all that the owner with this uid controls, and that begin like this.
    pub fn owned(&self, namespace: &str, prefix: &str, uid: &str) -> Vec<String> {
        let state = self.state();
        state
            .named_like(namespace, prefix)
            .filter(|(_, object)| object.owner.as_ref().is_some_and(|owner| owner.uid == uid))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Resource versions of all whose names begin like this, in the order of names.
    pub fn versions(&self, namespace: &str, prefix: &str) -> Vec<u64> {
        let state = self.state();
        let found = state.named_like(namespace, prefix);
        found.map(|(_, object)| object.version).collect()
    }

    /// To be called before a request whose answer goes to [`Kept::put`].
    pub fn begin(&self) -> Began {
        Began(self.state().times)
    }

    /// Takes over the answer to a request, which the watch will tell of a moment later.
    pub fn put(&self, began: Began, answer: &K) {
        let mut state = self.state();
        if !state.gone_since(began, &place(answer)) {
            // A list under way may have passed its place already.
            if let Some(named) = &mut state.named {
                named.insert(place(answer));
            }
            state.insert(answer);
        }
    }

    /// We have deleted it, as the watch will tell a moment later, or has told already.
    pub fn forget(&self, namespace: &str, name: &str) {
        let place = (namespace.to_owned(), name.to_owned());
        let mut state = self.state();
        state.remove(&place);
        state.lost.remove(&place);
    }

    /// Whether somebody else has deleted it, and it was controlled by the owner with this uid.
    pub fn lost(&self, namespace: &str, name: &str, uid: &str) -> bool {
        let place = (namespace.to_owned(), name.to_owned());
        self.state().lost.get(&place).is_some_and(|owner| owner == uid)
    }

    /// Takes over what the watch says. Returns the owners whose children are not as they were.
    pub(crate) fn take(&self, event: watcher::Event<K>) -> Vec<Woken> {
        let mut state = self.state();
        let known = *self.listed.borrow();
        match event {
            watcher::Event::Apply(object) => state.insert(&object).into_iter().collect(),
            watcher::Event::Delete(object) => state.lose(&place(&object)).into_iter().collect(),
            watcher::Event::Init => {
                state.named = Some(BTreeSet::new());
                Vec::new()
            }
            watcher::Event::InitApply(object) => {
                if let Some(named) = &mut state.named {
                    named.insert(place(&object));
                }
                // At the start each resource is looked at anyway.
                state.insert(&object).into_iter().filter(|_| known).collect()
            }
            watcher::Event::InitDone => {
                let named = state.named.take().unwrap_or_default();
                let unnamed: Vec<_> = state
                    .objects
                    .keys()
                    .filter(|place| !named.contains(*place))
                    .cloned()
                    .collect();
                let woken = unnamed.iter().filter_map(|place| state.lose(place)).collect();
                drop(state);
                self.listed.send_replace(true);
                woken
            }
        }
    }

    async fn listed(&self) {
        // The sender lives as long as `self`.
        _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    fn state(&self) -> MutexGuard<'_, State<K::Glance>> {
        // A panic elsewhere cannot leave a half-made entry behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<G> State<G> {
    fn named_like(&self, namespace: &str, prefix: &str) -> impl Iterator<Item = (&String, &Object<G>)> {
        let first = (namespace.to_owned(), prefix.to_owned());
        let found = self.objects.range(first..);
        found
            .take_while(move |((found, name), _)| found == namespace && name.starts_with(prefix))
            .map(|((_, name), object)| (name, object))
    }

    /// Unless it is known already, or older than what is known.
    fn insert<K: Followed<Glance = G>>(&mut self, object: &K) -> Option<Woken> {
        let place = place(object);
        let version = version(object);
        if self
            .objects
            .get(&place)
            .is_some_and(|known| known.version >= version && version > 0)
        {
            return None;
        }
        let owner = controller(object).cloned();
        let woken = owner.as_ref().map(|owner| Woken::of(owner, &place.0));
        self.lost.remove(&place);
        self.objects.insert(
            place,
            Object {
                version,
                owner,
                glance: object.glance(),
                text: compressed(&object.pruned()),
            },
        );
        woken
    }

    /// Whether the object went after that, as far as is remembered.
    fn gone_since(&self, Began(times): Began, place: &Place) -> bool {
        let since = usize::try_from(self.times - times).unwrap_or(usize::MAX);
        since > self.gone.len() || self.gone.iter().rev().take(since).any(|gone| gone == place)
    }

    /// The watch tells that it went. What we have deleted ourselves is unknown by then.
    fn lose(&mut self, place: &Place) -> Option<Woken> {
        let owner = self.objects.get(place).and_then(|object| object.owner.as_ref());
        if let Some(owner) = owner {
            if self.lost.len() >= MOST_GONE {
                self.lost.clear();
            }
            self.lost.insert(place.clone(), owner.uid.clone());
        }
        self.remove(place)
    }

    fn remove(&mut self, place: &Place) -> Option<Woken> {
        self.times += 1;
        self.gone.push_back(place.clone());
        if self.gone.len() > MOST_GONE {
            self.gone.pop_front();
        }
        let removed = self.objects.remove(place)?;
        removed.owner.map(|owner| Woken::of(&owner, &place.0))
    }
}

impl<G> Object<G> {
    fn parse<K: DeserializeOwned>(&self) -> K {
        let mut text = Vec::new();
        let read = DeflateDecoder::new(&*self.text).read_to_end(&mut text);
        read.expect("it was compressed here");
        serde_json::from_slice(&text).expect("it was written from this type")
    }
}

fn compressed<K: Serialize>(object: &K) -> Box<[u8]> {
    let text = serde_json::to_vec(object).expect("Kubernetes objects have text as keys");
    let mut compressed = DeflateEncoder::new(Vec::new(), Compression::fast());
    let written = compressed.write_all(&text).and_then(|()| compressed.finish());
    written.expect("there is room in memory").into_boxed_slice()
}

fn place<K: Resource>(object: &K) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Resource versions of one object grow.
fn version<K: Resource>(object: &K) -> u64 {
    let version = object.resource_version();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

/// The owner that controls an object.
pub fn controller<K: Resource>(object: &K) -> Option<&OwnerReference> {
    let mut owners = object.owner_references().iter();
    owners.find(|owner| owner.controller == Some(true))
}

/// A resource that is to be looked at, since what it owns has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Woken {
    kind: String,
    namespace: String,
    name: String,
}

impl Woken {
    fn of(owner: &OwnerReference, namespace: &str) -> Self {
        Self {
            kind: owner.kind.clone(),
            namespace: namespace.to_owned(),
            name: owner.name.clone(),
        }
    }
}

/// Where owners are woken.
#[derive(Clone, Debug, Default)]
pub struct Bells(BTreeMap<&'static str, mpsc::Sender<(String, String)>>);

impl Bells {
    /// Namespace and name of each resource of this kind whose children change.
    pub fn of(&mut self, kind: &'static str) -> mpsc::Receiver<(String, String)> {
        let (bell, rings) = mpsc::channel(WAKES);
        self.0.insert(kind, bell);
        rings
    }

    async fn ring(&self, woken: Woken) {
        if let Some(bell) = self.0.get(woken.kind.as_str()) {
            // Nobody listens any more when the operator stops.
            _ = bell.send((woken.namespace, woken.name)).await;
        }
    }
}

/// Follows all children of a kind until `stop`.
pub async fn follow<K>(kept: &Kept<K>, api: Api<K>, bells: &Bells, stop: &CancellationToken)
where
    K: Followed + Resource<Scope = NamespaceResourceScope> + Debug + Send + 'static,
{
    let (label, value) = MANAGED_BY;
    let ours = watcher::Config::default()
        .labels(&format!("{label}={value}"))
        .page_size(PAGE);
    let events = watcher(api, ours).default_backoff();
    pin_mut!(events);
    while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
        match event {
            Ok(event) => {
                for woken in kept.take(event) {
                    _ = stop.run_until_cancelled(bells.ring(woken)).await;
                }
            }
            // What is known stays, and the watch begins again.
            Err(error) => tracing::warn!(kind = %K::kind(&()), %error, "failed to watch"),
        }
    }
}
