//! Whole passes, against a Connect cluster in memory and a scripted API server.

use std::sync::Arc;

use http::{Response, StatusCode};
use kube::client::Body;
use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};

use super::{dereference::Referred, *};
use crate::{
    connect::{
        Config, Mask,
        fake::{self, Fake},
    },
    controller::{
        Context,
        fake::{self as api, Server},
    },
    registry::{Registries, Registry},
};

pub(super) fn context(fake: &Fake) -> (Arc<Context>, Server) {
    let mut settings = settings();
    settings.connect_url = Some(fake.address.to_string());
    let (context, server) = Context::test(settings);
    (Arc::new(context), server)
}

/// Answers the next request with what it sent, and returns its method and path, and its body.
pub(super) async fn echo(server: &mut Server) -> (String, Value) {
    let (request, send) = server.next_request().await.expect("a request was to come");
    let line = format!("{} {}", request.method(), request.uri().path());
    let sent = request.into_body().collect_bytes().await.unwrap();
    let answer = serde_json::to_vec(&mysql()).unwrap();
    send.send_response(
        Response::builder()
            .status(StatusCode::OK)
            .body(Body::from(answer))
            .unwrap(),
    );
    (line, serde_json::from_slice(&sent).unwrap_or_default())
}

pub(super) const SINK: &str = "/apis/naru.dev/v1alpha1/namespaces/shop/sinkconnectors/items";

/// A resource that was deleted at this time, or not, and has our finalizer.
pub(super) fn finalized(deleted: Option<&str>) -> Arc<SinkConnector> {
    let mut sink = mysql();
    sink.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    sink.metadata.deletion_timestamp = deleted.map(|time| serde_json::from_value(json!(time)).unwrap());
    sink.status = Some(naru_api::SinkConnectorStatus {
        connector: Some("shop.items".to_owned()),
        ..Default::default()
    });
    Arc::new(sink)
}

pub(super) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// What is wanted of the connector `shop.items`.
#[derive(Clone, Default)]
struct Desired {
    config: Config,
    secrets: Config,
    suspend: bool,
    paused_by_us: bool,
}

impl Desired {
    fn config(entries: &[(&str, &str)]) -> Self {
        let mut config = Config::default();
        let owned = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        config.0.extend(owned);
        Self {
            config,
            ..Self::default()
        }
    }
}

async fn pass(
    fake: &Fake,
    desired: &Desired,
    memory: &Memory,
    registry: Option<&Registry>,
    now: Instant,
) -> Seen {
    let connect = fake.client(Mask::default());
    let mut config = desired.config.clone();
    config.0.extend(desired.secrets.0.clone());
    let referred = Referred {
        secrets: desired.secrets.clone(),
        registered: connect.look("shop.items").await.unwrap(),
        connect,
    };
    let aim = Aim {
        connector: "shop.items",
        config: &config,
        suspend: desired.suspend,
        paused_by_us: desired.paused_by_us,
        registry,
    };
    settle::settle(aim, &referred, memory, now).await.unwrap()
}

pub(super) fn changes(fake: &Fake) -> Vec<String> {
    let requests = fake.world(|world| world.requests.clone());
    requests
        .into_iter()
        .filter(|request| !request.starts_with("GET"))
        .collect()
}

fn fail_task(fake: &Fake, trace: &str) {
    fake.world(|world| {
        let task = json!({ "id": 0, "state": "FAILED", "worker_id": "w", "trace": trace });
        world.statuses.get_mut("shop.items").unwrap()["tasks"] = json!([task]);
    });
}

#[tokio::test]
async fn a_connector_is_registered_once_and_followed_when_it_changes() {
    let fake = Fake::start().await;
    let (memory, now) = (Memory::default(), Instant::now());
    let one = Desired::config(&[("tasks.max", "1")]);
    let two = Desired::config(&[("tasks.max", "2")]);
    let mut plans = Vec::new();
    for desired in [&one, &one, &two, &two] {
        let seen = pass(&fake, desired, &memory, None, now).await;
        assert_eq!((seen.drifted, seen.rotated), (vec![], vec![]));
        plans.push(seen.plan);
    }
    assert_eq!(plans, [Plan::Create, Plan::Nothing, Plan::Update, Plan::Nothing]);
    assert_eq!(changes(&fake).len(), 2);
}

#[tokio::test]
async fn failed_tasks_are_restarted_at_once_and_then_with_growing_pauses() {
    let fake = Fake::start().await;
    let (memory, start) = (Memory::default(), Instant::now());
    let desired = Desired::config(&[("tasks.max", "1")]);
    assert_eq!(
        pass(&fake, &desired, &memory, None, start).await.plan,
        Plan::Create
    );
    fail_task(&fake, "X");
    let mut restarted = Vec::new();
    for second in [0, 1, 4, 5, 6, 14, 15, 16] {
        let seen = pass(
            &fake,
            &desired,
            &memory,
            None,
            start + Duration::from_secs(second),
        )
        .await;
        match seen.plan {
            Plan::RestartFailed => restarted.push(second),
            plan => assert_eq!((plan, seen.next.is_some()), (Plan::Nothing, true)),
        }
    }
    assert_eq!(restarted, [0, 5, 15]);
}

#[tokio::test]
async fn another_configuration_gives_failed_tasks_a_new_start() {
    let fake = Fake::start().await;
    let (memory, now) = (Memory::default(), Instant::now());
    let (one, two) = (Desired::config(&[("a", "1")]), Desired::config(&[("a", "2")]));
    pass(&fake, &one, &memory, None, now).await;
    fail_task(&fake, "Caused by: java.sql.SQLException: Access denied");
    let mut plans = Vec::new();
    for (desired, second) in [(&one, 0), (&one, 60), (&two, 61), (&two, 62), (&two, 122)] {
        plans.push(
            pass(&fake, desired, &memory, None, now + Duration::from_secs(second))
                .await
                .plan,
        );
    }
    let expected = [
        Plan::Nothing,
        Plan::RestartFailed,
        Plan::Update,
        Plan::Nothing,
        Plan::RestartFailed,
    ];
    assert_eq!(plans, expected);
}

#[tokio::test]
async fn a_restart_that_would_be_in_vain_waits_for_the_registry() {
    let fake = Fake::start().await;
    let (memory, now) = (Memory::default(), Instant::now());
    let desired = Desired::config(&[("a", "1")]);
    pass(&fake, &desired, &memory, None, now).await;
    fail_task(
        &fake,
        "SerializationException: Error retrieving Avro schema\nCaused by: java.net.ConnectException: refused",
    );
    // Nobody listens there.
    let known = Registries::new(fake::http()).get("http://127.0.0.1:1");
    let held = pass(&fake, &desired, &memory, Some(&known), now).await;
    assert_eq!(
        (held.plan, held.held, held.next),
        (Plan::Nothing, true, Some(UNWELL))
    );
    assert!(
        held.health()
            .why
            .message
            .ends_with("; restarted when the schema registry answers")
    );
    // Another fake stands for a registry.
    let registry = Fake::start().await;
    registry.instead(200, "[]");
    let known = Registries::new(fake::http()).get(&registry.address.to_string());
    let seen = pass(&fake, &desired, &memory, Some(&known), now).await;
    assert_eq!(seen.plan, Plan::RestartFailed);
}

#[tokio::test]
async fn a_registry_that_refuses_the_operator_holds_no_restart() {
    let fake = Fake::start().await;
    let (memory, now) = (Memory::default(), Instant::now());
    let desired = Desired::config(&[("a", "1")]);
    pass(&fake, &desired, &memory, None, now).await;
    fail_task(&fake, "java.net.ConnectException: Error retrieving Avro schema");
    let registry = Fake::start().await;
    registry.instead(401, "");
    let known = Registries::new(fake::http()).get(&registry.address.to_string());
    let seen = pass(&fake, &desired, &memory, Some(&known), now).await;
    assert_eq!((seen.plan, seen.held), (Plan::RestartFailed, false));
}

#[tokio::test]
async fn what_somebody_changes_in_connect_is_changed_back_and_named_and_not_for_ever_at_once() {
    let fake = Fake::start().await;
    let (memory, start) = (Memory::default(), Instant::now());
    let desired = Desired::config(&[("a", "1"), ("password", "geheim")]);
    pass(&fake, &desired, &memory, None, start).await;
    let edit = || {
        fake.world(|world| {
            let config = world.configs.get_mut("shop.items").unwrap();
            config.0.insert("password".to_owned(), "other".to_owned());
            config.0.insert("more".to_owned(), "2".to_owned());
        });
    };
    edit();
    let seen = pass(&fake, &desired, &memory, None, start).await;
    assert_eq!(
        (seen.plan, seen.drifted),
        (Plan::Update, vec!["more".to_owned(), "password".to_owned()])
    );
    let registered = fake.world(|world| world.configs["shop.items"].clone());
    assert_eq!(
        (registered.get("password"), registered.get("more")),
        (Some("geheim"), None)
    );
    edit();
    let again = pass(&fake, &desired, &memory, None, start + Duration::from_secs(1)).await;
    assert_eq!(
        (again.plan, again.next),
        (Plan::Nothing, Some(Duration::from_secs(4)))
    );
    let later = pass(&fake, &desired, &memory, None, start + Duration::from_secs(5)).await;
    assert_eq!(later.plan, Plan::Update);
}

#[tokio::test]
async fn a_connector_that_somebody_unregisters_is_registered_again_and_that_is_known() {
    let fake = Fake::start().await;
    let (memory, now) = (Memory::default(), Instant::now());
    let desired = Desired::config(&[("a", "1")]);
    let unregister = || {
        fake.world(|world| {
            world.configs.remove("shop.items");
            world.statuses.remove("shop.items");
        });
    };
    for (before, known) in [("new", false), ("unregistered", true), ("forgotten", false)] {
        unregister();
        if before == "forgotten" {
            memory.forget("shop.items");
        }
        let pass = pass(&fake, &desired, &memory, None, now).await;
        assert_eq!((pass.plan, pass.lost), (Plan::Create, known), "{before}");
    }
    assert!(!pass(&fake, &desired, &memory, None, now).await.lost);
}

#[tokio::test]
async fn a_rotated_secret_reaches_its_connector_and_no_task_is_restarted_by_anything_else() {
    let fake = Fake::start().await;
    let (memory, now) = (Memory::default(), Instant::now());
    let mut desired = Desired::config(&[("a", "1")]);
    desired.secrets = Config::from([("password", "old")]);
    pass(&fake, &desired, &memory, None, now).await;
    assert_eq!(
        pass(&fake, &desired, &memory, None, now).await.plan,
        Plan::Nothing
    );
    desired.secrets = Config::from([("password", "new")]);
    let seen = pass(&fake, &desired, &memory, None, now).await;
    assert_eq!(
        (seen.plan, seen.rotated),
        (Plan::Update, vec!["password".to_owned()])
    );
    assert_eq!(
        pass(&fake, &desired, &memory, None, now).await.plan,
        Plan::Nothing
    );
    let put = "PUT /connectors/shop.items/config";
    assert_eq!(changes(&fake), [put, put]);
}

#[tokio::test]
async fn a_suspended_connector_is_registered_paused_and_goes_on_when_it_is_resumed() {
    let fake = Fake::start().await;
    let (memory, now) = (Memory::default(), Instant::now());
    let mut desired = Desired::config(&[("a", "1")]);
    desired.suspend = true;
    let mut plans = Vec::new();
    plans.push(pass(&fake, &desired, &memory, None, now).await.plan);
    let seen = pass(&fake, &desired, &memory, None, now).await;
    assert_eq!(
        (seen.health().why.reason, seen.is_well()),
        (reason::SUSPENDED, true)
    );
    plans.push(seen.plan);
    (desired.suspend, desired.paused_by_us) = (false, true);
    for _ in 0..2 {
        let seen = pass(&fake, &desired, &memory, None, now).await;
        desired.paused_by_us = seen.is_paused_by_us();
        plans.push(seen.plan);
    }
    desired.suspend = true;
    plans.push(pass(&fake, &desired, &memory, None, now).await.plan);
    let expected = [
        Plan::Create,
        Plan::Nothing,
        Plan::Resume,
        Plan::Nothing,
        Plan::Pause,
    ];
    assert_eq!(plans, expected);
    let expected = [
        "POST /connectors",
        "PUT /connectors/shop.items/resume",
        "PUT /connectors/shop.items/pause",
    ];
    assert_eq!(changes(&fake), expected);
}

/// Conditions that the resource has as it is stored.
fn is_paused(api: &api::Memory) -> bool {
    let sink: SinkConnector = api.object(SINK);
    let mut conditions = sink.status.unwrap().conditions.into_iter();
    conditions.any(|condition| condition.condition_type == PAUSED && condition.status == "True")
}

#[tokio::test]
async fn a_suspension_that_is_taken_back_at_once_leaves_the_connector_running() {
    let fake = Fake::start().await;
    let brokers = MockCluster::<DefaultProducerContext>::new(1).unwrap();
    brokers.create_topic("items", 1, 1).unwrap();
    let mut settings = settings();
    settings.connect_url = Some(fake.address.to_string());
    settings.kafka_bootstrap_servers = Some(brokers.bootstrap_servers());
    let (context, server) = Context::test(settings);
    let (context, api) = (Arc::new(context), api::Memory::serve(server));
    let mut known = sink(&json!({ "topics": ["items"], "class": "org.example.Sink" }));
    known.metadata.uid = Some("0001".to_owned());
    known.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    known.metadata.resource_version = Some("0".to_owned());
    api.world(|world| world.objects.insert(SINK.to_owned(), json!(known)));
    let pass = async |suspend| {
        // The watch has told of the edits, and not of what was written meanwhile.
        let mut sink = known.clone();
        sink.spec.suspend = suspend;
        reconcile(Arc::new(sink), Arc::clone(&context)).await.unwrap();
    };
    pass(false).await;
    pass(true).await;
    assert!(is_paused(&api));
    // Connect has accepted the pause, and still runs the connector.
    fake.world(|world| {
        world.statuses.get_mut("shop.items").unwrap()["connector"]["state"] = "RUNNING".into();
    });
    pass(false).await;
    assert!(!is_paused(&api));
    pass(false).await;
    let expected = [
        "PUT /connectors/shop.items/config",
        "PUT /connectors/shop.items/pause",
        "PUT /connectors/shop.items/resume",
    ];
    assert_eq!(changes(&fake), expected);
}

#[tokio::test]
async fn a_wrong_edit_leaves_the_connector_as_it_is() {
    let fake = Fake::start().await;
    fake.world(|world| world.configs.insert("shop.items".to_owned(), Config::default()));
    let (context, mut server) = context(&fake);
    let mut sink = finalized(None);
    Arc::make_mut(&mut sink).spec.mysql.as_mut().unwrap().url = "jdbc:mysql://mysql/shop?user=ada".to_owned();
    let work = tokio::spawn(reconcile(sink, context));
    let (line, body) = echo(&mut server).await;
    assert_eq!(line, format!("PATCH {SINK}/status"));
    assert_eq!(body["status"]["connector"], "shop.items");
    assert_eq!(body["status"]["conditions"][1]["reason"], "InvalidSpec");
    echo(&mut server).await;
    assert!(matches!(work.await.unwrap(), Err(Error::Invalid { .. })));
    assert!(fake.world(|world| world.requests.is_empty()));
}

#[tokio::test]
async fn a_secret_that_is_gone_leaves_the_connector_as_it_is() {
    let fake = Fake::start().await;
    fake.world(|world| fake::register(world, "shop.items", Config::default(), "RUNNING"));
    let (context, mut server) = context(&fake);
    let work = tokio::spawn(reconcile(finalized(None), context));
    let (request, send) = server.next_request().await.unwrap();
    assert_eq!(request.uri().path(), "/api/v1/namespaces/shop/secrets/mysql");
    let missing = json!({ "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404 });
    let missing = Body::from(serde_json::to_vec(&missing).unwrap());
    send.send_response(
        Response::builder()
            .status(StatusCode::NOT_FOUND)
            .body(missing)
            .unwrap(),
    );
    let (line, body) = echo(&mut server).await;
    assert_eq!(line, format!("PATCH {SINK}/status"));
    assert_eq!(body["status"]["conditions"][2]["reason"], "SecretMissing");
    work.abort();
    assert!(fake.world(|world| world.requests.is_empty()));
}
