//! What the controllers ask for, and what ends a pass.

#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use clap::Parser;
use kube::client::Body;
use naru_api::{ScrapeJob, SinkConnector};
use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn an_operator_that_is_limited_to_a_namespace_asks_for_no_other() {
    let (service, _) = tower_test::mock::pair::<http::Request<Body>, http::Response<Body>>();
    let client = Client::new(service, "default");
    let path = |arguments: &[&str]| {
        let all = ["naru-operator", "--worker-image", "naru/workers:1"].iter();
        let settings = Settings::try_parse_from(all.chain(arguments)).unwrap();
        watched::<ScrapeJob>(&client, &settings).resource_url().to_owned()
    };
    assert_eq!(path(&[]), "/apis/naru.dev/v1alpha1/scrapejobs");
    assert_eq!(
        path(&["--namespace", "shop"]),
        "/apis/naru.dev/v1alpha1/namespaces/shop/scrapejobs"
    );
}

/// An API server with these SinkConnectors of which nothing changes, and what is told of events there. Without
/// their kind at first, for so many requests.
fn api_server(names: &'static [&'static str], refusals: usize) -> (Client, mpsc::UnboundedReceiver<Value>) {
    let (events, told) = mpsc::unbounded_channel();
    let left = Arc::new(AtomicUsize::new(refusals));
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (events, left) = (events.clone(), Arc::clone(&left));
        async move {
            let path = request.uri().to_string();
            if request.method() == http::Method::POST {
                let body = request.into_body().collect_bytes().await.unwrap();
                events.send(serde_json::from_slice(&body).unwrap()).unwrap();
            } else if path.contains("watch=true") {
                std::future::pending::<()>().await;
            } else if left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
            {
                let status =
                    json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound" });
                let answer = http::Response::builder().status(404);
                return answer.body(Body::from(status.to_string().into_bytes()));
            }
            let items: Vec<_> = names
                .iter()
                .map(|name| {
                    json!({
                        "apiVersion": "naru.dev/v1alpha1", "kind": "SinkConnector",
                        "metadata": { "name": name, "namespace": "shop", "uid": name, "resourceVersion": "1" },
                        "spec": { "topics": ["items"], "class": "org.example.Sink" },
                    })
                })
                .collect();
            let list = json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": "1" }, "items": items });
            Ok(http::Response::new(Body::from(list.to_string().into_bytes())))
        }
    });
    (Client::new(service, "shop"), told)
}

fn context(client: Client) -> Arc<Context> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = Settings::parse_from(["naru-operator", "--worker-image", "w"]);
    let (http, metrics) = (reqwest::Client::new(), Arc::default());
    Arc::new(Context::new(client, http, Fence::default(), metrics, settings))
}

/// Which resources were gone through.
static PASSES: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[tokio::test(start_paused = true)]
async fn a_panic_over_one_resource_is_told_and_tried_again_and_stops_no_other() {
    let (client, mut events) = api_server(&["cursed", "well"], 0);
    let context = context(client);
    let stop = CancellationToken::new();
    let controller = of::<SinkConnector>(&context.client, &context.settings);
    let reconcile = |sink: Arc<SinkConnector>, context: Arc<Context>| {
        async move {
            let name = sink.metadata.name.clone().unwrap();
            PASSES.lock().unwrap().push(name.clone());
            assert_ne!(name, "cursed", "geheim");
            let next = Duration::from_secs(5);
            Ok(report::succeeded(&context, "SinkConnector", &*sink, next))
        }
        .boxed()
    };
    let run = run(
        "SinkConnector",
        controller,
        reconcile,
        Arc::clone(&context),
        stop.clone(),
    );
    let run = tokio::spawn(run);
    let event = tokio::time::timeout(Duration::from_secs(20), events.recv())
        .await
        .expect("it is told")
        .unwrap();
    assert_eq!(event["reason"], "OperatorDefect");
    assert!(!event.to_string().contains("geheim"), "{event}");
    let times = |name: &str| PASSES.lock().unwrap().iter().filter(|pass| *pass == name).count();
    let all = async {
        while times("cursed") < 3 || times("well") < 3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let within = Duration::from_secs(60);
    tokio::time::timeout(within, all)
        .await
        .expect("passes go on over both");
    stop.cancel();
    run.await.unwrap();
    let text = context.metrics.text();
    assert!(
        text.contains("result=\"OperatorDefect\"") && text.contains("result=\"ok\""),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_standby_tries_until_a_kind_can_be_listed() {
    let (client, _events) = api_server(&[], 3);
    let gates = Gates::new(&["SinkConnector"]);
    let began = tokio::time::Instant::now();
    let context = context(client);
    let rehearsal = rehearse::<SinkConnector>(&context, &gates, "SinkConnector");
    tokio::time::timeout(Duration::from_secs(60), rehearsal)
        .await
        .unwrap();
    let took = began.elapsed();
    assert!(took >= 2 * REHEARSE_AGAIN, "{took:?}");
    assert!(gates.all_listable());
}

#[tokio::test]
async fn what_is_busy_shows_in_no_status_and_is_no_failure() {
    let settings = Settings::parse_from(["naru-operator", "--worker-image", "w"]);
    let (context, mut server) = Context::test(settings);
    let sink = json!({
        "apiVersion": "naru.dev/v1alpha1", "kind": "SinkConnector",
        "metadata": { "name": "items", "namespace": "shop", "uid": "1", "generation": 1 },
        "spec": { "topics": ["items"], "class": "org.example.Sink" },
    });
    let sink: Arc<SinkConnector> = Arc::new(serde_json::from_value(sink).unwrap());
    let busy = Error::busy("kafka");
    let ended = conditions::Ended {
        outcome: Err(&busy),
        read: true,
        deleting: false,
        suspension: conditions::Suspension::Over,
        health: conditions::Health::unseen(false),
    };
    status::conclude(&context, &*sink, &ended, |_| {}).await.unwrap();
    let context = Arc::new(context);
    let policy = report::failed::<SinkConnector>("SinkConnector");
    let next = policy(Arc::clone(&sink), &busy, Arc::clone(&context));
    assert_ne!(
        next,
        Action::await_change(),
        "nobody would tell that it is its turn"
    );
    let key = report::key("SinkConnector", &*sink);
    let version = (Some("1".to_owned()), Some(1));
    let (failures, _) = context.failures.failed(key, version, std::time::Instant::now());
    assert_eq!(failures, 1, "it did not count before");
    drop((context, policy));
    assert!(server.next_request().await.is_none());
}
