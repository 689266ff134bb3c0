//! Looks at each Connect cluster in use, and wakes the SinkConnectors whose connectors have changed.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, future, stream};
use kube::runtime::reflector::{ObjectRef, Store};
use naru_api::SinkConnector;
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{connector_name, validate};
use crate::{
    connect::{Address, Connectors, Error},
    controller::{Context, Guarded},
};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Clusters that are looked at at once.
const CONCURRENT: usize = 8;

/// A SinkConnector.
pub type Reference = ObjectRef<Guarded<SinkConnector>>;

/// Runs until `stop`. One request a look and cluster, however many connectors there are. A queue that is full is told
/// at the next look.
pub async fn run(
    context: Arc<Context>,
    sinks: Store<Guarded<SinkConnector>>,
    wake: mpsc::Sender<Reference>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Sights::new();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = Instant::now();
        context.kafka.prune(now);
        context.registries.prune(now);
        context.connects.prune(now);
        forget_gone(&context, &sinks);
        let Some(mut after) = stop.run_until_cancelled(look(&context, &sinks)).await else {
            return;
        };
        for changed in changed(&before, &mut after) {
            if wake.try_send(changed.clone()).is_err() {
                after.remove(&changed);
            }
        }
        before = after;
    }
}

/// Forgets connectors of resources that went without a last pass, such as those without a finalizer.
fn forget_gone(context: &Context, sinks: &Store<Guarded<SinkConnector>>) {
    let there: HashSet<String> = sinks.state().iter().map(|sink| connector_name(&**sink)).collect();
    context.connectors.retain(|connector| there.contains(connector));
}

/// What was seen of the connector of each SinkConnector.
type Sights = HashMap<Reference, Sight>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// Connect says nothing of use.
    Silent,
    Missing,
    /// Configuration and status, as a hash.
    Found(u64),
    /// Connect moves its work between its workers, or was not asked: as before.
    Unsettled,
}

async fn look(context: &Context, sinks: &Store<Guarded<SinkConnector>>) -> Sights {
    let mut clusters: HashMap<Address, Vec<(Reference, String)>> = HashMap::new();
    for sink in sinks.state() {
        let Ok(readable) = &sink.0 else { continue };
        // One that is not valid is told so by its own passes.
        if let Ok(address) = validate::connect_address(&context.settings, &readable.spec) {
            let sink = (Reference::from_obj(&*sink), connector_name(readable));
            clusters.entry(address).or_default().push(sink);
        }
    }
    let looks = clusters.into_iter().map(|(address, sinks)| async move {
        let found = context.connects.get(&address).look().await;
        let sights = sinks.into_iter().map(|(sink, connector)| {
            let sight = sight(found.as_deref(), &connector);
            (sink, sight)
        });
        sights.collect::<Vec<_>>()
    });
    let looks: Vec<_> = looks.collect();
    stream::iter(looks)
        .buffer_unordered(CONCURRENT)
        .flat_map(stream::iter)
        .collect()
        .await
}

fn sight(found: Result<&Connectors, &Error>, connector: &str) -> Sight {
    match found.map(|connectors| connectors.get(connector)) {
        Err(Error::Rebalancing { .. } | Error::Busy { .. }) => Sight::Unsettled,
        Err(_) => Sight::Silent,
        Ok(None) => Sight::Missing,
        Ok(Some(found)) => {
            let mut hasher = DefaultHasher::new();
            found.hash(&mut hasher);
            Sight::Found(hasher.finish())
        }
    }
}

/// Who is to be woken: the ones of whom something else is seen than before, in the order of their names.
fn changed(before: &Sights, after: &mut Sights) -> Vec<Reference> {
    let mut changed = BTreeMap::new();
    for (sink, sight) in after.iter_mut() {
        match before.get(sink) {
            Some(before) if *sight == Sight::Unsettled => *sight = *before,
            Some(before) if before == sight => {}
            _ => _ = changed.insert((sink.namespace.clone(), sink.name.clone()), sink.clone()),
        }
    }
    changed.into_values().collect()
}

/// The wakings, for a controller.
pub fn wakings(queue: mpsc::Receiver<Reference>) -> impl futures::Stream<Item = Reference> + Send + 'static {
    stream::unfold(queue, |mut queue| async move {
        match queue.recv().await {
            Some(sink) => Some((sink, queue)),
            // A trigger that ends would end the controller.
            None => future::pending().await,
        }
    })
}

#[cfg(test)]
mod tests {
    use kube::{
        core::DeserializeGuard,
        runtime::{reflector::store, watcher::Event},
    };
    use serde_json::json;

    use super::{
        super::tests::{settings, sink as resource},
        *,
    };
    use crate::connect::{
        Config, Registered,
        fake::{self, Fake},
    };

    fn sink(name: &str) -> Reference {
        Reference::new(name).within("shop")
    }

    fn names(changed: &[Reference]) -> Vec<&str> {
        changed.iter().map(|sink| sink.name.as_str()).collect()
    }

    #[test]
    fn exactly_the_ones_whose_connectors_changed_are_woken() {
        let of = |sights: &[(&str, Sight)]| {
            sights
                .iter()
                .map(|(name, sight)| (sink(name), *sight))
                .collect::<Sights>()
        };
        let mut one = of(&[
            ("a", Sight::Found(1)),
            ("b", Sight::Found(1)),
            ("c", Sight::Missing),
        ]);
        assert_eq!(names(&changed(&Sights::new(), &mut one)), ["a", "b", "c"]);
        let mut two = of(&[
            ("a", Sight::Found(2)),
            ("b", Sight::Found(1)),
            ("c", Sight::Missing),
        ]);
        assert_eq!(names(&changed(&one, &mut two)), ["a"]);
        // A rebalance is waited for, and hides nothing.
        let mut three = of(&[
            ("a", Sight::Unsettled),
            ("b", Sight::Unsettled),
            ("c", Sight::Unsettled),
        ]);
        assert_eq!(names(&changed(&two, &mut three)), Vec::<&str>::new());
        let mut four = of(&[
            ("a", Sight::Found(2)),
            ("b", Sight::Missing),
            ("c", Sight::Found(1)),
        ]);
        assert_eq!(names(&changed(&three, &mut four)), ["b", "c"]);
        // An outage is told once, and so is its end.
        let mut five = of(&[("a", Sight::Silent), ("b", Sight::Silent), ("c", Sight::Silent)]);
        assert_eq!(changed(&four, &mut five).len(), 3);
        assert_eq!(changed(&five.clone(), &mut five).len(), 0);
    }

    #[tokio::test]
    async fn a_look_is_one_request_and_a_failed_task_or_a_strange_edit_wakes_its_resource_alone() {
        let fake = Fake::start().await;
        let mut settings = settings();
        settings.connect_url = Some(fake.address.to_string());
        let (context, _server) = Context::test(settings);
        let (sinks, mut writer) = store::<Guarded<SinkConnector>>();
        writer.apply_watcher_event(&Event::Init);
        for name in ["a", "b", "c"] {
            let mut sink = resource(&json!({ "topics": ["items"], "class": "org.example.Sink" }));
            sink.metadata.name = Some(name.to_owned());
            writer.apply_watcher_event(&Event::InitApply(DeserializeGuard(Ok(sink))));
            let connector = format!("shop.{name}");
            fake.world(|world| fake::register(world, &connector, Config::default(), "RUNNING"));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let before = look(&context, &sinks).await;
        fake.world(|world| {
            let task = json!({ "id": 0, "state": "FAILED", "worker_id": "w", "trace": "X" });
            world.statuses.get_mut("shop.b").unwrap()["tasks"] = json!([task]);
            let config = world.configs.get_mut("shop.c").unwrap();
            config.0.insert("topics".to_owned(), "other".to_owned());
        });
        let mut after = look(&context, &sinks).await;
        assert_eq!(names(&changed(&before, &mut after)), ["b", "c"]);
        let requests = fake.world(|world| world.requests.clone());
        assert_eq!(requests, ["GET /connectors?expand=status&expand=info"; 2]);
    }

    #[tokio::test]
    async fn a_connector_whose_resource_is_gone_is_forgotten_and_one_that_cannot_be_read_is_not() {
        let (context, _server) = Context::test(settings());
        let (sinks, mut writer) = store::<Guarded<SinkConnector>>();
        let of = |name: &str, spec: &serde_json::Value| -> Guarded<SinkConnector> {
            let metadata = json!({ "name": name, "namespace": "shop" });
            let (api, kind) = ("naru.dev/v1alpha1", "SinkConnector");
            let sink = json!({ "apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec });
            serde_json::from_value(sink).unwrap()
        };
        writer.apply_watcher_event(&Event::Init);
        let readable = json!({ "topics": ["items"], "class": "org.example.Sink" });
        for (name, spec) in [
            ("here", &readable),
            ("unreadable", &json!(5)),
            ("gone", &readable),
        ] {
            writer.apply_watcher_event(&Event::InitApply(of(name, spec)));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let (memory, now) = (&context.connectors, Instant::now());
        let (none, new) = (Config::default(), Config::from([("a", "1")]));
        let delay = |times| Duration::from_secs(u64::from(times));
        let known = |name: &str| {
            let restarted = !memory.restarts.wait(name, delay, now).is_zero();
            let repaired = !memory.repairs.wait(name, delay, now).is_zero();
            let settled = !memory.changed(name, &new, &none).here.is_empty();
            (restarted, repaired, settled)
        };
        for name in ["shop.here", "shop.unreadable", "shop.gone"] {
            memory.restarts.done(name, now);
            memory.repairs.done(name, now);
            memory.settled(name, &none);
            assert_eq!(known(name), (true, true, true));
        }
        writer.apply_watcher_event(&Event::Delete(of("gone", &readable)));
        forget_gone(&context, &sinks);
        for name in ["shop.here", "shop.unreadable"] {
            assert_eq!(known(name), (true, true, true), "{name}");
        }
        assert_eq!(known("shop.gone"), (false, false, false));
    }

    #[test]
    fn a_sight_changes_with_the_configuration_and_the_status() {
        let connector = |value| Registered {
            config: Config::from([("tasks.max", value)]),
            status: None,
        };
        let look = |value| Connectors::from([("a".to_owned(), connector(value))]);
        assert_eq!(sight(Ok(&look("1")), "a"), sight(Ok(&look("1")), "a"));
        assert_ne!(sight(Ok(&look("1")), "a"), sight(Ok(&look("2")), "a"));
        assert_eq!(sight(Ok(&look("1")), "b"), Sight::Missing);
    }
}
