//! Whole passes, against a Connect cluster in memory and a scripted API server.

use std::sync::Arc;

use http::{Response, StatusCode};
use kube::client::Body;

use super::*;
use crate::{
    connect::{
        Mask,
        fake::{self, Fake},
    },
    controller::{Context, fake::Server},
};

pub(super) fn context(fake: &Fake) -> (Arc<Context>, Server) {
    let mut settings = settings();
    settings.connect_url = Some(fake.address.to_string());
    let (context, server) = Context::test(settings);
    (Arc::new(context), server)
}

/// Answers the next request with what it sent, and returns its method and path, and its body.
async fn echo(server: &mut Server) -> (String, Value) {
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

const SINK: &str = "/apis/naru.dev/v1alpha1/namespaces/shop/sinkconnectors/items";

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

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

async fn pass(fake: &Fake, desired: &Config, restarts: &Pace, now: Instant) -> Plan {
    let connect = fake.client(Mask::default());
    let registered = connect.look("shop.items").await.unwrap();
    let referred = Referred {
        secrets: Config::default(),
        connect,
        registered,
    };
    settle("shop.items", desired, &referred, restarts, now)
        .await
        .unwrap()
        .plan
}

#[tokio::test]
async fn a_connector_is_registered_once_and_followed_when_it_changes() {
    let fake = Fake::start().await;
    let (restarts, now) = (Pace::default(), Instant::now());
    let one = Config::from([("tasks.max", "1")]);
    let two = Config::from([("tasks.max", "2")]);
    let mut plans = Vec::new();
    for desired in [&one, &one, &two, &two] {
        plans.push(pass(&fake, desired, &restarts, now).await);
    }
    assert_eq!(plans, [Plan::Create, Plan::Nothing, Plan::Update, Plan::Nothing]);
    let puts = fake.world(|world| {
        world
            .requests
            .iter()
            .filter(|request| request.starts_with("PUT"))
            .count()
    });
    assert_eq!(puts, 2);
}

#[tokio::test]
async fn failed_tasks_are_restarted_with_growing_pauses() {
    let fake = Fake::start().await;
    let (restarts, start) = (Pace::default(), Instant::now());
    let desired = Config::from([("tasks.max", "1")]);
    assert_eq!(pass(&fake, &desired, &restarts, start).await, Plan::Create);
    fake.world(|world| {
        let task = json!({ "id": 0, "state": "FAILED", "worker_id": "w", "trace": "X" });
        world.statuses.get_mut("shop.items").unwrap()["tasks"] = json!([task]);
    });
    let mut restarted = Vec::new();
    for second in [0, 1, 9, 10, 11, 29, 30] {
        if pass(&fake, &desired, &restarts, start + Duration::from_secs(second)).await == Plan::RestartFailed
        {
            restarted.push(second);
        }
    }
    assert_eq!(restarted, [0, 10, 30]);
}

#[tokio::test]
async fn the_finalizer_comes_before_anything_is_registered() {
    let fake = Fake::start().await;
    let (context, mut server) = context(&fake);
    let work = tokio::spawn(reconcile(Arc::new(mysql()), context));
    let (line, body) = echo(&mut server).await;
    assert_eq!(line, format!("PATCH {SINK}"));
    assert_eq!(
        body[1],
        json!({ "op": "add", "path": "/metadata/finalizers", "value": [FINALIZER] })
    );
    work.await.unwrap().unwrap();
    assert!(fake.world(|world| world.requests.is_empty()));
}

#[tokio::test]
async fn a_deleted_resource_takes_its_connector_with_it() {
    let fake = Fake::start().await;
    fake.world(|world| world.configs.insert("shop.items".to_owned(), Config::default()));
    let (context, mut server) = context(&fake);
    let work = tokio::spawn(reconcile(finalized(Some(&now())), context));
    let (line, body) = echo(&mut server).await;
    assert_eq!(line, format!("PATCH {SINK}"));
    assert_eq!(
        body[1],
        json!({ "op": "remove", "path": "/metadata/finalizers/0" })
    );
    work.await.unwrap().unwrap();
    assert!(fake.world(|world| world.configs.is_empty()));
}

#[tokio::test]
async fn a_connector_that_cannot_be_deleted_keeps_the_resource_which_says_so() {
    let fake = Fake::start().await;
    fake.instead(500, fake::error(500, "not now"));
    let (context, mut server) = context(&fake);
    let work = tokio::spawn(reconcile(finalized(Some(&now())), context));
    let (line, body) = echo(&mut server).await;
    assert_eq!(line, format!("PATCH {SINK}/status"));
    let ready = &body["status"]["conditions"][0];
    assert_eq!(
        (&ready["type"], &ready["status"], &ready["reason"]),
        (&json!("Ready"), &json!("False"), &json!("ConnectorNotDeleted"))
    );
    // The event about the change.
    echo(&mut server).await;
    let error = work.await.unwrap().unwrap_err();
    assert!(
        error
            .sentence()
            .contains("refused to delete a connector (status 500): not now"),
        "{}",
        error.sentence()
    );
}

#[tokio::test]
async fn a_deletion_gives_up_after_minutes_and_says_what_is_left() {
    let fake = Fake::start().await;
    fake.instead(500, fake::error(500, "never"));
    let (context, mut server) = context(&fake);
    let work = tokio::spawn(reconcile(finalized(Some("2026-01-01T00:00:00Z")), context));
    let (line, event) = echo(&mut server).await;
    assert!(
        line.starts_with("POST /apis/events.k8s.io/v1/namespaces/shop/events"),
        "{line}"
    );
    assert_eq!(event["reason"], "ConnectorLeftBehind");
    assert!(
        event["note"].as_str().unwrap().contains("\"shop.items\""),
        "{event}"
    );
    let (line, _) = echo(&mut server).await;
    assert_eq!(line, format!("PATCH {SINK}"));
    work.await.unwrap().unwrap();
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
