//! A resource with its operator, and everybody else: the API server and its watches, the controllers of Deployments,
//! the garbage collector, an autoscaler, a registry, Kafka Connect, and people.

mod others;
mod watches;

use std::{collections::VecDeque, sync::Arc, sync::mpsc, time::Duration};

use clap::Parser;
use kube::{core::object::HasStatus, runtime::controller::Action};
use serde::Serialize;
use serde_json::{Value, json};

use super::subjects::{Services, Subject};
pub(super) use crate::controller::fake::Objects;
use crate::{
    connect::fake::{self as connect, Fake},
    controller::{
        self, Context, Error,
        fake::{Fault, Faults, Memory},
        report,
    },
    kafka,
    settings::Settings,
    sink_connector,
};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/shop/deployments/";
const CONFIG_MAPS: &str = "/api/v1/namespaces/shop/configmaps/";
const BUDGETS: &str = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/";
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

/// A number for each watch: of the resource, of Deployments, of ConfigMaps, and of PodDisruptionBudgets.
pub(super) type Watches = [usize; 4];

/// What the operator sees in a pass.
#[derive(Clone, Copy, Debug)]
pub(super) enum View {
    /// What the watches tell as it was so many changes ago, but never older than before.
    Late(Watches),
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
    /// Changes that the watches have told of.
    seen: Watches,
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
            seen: Watches::default(),
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
                late == Watches::default()
            }
            None => {
                self.tell(Watches::default());
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
