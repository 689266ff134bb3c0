//! Whole passes against an API server in memory, brokers in memory and a registry on loopback: what is asked for, and
//! what is said.

mod computations;
mod keys;
mod outages;
mod rollouts;
mod workers;

use std::{
    sync::{Mutex, atomic::Ordering},
    time::Duration,
};

use axum::{Json, Router, http::StatusCode, routing::get};
use clap::Parser;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap, policy::v1::PodDisruptionBudget};
use kube::runtime::watcher::Event;
use naru_api::Condition;
use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext, types::RDKafkaRespErr};
use serde_json::{Value, json};

use super::*;
use crate::{
    controller::{fake::Memory, status},
    settings::Settings,
};

const SUM: &str = "/apis/naru.dev/v1alpha1/namespaces/shop/filteredsums/total";
const WORKERS: &str = "/apis/apps/v1/namespaces/shop/deployments/total-sum";
const PODS: &str = "/api/v1/namespaces/shop/pods";
const STATUS: &str = "PATCH filteredsums/total/status";
const APPLY: &str = "PATCH deployments/total-sum";
const BUDGET: &str = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/total-sum";
const APPLY_BUDGET: &str = "PATCH poddisruptionbudgets/total-sum";

struct World {
    context: Arc<Context>,
    api: Memory,
    brokers: MockCluster<'static, DefaultProducerContext>,
    /// The registry's answer for the input topic, once there is one.
    schema: Arc<Mutex<Option<Value>>>,
}

impl World {
    /// With a FilteredSum that nobody has looked at yet.
    async fn new() -> Self {
        let brokers = MockCluster::new(1).unwrap();
        for (topic, partitions) in [
            ("items", 3),
            ("totals", 3),
            ("naru.shop.total.sum.dead-letters", 1),
        ] {
            brokers.create_topic(topic, partitions, 1).unwrap();
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = format!("http://{}", listener.local_addr().unwrap());
        let schema = Arc::<Mutex<Option<Value>>>::default();
        let latest = Arc::clone(&schema);
        let latest = || async move {
            latest
                .lock()
                .unwrap()
                .clone()
                .map(Json)
                .ok_or(StatusCode::NOT_FOUND)
        };
        let router = Router::new().route("/subjects/items-value/versions/latest", get(latest));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let settings = Settings::parse_from([
            "naru-operator",
            "--worker-image",
            "naru/workers:1",
            "--kafka-bootstrap-servers",
            &brokers.bootstrap_servers(),
            "--registry-url",
            &registry,
        ]);
        let (context, server) = Context::test(settings);
        let kafka = context.kafka.get(&brokers.bootstrap_servers()).unwrap();
        kafka.trust(&["totals"]);
        let api = Memory::serve(server);
        let sum = json!({
            "apiVersion": "naru.dev/v1alpha1", "kind": "FilteredSum",
            "metadata": { "name": "total", "namespace": "shop", "uid": "0001", "generation": 1, "resourceVersion": "1" },
            "spec": {
                "input": { "topic": "items" }, "filter": "price <= 1000", "sum": { "field": "price" },
                "output": { "topic": "totals" },
            },
        });
        api.world(|world| world.objects.insert(SUM.to_owned(), sum));
        Self {
            context: Arc::new(context),
            api,
            brokers,
            schema,
        }
    }

    /// Somebody registers a schema with these fields, all of them numbers, for the input topic.
    fn register(&self, fields: &[&str]) {
        let fields: Vec<_> = fields
            .iter()
            .map(|name| json!({ "name": name, "type": "long" }))
            .collect();
        let schema = json!({ "type": "record", "name": "Item", "fields": fields });
        *self.schema.lock().unwrap() = Some(json!({ "schema": schema.to_string() }));
    }

    /// One pass over the resource as it is stored. Returns the requests.
    async fn pass(&self) -> Vec<String> {
        self.pass_over(self.api.object(SUM)).await
    }

    async fn pass_over(&self, sum: FilteredSum) -> Vec<String> {
        let pass = reconcile(Arc::new(sum), Arc::clone(&self.context));
        let pass = tokio::time::timeout(Duration::from_secs(20), pass).await;
        // What went wrong is told by the status.
        _ = pass.expect("a pass ends");
        self.api.requests()
    }

    /// Somebody edits the resource.
    fn declare(&self, path: &str, value: Value) {
        let _: FilteredSum = self.api.edit(SUM, |sum| {
            let generation = sum["metadata"]["generation"].as_i64().unwrap();
            sum["metadata"]["generation"] = (generation + 1).into();
            let (parent, field) = path.rsplit_once('/').unwrap();
            sum.pointer_mut(parent).unwrap()[field] = value;
        });
    }

    /// Somebody edits the workers, and the watch tells of it.
    fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let workers: Deployment = self.api.edit(WORKERS, edit);
        self.context.live.deployments.take(Event::Apply(workers));
    }

    /// The Deployment's controller has done its work.
    fn workers_are(&self, replicas: i64, ready: i64, progressing: &str) {
        self.edit(|workers| {
            workers["spec"]["replicas"] = replicas.into();
            workers["status"] = json!({
                "observedGeneration": workers["metadata"]["generation"], "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": ready,
                "availableReplicas": ready,
                "conditions": [{ "type": "Progressing", "status": if progressing == "ProgressDeadlineExceeded" { "False" } else { "True" },
                    "reason": progressing }],
            });
        });
    }

    /// A resource whose worker runs, and has proved its revision.
    async fn running() -> Self {
        let world = Self::new().await;
        world.pass().await;
        world.workers_are(1, 1, "NewReplicaSetAvailable");
        world.pass().await;
        // And known to be as it should be.
        assert!(world.pass().await.is_empty());
        world.api.events();
        world
    }

    fn status(&self) -> naru_api::FilteredSumStatus {
        self.api.object::<FilteredSum>(SUM).status.unwrap()
    }

    /// `True/Running`.
    fn condition(&self, condition_type: &str) -> String {
        let status = self.status();
        let mut conditions = status.conditions.iter();
        let found = conditions.find(|condition| condition.condition_type == condition_type);
        let Condition { status, reason, .. } = found.unwrap();
        format!("{status}/{reason}")
    }

    fn message(&self, condition_type: &str) -> String {
        let status = self.status();
        let mut conditions = status.conditions.iter();
        let found = conditions.find(|condition| condition.condition_type == condition_type);
        found.unwrap().message.clone()
    }

    fn revision(&self) -> String {
        let workers: Deployment = self.api.object(WORKERS);
        let annotations = workers.spec.unwrap().template.metadata.unwrap().annotations;
        annotations.unwrap()["naru.dev/revision"].clone()
    }

    fn config_maps(&self) -> Vec<String> {
        let prefix = "/api/v1/namespaces/shop/configmaps/total-sum-";
        self.api.world(|world| {
            let paths = world.objects.keys();
            paths
                .filter_map(|path| path.strip_prefix(prefix).map(str::to_owned))
                .collect()
        })
    }
}

#[tokio::test]
async fn a_pass_over_an_unchanged_resource_asks_the_api_server_for_nothing() {
    let world = World::new().await;
    assert_eq!(world.pass().await, ["POST configmaps", APPLY, STATUS]);
    assert_eq!(world.condition("Ready"), "False/Starting");
    assert_eq!(world.condition("Progressing"), "True/Starting");
    assert!(world.pass().await.is_empty());

    let stale = world.api.object(SUM);
    world.workers_are(1, 1, "NewReplicaSetAvailable");
    assert_eq!(world.pass().await, [STATUS]);
    assert_eq!(world.condition("Ready"), "True/Running");
    assert_eq!(world.status().last_good_revision, Some(world.revision()));
    // The watch has not told of the status yet.
    assert!(world.pass_over(stale).await.is_empty());
    for _ in 0..5 {
        assert!(world.pass().await.is_empty());
    }
    assert_eq!(world.api.events(), ["Starting", "Running"]);
}

#[tokio::test]
async fn the_pass_that_only_writes_the_status_settles_a_resource_and_the_autoscaler_does_not_unsettle_it() {
    let world = World::running().await;
    world.workers_are(1, 0, "ReplicaSetUpdated");
    assert_eq!(world.pass().await, [STATUS]);
    world.workers_are(1, 1, "NewReplicaSetAvailable");
    assert_eq!(world.pass().await, [STATUS]);
    let is_settled = || {
        let sum: FilteredSum = world.api.object(SUM);
        let settled = world.context.settled.of(&sum.uid().unwrap()).unwrap();
        settled.object == status::seen(&world.context, &sum)
    };
    assert!(is_settled());
    let _: FilteredSum = world.api.edit(SUM, |sum| {
        let theirs = json!({ "type": "ScalingActive", "status": "True", "reason": "FollowingLag", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z" });
        sum["status"]["conditions"].as_array_mut().unwrap().push(theirs);
        sum["status"]["scaling"] = json!({ "desiredReplicas": 3 });
    });
    assert!(is_settled());
}

#[tokio::test]
async fn nothing_is_worked_out_again_for_a_resource_that_is_settled_and_that_topics_were_created_for() {
    let world = World::running().await;
    let sum: FilteredSum = world.api.object(SUM);
    let kafka = world.context.kafka.get(&world.brokers.bootstrap_servers());
    kafka.unwrap().has_created("totals", &sum.uid().unwrap());
    assert_eq!(world.pass().await, [STATUS]);
    assert_eq!(world.status().created_topics, ["totals"]);
    let spared = || world.context.settled.spared.load(Ordering::Relaxed);
    let before = spared();
    for _ in 0..3 {
        assert!(world.pass().await.is_empty());
    }
    assert_eq!(spared(), before + 3);
}

#[tokio::test]
async fn an_edit_is_one_new_config_map_and_one_apply_and_the_old_config_map_goes_when_nobody_reads_it() {
    let world = World::running().await;
    let old = world.revision();
    world.declare("/spec/commitInterval", "200ms".into());
    assert_eq!(world.pass().await, ["POST configmaps", APPLY, STATUS]);
    let new = world.revision();
    assert_ne!(old, new);
    assert_eq!(world.config_maps().len(), 2);
    world.workers_are(1, 1, "NewReplicaSetAvailable");
    assert_eq!(world.pass().await, [STATUS]);
    assert_eq!(world.pass().await, [format!("DELETE configmaps/total-sum-{old}")]);
    assert_eq!(world.config_maps(), [new]);
    assert!(world.pass().await.is_empty());
}

#[tokio::test]
async fn what_somebody_else_changed_is_changed_back_once_and_told_by_its_field() {
    let world = World::running().await;
    let drift = |workers: &mut Value| {
        workers["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1".into();
    };
    world.edit(drift);
    assert_eq!(world.pass().await, [APPLY, STATUS]);
    let event = world.api.world(|world| world.events[0].clone());
    assert_eq!(event["reason"], "DriftRepaired");
    assert_eq!(
        event["note"],
        "somebody changed spec.template.spec.containers[sum].image of Deployment \"total-sum\", which was changed back"
    );
    assert!(world.pass().await.is_empty());
    // Whoever insists is not fought at full speed.
    world.edit(drift);
    assert!(world.pass().await.is_empty());
}

#[tokio::test]
async fn the_number_of_workers_is_the_autoscalers() {
    let world = World::running().await;
    world.workers_are(7, 7, "NewReplicaSetAvailable");
    assert_eq!(world.pass().await, [APPLY_BUDGET, STATUS]);
    assert_eq!(world.status().replicas, Some(7));
    assert!(world.pass().await.is_empty());
}

#[tokio::test]
async fn workers_begin_with_the_fewest_that_are_wanted_and_that_can_be() {
    // The input has three partitions.
    for (fewest, first) in [(0, 0), (2, 2), (5, 3)] {
        let world = World::new().await;
        world.declare(
            "/spec/scaling",
            json!({ "minReplicas": fewest, "maxReplicas": 7 }),
        );
        assert_eq!(world.pass().await[..2], ["POST configmaps", APPLY]);
        let workers: Deployment = world.api.object(WORKERS);
        assert_eq!(
            workers.spec.unwrap().replicas,
            Some(first),
            "minReplicas: {fewest}"
        );
        world.pass().await;
        assert!(world.pass().await.is_empty());
        // An edit leaves them, whoever they are of by then.
        for (replicas, edit) in [(first, "200ms"), (4, "300ms")] {
            world.workers_are(replicas.into(), replicas.into(), "NewReplicaSetAvailable");
            world.declare("/spec/commitInterval", edit.into());
            let requests = world.pass().await;
            let once = requests.iter().filter(|request| *request == APPLY).count();
            let workers: Deployment = world.api.object(WORKERS);
            assert_eq!((once, workers.spec.unwrap().replicas), (1, Some(replicas)));
        }
    }
}

#[tokio::test]
async fn a_budget_comes_with_the_second_worker_and_comes_back_when_it_was_deleted_or_changed() {
    let world = World::running().await;
    assert!(
        !world.api.world(|world| world.objects.contains_key(BUDGET)),
        "one worker alone has none"
    );
    world.workers_are(2, 2, "NewReplicaSetAvailable");
    assert_eq!(world.pass().await, [APPLY_BUDGET, STATUS]);
    let budget: PodDisruptionBudget = world.api.object(BUDGET);
    world.api.world(|world| world.objects.remove(BUDGET));
    world.context.live.budgets.take(Event::Delete(budget));
    assert_eq!(world.pass().await, [APPLY_BUDGET]);
    assert_eq!(world.api.events(), ["DriftRepaired"]);
    let budget: PodDisruptionBudget = world.api.edit(BUDGET, |budget| {
        budget["spec"]["maxUnavailable"] = 100.into();
    });
    world.context.live.budgets.take(Event::Apply(budget));
    assert_eq!(world.pass().await, [APPLY_BUDGET]);
    assert_eq!(world.api.events(), ["DriftRepaired"]);
    assert!(world.pass().await.is_empty());
}

#[tokio::test]
async fn workers_that_were_deleted_come_back_and_that_is_told_though_they_were_changed_a_moment_before() {
    let world = World::running().await;
    world.edit(|workers| {
        workers["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1".into();
    });
    world.pass().await;
    let workers: Deployment = world.api.object(WORKERS);
    world.api.world(|world| world.objects.remove(WORKERS));
    world.context.live.deployments.take(Event::Delete(workers));
    world.api.events();
    assert_eq!(world.pass().await, [APPLY]);
    let events = world.api.world(|world| world.events.clone());
    let notes: Vec<_> = events
        .iter()
        .filter(|event| event["reason"] == "DriftRepaired")
        .map(|event| &event["note"])
        .collect();
    assert_eq!(
        notes,
        ["somebody deleted Deployment \"total-sum\", which was created again"]
    );
}

#[tokio::test]
async fn a_deployment_of_somebody_else_is_left_alone() {
    let world = World::new().await;
    let theirs = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "total-sum", "namespace": "shop" },
        "spec": { "template": { "spec": { "containers": [{ "name": "theirs", "image": "theirs:1" }] } } } });
    world
        .api
        .world(|world| world.objects.insert(WORKERS.to_owned(), theirs.clone()));
    assert_eq!(
        world.pass().await,
        ["POST configmaps", APPLY, "GET deployments/total-sum", STATUS]
    );
    assert_eq!(world.condition("Ready"), "False/NameConflict");
    assert_eq!(world.api.world(|world| world.objects[WORKERS].clone()), theirs);
    assert_eq!(world.api.events(), ["NameConflict"]);
}

#[tokio::test]
async fn suspended_workers_end_although_nothing_else_works_and_come_back_as_no_drift() {
    let world = World::running().await;
    world.declare("/spec/filter", "price <=".into());
    world.declare("/spec/suspend", true.into());
    assert_eq!(world.pass().await, [APPLY, STATUS]);
    let workers: Deployment = world.api.object(WORKERS);
    assert_eq!(workers.spec.unwrap().replicas, Some(0));
    assert_eq!(world.condition("Paused"), "True/Suspended");
    assert_eq!(world.condition("Ready"), "False/Suspended");
    assert_eq!(world.condition("Valid"), "False/InvalidSpec");
    assert!(world.pass().await.is_empty());
    // Somebody scales them by hand.
    world.workers_are(3, 3, "NewReplicaSetAvailable");
    assert_eq!(world.pass().await[0], APPLY);

    world.declare("/spec/filter", "price <= 1000".into());
    world.declare("/spec/suspend", false.into());
    world.api.events();
    assert_eq!(world.pass().await[0], APPLY);
    assert!(!world.api.events().contains(&"DriftRepaired".to_owned()));
    assert_eq!(world.condition("Paused"), "False/NotSuspended");
}

#[tokio::test]
async fn a_suspended_resource_that_has_no_workers_gets_none() {
    let world = World::new().await;
    world.declare("/spec/suspend", true.into());
    assert_eq!(world.pass().await, [STATUS]);
    assert!(world.pass().await.is_empty());
    // As many as the spec allows, as long as Kafka has not been asked.
    assert_eq!(world.status().max_replicas, Some(3));
}

#[tokio::test]
async fn conditions_of_the_autoscaler_are_neither_compared_nor_written() {
    let world = World::running().await;
    let theirs = json!({ "type": "ScalingActive", "status": "True", "reason": "FollowingLag", "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z" });
    let _: FilteredSum = world.api.edit(SUM, |sum| {
        sum["status"]["conditions"].as_array_mut().unwrap().push(theirs);
        sum["status"]["scaling"] = json!({ "desiredReplicas": 3 });
    });
    assert!(world.pass().await.is_empty());
    world.declare("/spec/filter", "price <=".into());
    world.pass().await;
    let types: Vec<String> = world
        .status()
        .conditions
        .into_iter()
        .map(|condition| condition.condition_type)
        .collect();
    // What was sent; the real API server keeps the others, which another field manager owns.
    assert_eq!(types, naru_api::condition::OF_RECONCILERS);
    assert_eq!(world.status().scaling, None);
}

#[tokio::test]
async fn a_config_map_that_was_deleted_comes_back() {
    let world = World::running().await;
    let path = format!(
        "/api/v1/namespaces/shop/configmaps/total-sum-{}",
        world.revision()
    );
    let config_map: ConfigMap = world.api.object(&path);
    world.api.world(|world| world.objects.remove(&path));
    world.context.live.config_maps.take(Event::Delete(config_map));
    world.api.events();
    assert_eq!(world.pass().await, ["POST configmaps"]);
    assert_eq!(world.api.events(), ["DriftRepaired"]);
}
