//! What becomes of credentials: they reach Connect, and nothing that people read.

use http::Response;
use kube::client::Body;
use naru_api::KafkaEndpoint;
use rdkafka::mocking::MockCluster;

use super::{passes, *};
use crate::{connect::fake::Fake, logs};

const PASSWORD: &str = "geheim-4711";
/// The same in base64, as the API server has it.
const ENCODED: &str = "Z2VoZWltLTQ3MTE=";

#[tokio::test]
async fn a_password_is_in_no_log_line_of_any_level_no_status_no_event_and_no_metric() {
    let (_guard, log) = logs::tests::everything();
    let fake = Fake::start().await;
    let trace = format!("Access denied for user ada using password {PASSWORD}\n\tat Driver.connect");
    fake.world(|world| {
        let failed = json!({ "state": "FAILED", "worker_id": "w:8083", "trace": trace });
        let status = json!({ "name": "shop.items", "connector": failed, "tasks": [], "type": "sink" });
        world.statuses.insert("shop.items".to_owned(), status);
    });
    let kafka = MockCluster::new(1).unwrap();
    let mut sink = passes::finalized(None);
    for topic in &sink.spec.topics {
        kafka.create_topic(topic, 1, 1).unwrap();
    }
    Arc::make_mut(&mut sink).spec.kafka = Some(KafkaEndpoint {
        bootstrap_servers: kafka.bootstrap_servers(),
    });
    let (context, mut server) = passes::context(&fake);
    let metrics = Arc::clone(&context.metrics);
    let work = tokio::spawn(reconcile(sink, context));
    let mut sent = String::new();
    while let Some((request, send)) = server.next_request().await {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect_bytes().await.unwrap();
        sent.push_str(&String::from_utf8_lossy(&body));
        let answer = if path.ends_with("/secrets/mysql") {
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "mysql", "namespace": "shop" },
                "data": { "username": "YWRh", "password": ENCODED },
            })
        } else {
            serde_json::to_value(mysql()).unwrap()
        };
        send.send_response(Response::new(Body::from(serde_json::to_vec(&answer).unwrap())));
    }
    work.await.unwrap().unwrap();
    let registered = fake.world(|world| serde_json::to_string(&world.configs).unwrap());
    assert!(registered.contains(PASSWORD), "Connect needs it: {registered}");
    assert!(
        sent.contains("Access denied"),
        "the status says what is wrong: {sent}"
    );
    let log = log.text();
    assert!(log.contains("\"level\":\"TRACE\""), "{log}");
    for (what, text) in [("sent", sent), ("logged", log), ("counted", metrics.text())] {
        for secret in [PASSWORD, ENCODED] {
            assert!(!text.contains(secret), "{secret} was {what}: {text}");
        }
    }
}
