//! Who owns what of a Deployment that begins with other replicas than one.

use clap::Parser;
use http::{Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::{controller::fake::Server, scrape_job::tests::job, settings::Settings, worker::tests::example};

/// Answers the next request. Returns its method, its query and its body.
async fn answer(server: &mut Server, status: StatusCode, answer: Value) -> (String, String, Value) {
    let (request, send) = server.next_request().await.expect("a request was to come");
    let query = request.uri().query().unwrap_or_default().replace("%2F", "/");
    let method = request.method().to_string();
    let body = request.into_body().collect_bytes().await.unwrap();
    let answer = Body::from(answer.to_string().into_bytes());
    send.send_response(Response::builder().status(status).body(answer).unwrap());
    (method, query, serde_json::from_slice(&body).unwrap_or_default())
}

fn refused(code: u16, reason: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "", "code": code,
        "reason": reason, "metadata": {}, "details": {} })
}

#[tokio::test]
async fn the_first_replicas_stay_until_somebody_sets_others() {
    let (context, mut server) = Context::test(Settings::parse_from(["naru-operator", "--worker-image", "w"]));
    let (owner, wanted) = (job(|yaml| yaml), example());
    let plain = to_json(&wanted);
    let with_first = |version: Option<&str>| {
        let mut with = plain.clone();
        with["spec"]["replicas"] = 0.into();
        with["metadata"]["annotations"][FIRST_REPLICAS] = "0".into();
        if let Some(version) = version {
            with["metadata"]["resourceVersion"] = version.into();
        }
        with
    };
    let (mut live, mut changed) = (with_first(Some("1")), wanted.clone());
    let before = live.clone();
    changed
        .annotations_mut()
        .insert("other".to_owned(), "spec".to_owned());
    changed = crate::controller::drift::stamp(changed);
    let changed_plain = to_json(&changed);
    live["spec"]["replicas"] = 3.into();
    live["metadata"]["resourceVersion"] = "2".into();

    let work = tokio::spawn(async move {
        let deployments = &context.live.deployments;
        let begins = Begins {
            at_first: Some(0),
            again: None,
        };
        let first = settle(&context, &owner, &wanted, begins).await;
        let conflict = settle(&context, &owner, &changed, begins).await;
        let scaled: Deployment = serde_json::from_value(live).unwrap();
        deployments.put(deployments.begin(), &scaled);
        let later = settle(&context, &owner, &changed, begins).await;
        assert!(conflict.unwrap_err().is_conflict());
        [first, later].map(Result::unwrap)
    });
    let ours = format!("fieldManager={FIELD_MANAGER}");
    let (method, query, made) = answer(&mut server, StatusCode::CREATED, before).await;
    assert_eq!((method.as_str(), made), ("PATCH", with_first(None)));
    assert!(query.contains(&ours) && !query.contains("force=true"), "{query}");

    // Of the version that was seen only: they are somebody else's from one moment to the next.
    let (_, query, kept) = answer(&mut server, StatusCode::CONFLICT, refused(409, "Conflict")).await;
    let (replicas, version) = (&kept["spec"]["replicas"], &kept["metadata"]["resourceVersion"]);
    assert_eq!((replicas, version), (&json!(0), &json!("1")));
    assert!(query.contains("force=true"), "{query}");

    let (_, _, left) = answer(&mut server, StatusCode::OK, changed_plain.clone()).await;
    assert_eq!(left, changed_plain);
    assert_eq!(work.await.unwrap(), [Settled::Yes, Settled::Yes]);
}
