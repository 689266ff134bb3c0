//! Who owns what of a Deployment that begins with other replicas than one.

use clap::Parser;
use http::{Response, StatusCode};
use kube::client::Body;
use serde_json::Value;

use super::*;
use crate::{controller::fake::Server, scrape_job::tests::job, settings::Settings, worker::tests::example};

/// Answers the next request. Returns its method, its field manager and its body.
async fn answer(server: &mut Server, status: StatusCode, answer: Value) -> (String, String, Value) {
    let (request, send) = server.next_request().await.expect("a request was to come");
    let query = request.uri().query().unwrap_or_default();
    let mut parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
    let manager = parameters.find(|(key, _)| *key == "fieldManager");
    let manager = manager.map_or("", |(_, manager)| manager).replace("%2F", "/");
    let method = request.method().to_string();
    let body = request.into_body().collect_bytes().await.unwrap();
    let answer = Body::from(answer.to_string().into_bytes());
    send.send_response(Response::builder().status(status).body(answer).unwrap());
    (method, manager, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn the_first_replicas_are_left_to_the_autoscaler() {
    let (context, mut server) = Context::test(Settings::parse_from(["naru-operator", "--worker-image", "w"]));
    let (owner, wanted) = (job(|yaml| yaml), example());
    let live = serde_json::to_value(&wanted).unwrap();
    let work = tokio::spawn(async move { settle(&context, &owner, &wanted, Some(0)).await });
    let missing = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "", "code": 404,
        "reason": "NotFound", "metadata": {}, "details": {} });
    answer(&mut server, StatusCode::NOT_FOUND, missing).await;

    let (method, manager, made) = answer(&mut server, StatusCode::CREATED, live.clone()).await;
    assert_eq!((method.as_str(), manager.as_str()), ("PATCH", FIELD_MANAGER));
    assert_eq!(made["spec"]["replicas"], 0);
    assert_eq!(made["spec"]["template"], live["spec"]["template"]);
    // Not what is wanted, so that a pass that ends here is followed by an apply.
    let applied = &made["metadata"]["annotations"][drift::APPLIED];
    assert_ne!(*applied, live["metadata"]["annotations"][drift::APPLIED]);

    let (_, manager, theirs) = answer(&mut server, StatusCode::OK, live.clone()).await;
    assert_eq!(manager, AUTOSCALER);
    assert_eq!(theirs["spec"], json!({ "replicas": 0 }));

    let (_, manager, applied) = answer(&mut server, StatusCode::OK, live.clone()).await;
    assert_eq!((manager.as_str(), applied), (FIELD_MANAGER, live));
    assert_eq!(work.await.unwrap().unwrap(), Settled::Yes);
}
