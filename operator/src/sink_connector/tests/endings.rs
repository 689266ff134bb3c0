//! How SinkConnectors and their connectors end.

use std::sync::Arc;

use http::Response;
use kube::client::Body;

use super::{
    passes::{SINK, changes, context, echo, finalized, now},
    *,
};
use crate::{
    connect::fake::{self, Fake},
    controller::fake::Server,
};

#[tokio::test]
async fn the_finalizer_comes_before_anything_is_registered() {
    let fake = Fake::start().await;
    let (context, mut server) = context(&fake);
    let work = tokio::spawn(reconcile(Arc::new(mysql()), context));
    let (line, body) = echo(&mut server).await;
    assert_eq!(line, format!("PATCH {SINK}"));
    assert_eq!(body["metadata"]["finalizers"], json!([FINALIZER]));
    let (line, _) = server
        .next_request()
        .await
        .map(|(request, _)| (request.uri().path().to_owned(), ()))
        .unwrap();
    assert_eq!(line, "/api/v1/namespaces/shop/secrets/mysql");
    work.abort();
    assert!(fake.world(|world| world.requests.is_empty()));
}

/// Answers the next request with a refusal, and returns its method and path.
async fn refuse(server: &mut Server, code: u16, reason: &str) -> String {
    let (request, send) = server.next_request().await.expect("a request was to come");
    let refusal =
        json!({ "kind": "Status", "status": "Failure", "reason": reason, "code": code, "message": "no" });
    let refusal = Body::from(serde_json::to_vec(&refusal).unwrap());
    send.send_response(Response::builder().status(code).body(refusal).unwrap());
    format!("{} {}", request.method(), request.uri().path())
}

#[tokio::test]
async fn a_finalizer_that_cannot_be_written_is_told_unless_somebody_else_was_quicker() {
    let fake = Fake::start().await;
    let (context, mut server) = context(&fake);
    let deleted = finalized(Some(&now()));
    for sink in [Arc::new(mysql()), deleted] {
        let work = tokio::spawn(reconcile(Arc::clone(&sink), Arc::clone(&context)));
        assert_eq!(
            refuse(&mut server, 403, "Forbidden").await,
            format!("PATCH {SINK}")
        );
        let (line, body) = echo(&mut server).await;
        assert_eq!(line, format!("PATCH {SINK}/status"));
        let conditions = &body["status"]["conditions"];
        assert_eq!(conditions[0]["reason"], "KubernetesError");
        assert_eq!(conditions[1]["status"], "Unknown");
        // The event about the change.
        echo(&mut server).await;
        assert_eq!(work.await.unwrap().unwrap_err().reason(), "KubernetesError");

        let work = tokio::spawn(reconcile(sink, Arc::clone(&context)));
        refuse(&mut server, 409, "Conflict").await;
        assert!(work.await.unwrap().unwrap_err().is_conflict());
    }
}

#[tokio::test]
async fn an_orphaned_connector_needs_no_finalizer_and_goes_on() {
    let fake = Fake::start().await;
    let (context, mut server) = context(&fake);
    let mut sink = finalized(None);
    Arc::make_mut(&mut sink).spec.deletion_policy = ConnectorDeletionPolicy::Orphan;
    let work = tokio::spawn(reconcile(Arc::clone(&sink), Arc::clone(&context)));
    let (line, body) = echo(&mut server).await;
    assert_eq!(line, format!("PATCH {SINK}"));
    assert_eq!(body["metadata"]["finalizers"], json!([]));
    work.abort();
    // One that was deleted before the finalizer could go.
    Arc::make_mut(&mut sink).metadata.deletion_timestamp = serde_json::from_value(json!(now())).unwrap();
    let work = tokio::spawn(reconcile(sink, context));
    echo(&mut server).await;
    work.await.unwrap().unwrap();
    assert!(fake.world(|world| world.requests.is_empty()));
}

#[tokio::test]
async fn offsets_are_reset_between_the_stop_and_the_deletion() {
    let fake = Fake::start().await;
    fake.world(|world| fake::register(world, "shop.items", Config::default(), "RUNNING"));
    let (context, mut server) = context(&fake);
    let mut sink = finalized(Some(&now()));
    Arc::make_mut(&mut sink).spec.deletion_policy = ConnectorDeletionPolicy::ResetOffsetsAndDelete;
    let work = tokio::spawn(reconcile(sink, context));
    let (line, body) = echo(&mut server).await;
    assert_eq!(
        (line, &body["metadata"]["finalizers"]),
        (format!("PATCH {SINK}"), &json!([]))
    );
    work.await.unwrap().unwrap();
    let expected = [
        "PUT /connectors/shop.items/stop",
        "DELETE /connectors/shop.items/offsets",
        "DELETE /connectors/shop.items",
    ];
    assert_eq!(changes(&fake), expected);
}

#[tokio::test]
async fn a_forced_deletion_does_not_wait() {
    let fake = Fake::start().await;
    fake.instead(500, fake::error(500, "not now"));
    let (context, mut server) = context(&fake);
    let mut sink = finalized(Some(&now()));
    let annotation = (naru_api::FORCE_DELETE_ANNOTATION.to_owned(), "true".to_owned());
    Arc::make_mut(&mut sink).metadata.annotations = Some([annotation].into());
    let work = tokio::spawn(reconcile(sink, context));
    let (_, event) = echo(&mut server).await;
    assert_eq!(event["reason"], "ConnectorLeftBehind");
    let (line, _) = echo(&mut server).await;
    assert_eq!(line, format!("PATCH {SINK}"));
    work.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_event_that_a_dying_namespace_refuses_holds_nothing_up() {
    let fake = Fake::start().await;
    fake.instead(500, fake::error(500, "never"));
    let (context, mut server) = context(&fake);
    let sink = finalized(Some("2026-01-01T00:00:00Z"));
    deletion::tried_for_long(&context, KIND, &*sink);
    let work = tokio::spawn(reconcile(sink, context));
    let line = refuse(&mut server, 403, "Forbidden").await;
    assert!(line.ends_with("/events"), "{line}");
    let (line, _) = echo(&mut server).await;
    assert_eq!(line, format!("PATCH {SINK}"));
    work.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_deleted_resource_takes_its_connector_with_it() {
    let fake = Fake::start().await;
    fake.world(|world| world.configs.insert("shop.items".to_owned(), Config::default()));
    let (context, mut server) = context(&fake);
    let work = tokio::spawn(reconcile(finalized(Some(&now())), context));
    let (line, body) = echo(&mut server).await;
    assert_eq!(
        (line, &body["metadata"]["finalizers"]),
        (format!("PATCH {SINK}"), &json!([]))
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
    let sink = finalized(Some("2026-01-01T00:00:00Z"));
    deletion::tried_for_long(&context, KIND, &*sink);
    let work = tokio::spawn(reconcile(sink, context));
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
