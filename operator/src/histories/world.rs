//! A resource with its operator, and everybody else: the API server and its watches, the controllers of Deployments,
//! the garbage collector, an autoscaler, a registry, Kafka Connect, and people.

use std::{collections::VecDeque, sync::Arc, sync::mpsc, time::Duration};

use clap::Parser;
use kube::{
    core::object::HasStatus,
    runtime::{controller::Action, watcher::Event},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::subjects::{Services, Subject};
pub(super) use crate::controller::fake::Objects;
use crate::{
    connect::fake::{self as connect, Fake},
    controller::{
        self, Context, Error,
        fake::{Fault, Faults, Memory},
        live::Kept,
        report,
    },
    kafka,
    settings::Settings,
    sink_connector,
};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/shop/deployments/";
const CONFIG_MAPS: &str = "/api/v1/namespaces/shop/configmaps/";
const SECRET: &str = "/api/v1/namespaces/shop/secrets/mysql";

/// Passes that are enough for any change without trouble.
const ENOUGH: usize = 8;
/// Time between two passes: longer than any backoff and any pace of repairs.
const PAUSE: Duration = Duration::from_secs(310);
/// Longest pass, with several requests that nobody answers.
const LONGEST: Duration = Duration::from_secs(240);
/// How long a history may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is known of a kind of resource here.
pub(super) trait Kind: controller::Kind + HasStatus + Serialize {}

impl<K: controller::Kind + HasStatus + Serialize> Kind for K {}

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Edit(usize),
    Suspend,
    Resume,
    /// Somebody edits the workers.
    Drift,
    /// Somebody deletes all that the resource has.
    Lose,
    Delete,
}

/// What the operator sees in a pass.
#[derive(Clone, Copy, Debug)]
pub(super) enum View {
    /// The resource, the Deployments and the ConfigMaps as they were so many changes ago, but never older than before.
    Late([usize; 3]),
    /// All as it is, and nothing is remembered: the operator was restarted.
    Restart,
}

/// All that goes wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    /// By request to the API server.
    pub(super) requests: Vec<Option<Fault>>,
    /// By pass.
    pub(super) views: Vec<View>,
    /// By request to Connect.
    pub(super) connect: Vec<Option<connect::Fault>>,
}

impl Trouble {
    pub(super) fn count(&self) -> usize {
        self.requests.iter().flatten().count() + self.views.len() + self.connect.iter().flatten().count()
    }
}

/// What a step came to.
#[derive(Clone, Debug)]
pub(super) struct Lived {
    pub(super) step: Step,
    objects: Objects,
    /// Events so far.
    pub(super) events: usize,
}

impl Lived {
    /// All that is there, without what cannot be the same. Not `strict`: how often workers changed on the way is no
    /// matter either.
    pub(super) fn objects(&self, strict: bool) -> Objects {
        let mut objects = self.objects.clone();
        for (path, object) in &mut objects {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("resourceVersion");
                if !strict && path.starts_with(DEPLOYMENTS) {
                    metadata.remove("generation");
                    object["status"]["observedGeneration"].take();
                }
            }
            let conditions = object
                .pointer_mut("/status/conditions")
                .and_then(Value::as_array_mut);
            for condition in conditions.into_iter().flatten() {
                condition["lastTransitionTime"].take();
            }
        }
        objects
    }
}

/// Holds the clock while it lives: it does not run away when the process waits for a socket, and moves only when a
/// test moves it. Not for ever, so that a pass that never ends meets its deadline.
struct Held(#[expect(dead_code, reason = "lives")] mpsc::Sender<()>);

impl Held {
    fn new() -> Self {
        tokio::time::pause();
        let (held, released) = mpsc::channel();
        tokio::task::spawn_blocking(move || released.recv_timeout(PATIENCE));
        Self(held)
    }
}

pub(super) struct World<'a, K> {
    subject: &'a Subject<K>,
    /// The client of the brokers.
    kafka: Arc<kafka::Clusters>,
    settings: Settings,
    context: Arc<Context>,
    server: Memory,
    connect: Fake,
    faults: Faults,
    views: VecDeque<View>,
    /// Changes that the watches of the resource, of Deployments and of ConfigMaps have told of.
    seen: [usize; 3],
    /// Resources that there were.
    created: usize,
    /// What came of the passes since the last step.
    passes: Vec<String>,
    _held: Held,
}

impl<'a, K: Kind> World<'a, K> {
    pub(super) async fn new(subject: &'a Subject<K>, services: &Services, trouble: Trouble) -> Self {
        let held = Held::new();
        let connect = Fake::start().await;
        connect.world(|world| world.faults = trouble.connect.into());
        let settings = Settings::parse_from([
            "naru-operator",
            "--worker-image=naru/workers:1",
            &format!("--kafka-bootstrap-servers={}", services.bootstrap_servers()),
            &format!("--registry-url={}", services.registry_url),
            &format!("--connect-url={}", connect.address),
        ]);
        let server = Memory::default();
        let secret = json!({ "metadata": { "name": "mysql", "namespace": "shop" },
            "data": { "username": "YWRh", "password": "Z2VoZWlt" } });
        server.world(|world| world.put(SECRET, secret));
        let faults = Faults::default();
        faults.add(trouble.requests);
        let kafka = Arc::clone(&services.kafka);
        Self {
            context: operator(&settings, &kafka, &server, &faults),
            subject,
            kafka,
            settings,
            server,
            connect,
            faults,
            views: trouble.views.into(),
            seen: [0; 3],
            created: 0,
            passes: Vec::new(),
            _held: held,
        }
    }

    /// What becomes of the next requests to the API server.
    pub(super) fn fail(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.faults.add(faults);
    }

    /// So many passes, whatever comes of them.
    pub(super) async fn passes(&mut self, passes: usize) {
        for _ in 0..passes {
            self.pass().await;
        }
    }

    /// Passes until there is nothing to do any more.
    pub(super) async fn settle(&mut self) {
        let most = self.most();
        for _ in 0..most {
            if self.pass().await {
                return;
            }
        }
        panic!("not settled after {most} passes: {:#?}", self.passes);
    }

    /// Passes until the API server does not have the resource any more.
    pub(super) async fn until_gone(&mut self) {
        let most = self.most();
        for _ in 0..most {
            if self
                .server
                .world(|world| !world.objects.contains_key(&self.path()))
            {
                return;
            }
            self.pass().await;
        }
        panic!("not gone after {most} passes: {:#?}", self.passes);
    }

    pub(super) fn lived(&self, step: Step) -> Lived {
        let (mut objects, events) = self
            .server
            .world(|world| (world.objects.clone(), world.events.len()));
        objects.insert("connect".to_owned(), self.connectors());
        Lived {
            step,
            objects,
            events,
        }
    }

    /// Passes that are enough: each fault may cost one.
    fn most(&self) -> usize {
        let connect = self.connect.world(|world| world.faults.len());
        ENOUGH + self.faults.left() + connect + self.views.len()
    }

    /// One pass over what is seen of the resource, and then everybody else's work. Returns whether there is nothing to
    /// do any more.
    async fn pass(&mut self) -> bool {
        let before = self.server.world(|world| world.past.len());
        let connectors = self.connectors();
        let current = match self.views.pop_front() {
            Some(View::Restart) => {
                self.restart();
                true
            }
            Some(View::Late(late)) => {
                self.tell(late);
                late == [0; 3]
            }
            None => {
                self.tell([0; 3]);
                true
            }
        };
        let well = match self.seen() {
            None => true,
            Some(object) => self.reconcile(Arc::new(object)).await,
        };
        self.everybody_else();
        tokio::time::advance(PAUSE).await;
        let after = self.server.world(|world| world.past.len());
        well && current && before == after && connectors == self.connectors()
    }

    /// Returns whether all is done that can be done.
    async fn reconcile(&mut self, object: Arc<K>) -> bool {
        if self.subject.kind == sink_connector::KIND {
            // As the operator's own watch does every few seconds, until it succeeds.
            let faults = self.connect.world(|world| world.faults.len());
            for _ in 0..=faults {
                if self
                    .context
                    .connects
                    .get(&self.connect.address)
                    .look()
                    .await
                    .is_ok()
                {
                    break;
                }
            }
        }
        let pass = (self.subject.reconcile)(Arc::clone(&object), Arc::clone(&self.context));
        let outcome = tokio::time::timeout(LONGEST, pass).await.expect("a pass ends");
        let (done, action) = match &outcome {
            Ok(action) => (true, action.clone()),
            Err(error) => {
                let action =
                    report::failed(self.subject.kind)(Arc::clone(&object), error, Arc::clone(&self.context));
                (matches!(error, Error::Invalid { .. }), action)
            }
        };
        let waits = action == Action::await_change();
        let may_wait = match &outcome {
            Ok(_) => object.meta().deletion_timestamp.is_some(),
            Err(error) => matches!(error, Error::Invalid { .. }),
        };
        assert_eq!(waits, may_wait, "it is looked at again: {outcome:?}");
        self.passes.push(match outcome {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.sentence(),
        });
        done
    }

    /// The resource, as the watch has told of it.
    fn seen(&self) -> Option<K> {
        let found = self.server.world(|world| {
            let objects = &world.past[self.seen[0].checked_sub(1)?];
            objects.get(&self.path()).cloned()
        })?;
        Some(serde_json::from_value(found).unwrap())
    }

    /// Somebody does something.
    pub(super) fn step(&mut self, step: Step) {
        self.passes.clear();
        match step {
            Step::Create => {
                self.created += 1;
                let spec: Value = serde_json::from_str(self.subject.spec).unwrap();
                let object = json!({
                    "apiVersion": K::api_version(&()), "kind": K::kind(&()),
                    "metadata": { "name": "it", "namespace": "shop", "uid": self.created.to_string(), "generation": 1 },
                    "spec": spec,
                });
                self.server.world(|world| world.put(&self.path(), object));
            }
            Step::Edit(which) => {
                let (pointer, value) = self.subject.edits[which];
                self.edit(pointer, serde_json::from_str(value).unwrap());
            }
            Step::Suspend => self.edit("/suspend", true.into()),
            Step::Resume => self.edit("/suspend", false.into()),
            Step::Drift => self.change(DEPLOYMENTS, |deployment| {
                deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1".into();
            }),
            Step::Lose => {
                self.collect("");
                self.connect.world(|world| {
                    world.configs.clear();
                    world.statuses.clear();
                });
            }
            Step::Delete => {
                let mut object = self.server.world(|world| world.objects[&self.path()].clone());
                // Far away, so that patience never ends.
                object["metadata"]["deletionTimestamp"] = "9999-01-01T00:00:00Z".into();
                if self.subject.kind != sink_connector::KIND {
                    // The brokers in memory know no deletion.
                    object["spec"]["deletionPolicy"] = "Orphan".into();
                }
                self.server.world(|world| world.put(&self.path(), object));
            }
        }
    }

    /// Somebody edits the spec.
    fn edit(&self, pointer: &str, value: Value) {
        self.server.world(|world| {
            let mut object = world.objects[&self.path()].clone();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            let parent = object["spec"].pointer_mut(parent).unwrap();
            if parent[field] != value {
                parent[field] = value;
                let generation = object["metadata"]["generation"].as_i64().unwrap();
                object["metadata"]["generation"] = (generation + 1).into();
            }
            world.put(&self.path(), object);
        });
    }

    /// Somebody edits all objects whose path begins so.
    fn change(&self, prefix: &str, edit: impl Fn(&mut Value)) {
        self.server.world(|world| {
            for (path, mut object) in world.objects.clone() {
                if !path.starts_with(prefix) {
                    continue;
                }
                let spec = object["spec"].clone();
                edit(&mut object);
                if object["spec"] != spec {
                    let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
                    object["metadata"]["generation"] = (generation + 1).into();
                }
                world.put(&path, object);
            }
        });
    }

    /// Deletes what belongs to any resource but the one with this uid.
    fn collect(&self, uid: &str) {
        self.server.world(|world| {
            for (path, object) in world.objects.clone() {
                let owner = &object["metadata"]["ownerReferences"][0]["uid"];
                if owner.is_string() && owner != uid {
                    world.remove(&path);
                }
            }
        });
    }

    fn everybody_else(&self) {
        let uid = self.server.world(|world| {
            let object = world.objects.get(&self.path())?;
            object["metadata"]["uid"].as_str().map(str::to_owned)
        });
        self.collect(uid.as_deref().unwrap_or_default());
        // An autoscaler for which one worker is enough.
        self.change(DEPLOYMENTS, |deployment| {
            let suspended = deployment["metadata"]["annotations"]["naru.dev/applied"] == "suspended";
            if !suspended && uid.is_some() {
                deployment["spec"]["replicas"] = 1.into();
            }
        });
        self.change(DEPLOYMENTS, |deployment| {
            let replicas = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
            deployment["status"] = json!({
                "observedGeneration": deployment["metadata"]["generation"], "replicas": replicas,
                "updatedReplicas": replicas, "readyReplicas": replicas,
                "conditions": [{ "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" }],
            });
        });
        self.connect.world(|world| {
            for (name, status) in &mut world.statuses {
                let state = status["connector"]["state"].clone();
                let tasks = if state == "STOPPED" {
                    "0"
                } else {
                    world.configs[name].get("tasks.max").unwrap()
                };
                let task = |id: i32| json!({ "id": id, "state": state, "worker_id": "w" });
                let tasks: Value = (0..tasks.parse().unwrap()).map(task).collect();
                status["tasks"] = tasks;
            }
        });
    }

    /// State of the connector.
    pub(super) fn connector(&self) -> Value {
        self.connectors()["statuses"]["shop.it"]["connector"]["state"].take()
    }

    /// What Connect has.
    fn connectors(&self) -> Value {
        self.connect
            .world(|world| json!({ "configs": world.configs, "statuses": world.statuses }))
    }

    /// The operator is started anew, and lists what there is.
    fn restart(&mut self) {
        self.context = operator(&self.settings, &self.kafka, &self.server, &self.faults);
        self.seen = [self.server.world(|world| world.past.len()); 3];
        self.server.world(|world| {
            list(&self.context.live.deployments, DEPLOYMENTS, &world.objects);
            list(&self.context.live.config_maps, CONFIG_MAPS, &world.objects);
        });
    }

    /// The watches tell of what has changed, up to so many changes ago.
    fn tell(&mut self, late: [usize; 3]) {
        let live = &self.context.live;
        self.server.world(|world| {
            let until: Vec<_> = late
                .iter()
                .map(|late| world.past.len().saturating_sub(*late))
                .collect();
            let nothing = Objects::new();
            for (watch, until) in until.into_iter().enumerate() {
                for change in self.seen[watch]..until {
                    let before = change
                        .checked_sub(1)
                        .map_or(&nothing, |before| &world.past[before]);
                    let after = &world.past[change];
                    match watch {
                        1 => tell(&live.deployments, DEPLOYMENTS, before, after),
                        2 => tell(&live.config_maps, CONFIG_MAPS, before, after),
                        _ => {}
                    }
                }
                self.seen[watch] = self.seen[watch].max(until);
            }
        });
    }

    fn path(&self) -> String {
        format!("/apis/naru.dev/v1alpha1/namespaces/shop/{}/it", K::plural(&()))
    }
}

/// An operator that was just started.
fn operator(
    settings: &Settings,
    kafka: &Arc<kafka::Clusters>,
    server: &Memory,
    faults: &Faults,
) -> Arc<Context> {
    let (mut context, requests) = Context::test(settings.clone());
    context.kafka = Arc::clone(kafka);
    server.answer(requests, faults.clone());
    Arc::new(context)
}

fn of_kind<'a>(objects: &'a Objects, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    objects.iter().filter(move |(path, _)| path.starts_with(prefix))
}

fn typed<C: DeserializeOwned>(object: &Value) -> C {
    serde_json::from_value(object.clone()).unwrap()
}

fn list<C>(kept: &Kept<C>, prefix: &str, objects: &Objects)
where
    C: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize,
{
    kept.take(Event::Init);
    for (_, object) in of_kind(objects, prefix) {
        kept.take(Event::InitApply(typed(object)));
    }
    kept.take(Event::InitDone);
}

fn tell<C>(kept: &Kept<C>, prefix: &str, before: &Objects, after: &Objects)
where
    C: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize,
{
    for (path, object) in of_kind(after, prefix) {
        if before.get(path) != Some(object) {
            kept.take(Event::Apply(typed(object)));
        }
    }
    for (path, object) in of_kind(before, prefix) {
        if !after.contains_key(path) {
            kept.take(Event::Delete(typed(object)));
        }
    }
}
