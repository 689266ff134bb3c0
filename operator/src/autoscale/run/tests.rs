//! What the autoscaler asks of the API server.

mod modes;
mod status_of;

use std::{sync::Arc, time::Duration};

use clap::Parser;
use http::{Response, StatusCode};
use k8s_openapi::api::apps::v1::Deployment;
use kube::client::Body;
use rdkafka::mocking::MockCluster;
use serde_json::{Value, json};

use super::*;
use crate::{
    autoscale::{self, Basis, History, Lag, Partition, Policy},
    controller::{Context, fake::Server},
    settings::Settings,
};

fn context() -> (Context, Server) {
    Context::test(Settings::parse_from([
        "naru-operator",
        "--worker-image",
        "naru-worker",
    ]))
}

pub(super) fn target() -> Target {
    Target {
        object: Object {
            kind: "FilteredSum",
            namespace: "shop".to_owned(),
            name: "total".to_owned(),
        },
        reference: ObjectReference {
            kind: Some("FilteredSum".to_owned()),
            name: Some("total".to_owned()),
            namespace: Some("shop".to_owned()),
            ..ObjectReference::default()
        },
        resource: ApiResource::erase::<naru_api::FilteredSum>(&()),
        generation: Some(2),
        said: Said::default(),
        suspended: false,
        refused: false,
        deployment: "total-sum".to_owned(),
        group: "naru.shop.total.sum".to_owned(),
        topic: "items".to_owned(),
        bootstrap_servers: "127.0.0.1:1".to_owned(),
        policy: Policy {
            min_replicas: 1,
            max_replicas: 5,
            lag_per_replica: 10_000,
            // One look is enough.
            basis: Basis::Lag,
            ..Policy::default()
        },
        producers: None,
        stall_every: Duration::from_secs(30),
        sums_anew: false,
    }
}

/// A look at three partitions with this lag in all.
fn seen(replicas: i32, lag: Option<u64>) -> autoscale::Look {
    autoscale::Look {
        at: Instant::now(),
        replicas,
        ready: replicas,
        obstacle: None,
        busy: None,
        partitions: lag.map(|lag| vec![Partition::new(0, lag), Partition::new(0, 0), Partition::new(0, 0)]),
    }
}

/// Answers the next request, and returns its method, path with query, and body.
async fn answer(server: &mut Server, status: StatusCode, body: Value) -> (String, Value) {
    let (request, send) = server.next_request().await.expect("a request was to come");
    let line = format!("{} {}", request.method(), request.uri());
    let sent = request.into_body().collect_bytes().await.unwrap();
    send.send_response(
        Response::builder()
            .status(status)
            .body(Body::from(body.to_string().into_bytes()))
            .unwrap(),
    );
    (line, serde_json::from_slice(&sent).unwrap_or_default())
}

fn scale_of(replicas: i32) -> Value {
    json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": { "name": "total-sum", "namespace": "shop" },
        "spec": { "replicas": replicas }, "status": { "replicas": replicas },
    })
}

fn deployment(replicas: i32) -> Deployment {
    let deployment = json!({
        "metadata": { "name": "total-sum", "namespace": "shop", "resourceVersion": "1" },
        "spec": { "replicas": replicas, "selector": {}, "template": {} },
    });
    serde_json::from_value(deployment).unwrap()
}

#[tokio::test]
async fn a_decision_becomes_a_patch_of_the_scale_and_an_event() {
    let (context, mut server) = context();
    context
        .live
        .deployments
        .put(context.live.deployments.begin(), &deployment(1));
    let work = tokio::spawn(async move {
        let replicas = scale::workers(&context, &target()).unwrap().replicas();
        let look = seen(replicas, Some(25_000));
        scale::scale(&context, &target(), &mut History::default(), &look)
            .await
            .done
    });
    let path = "/apis/apps/v1/namespaces/shop/deployments/total-sum/scale";
    let (line, body) = answer(&mut server, StatusCode::OK, scale_of(3)).await;
    assert!(line.starts_with(&format!("PATCH {path}?")), "{line}");
    assert!(
        line.contains("fieldManager=naru%2Fautoscaler") && line.contains("force=true"),
        "{line}"
    );
    let expected = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": { "name": "total-sum", "namespace": "shop" },
        "spec": { "replicas": 3 },
    });
    assert_eq!(body, expected);
    let (line, event) = answer(&mut server, StatusCode::CREATED, json!({})).await;
    assert!(
        line.starts_with("POST /apis/events.k8s.io/v1/namespaces/shop/events"),
        "{line}"
    );
    assert_eq!(event["reason"], "ScaledOut");
    assert_eq!(
        event["note"],
        "\"total-sum\" from 1 to 3: lag 25000 over 3 partitions, 0.00 records/s arrive and 0.00 are worked on, which wants \
         3 replicas: that is more lag than they are given"
    );
    assert_eq!(work.await.unwrap(), Ok(Some(3)));
}

#[tokio::test]
async fn without_lag_nothing_is_patched() {
    let (context, mut server) = context();
    let scaled = scale::scale(&context, &target(), &mut History::default(), &seen(3, None)).await;
    assert_eq!(scaled.done, Ok(None));
    drop(context);
    assert!(server.next_request().await.is_none());
}

#[tokio::test]
async fn a_target_without_a_deployment_is_left_alone() {
    let (context, mut server) = context();
    let (target, mut watches) = (target(), Watches::default());
    let watched = watches.take(&target);
    context.metrics.scaling.lag(&target.object, Some(7));
    look(&context, &target, watched, &Written::default()).await;
    let text = context.metrics.text();
    assert!(!text.contains("lag_records{"), "nobody knows it any more: {text}");
    drop(context);
    assert!(server.next_request().await.is_none());
}

#[tokio::test]
async fn groups_of_a_silent_cluster_do_not_hold_up_the_others() {
    let (context, mut server) = context();
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("items", 1, 1).unwrap();
    context
        .live
        .deployments
        .put(context.live.deployments.begin(), &deployment(1));
    tokio::spawn(async move {
        while let Some((_, send)) = server.next_request().await {
            send.send_response(Response::new(Body::from(resource().to_string().into_bytes())));
        }
    });
    let targets = || -> Vec<_> {
        let dead = (0..50).map(|number| {
            let mut dead = target();
            dead.object.name = format!("dead-{number}");
            dead
        });
        let mut well = target();
        well.bootstrap_servers = brokers.bootstrap_servers();
        dead.chain([well]).map(Arc::new).collect()
    };
    let (mut watches, written, stop) = (Watches::default(), Written::default(), CancellationToken::new());
    round(&context, targets(), &mut watches, &written, &stop).await;
    let again = Instant::now();
    round(&context, targets(), &mut watches, &written, &stop).await;
    // Each of the fifty would have waited for five seconds, and eight at a time.
    assert!(again.elapsed() < Duration::from_secs(8), "{:?}", again.elapsed());
    let available = |name: &str, is: u8| {
        let labels = format!("kind=\"FilteredSum\",namespace=\"shop\",name=\"{name}\"");
        format!("naru_operator_lag_available{{{labels}}} {is}\n")
    };
    let text = context.metrics.text();
    assert!(text.contains(&available("total", 1)), "{text}");
    assert!(text.contains(&available("dead-49", 0)), "{text}");
    watches.keep(&[]).await;
}

#[tokio::test]
async fn a_decision_is_not_made_again_while_the_watch_lags() {
    let mut watches = Watches::default();
    let mut watched = watches.take(&target());
    let now = Instant::now();
    assert_eq!(watched.replicas(1, now), 1);
    watched.told(1, 3, now);
    assert_eq!(watched.replicas(1, now), 3, "the watch does not know it yet");
    assert_eq!(watched.replicas(2, now), 2, "somebody else has changed it");
    watched.told(1, 3, now);
    assert_eq!(watched.replicas(3, now), 3);
    assert_eq!(watched.replicas(1, now), 1, "and back, after the watch had it");
    watched.told(1, 3, now);
    assert_eq!(
        watched.replicas(1, now + Duration::from_secs(30)),
        1,
        "it never came"
    );
    watches.put([(target().object, watched)]);
    watches.keep(&[]).await;
}

#[tokio::test]
async fn a_refusal_names_the_deployment() {
    let (context, mut server) = context();
    let work = tokio::spawn(async move {
        scale::scale(
            &context,
            &target(),
            &mut History::default(),
            &seen(1, Some(25_000)),
        )
        .await
        .done
    });
    let forbidden = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden",
        "message": "no", "metadata": {}, "details": {},
    });
    answer(&mut server, StatusCode::FORBIDDEN, forbidden).await;
    let refusal = work.await.unwrap().unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "failed to scale Deployment \"total-sum\": Forbidden (status 403)"
    );
}

#[tokio::test]
async fn the_autoscaler_stops_when_told_and_an_unreachable_kafka_changes_nothing() {
    let (context, mut server) = context();
    context
        .live
        .deployments
        .put(context.live.deployments.begin(), &deployment(3));
    let (context, stop) = (Arc::new(context), CancellationToken::new());
    let work = tokio::spawn(run(
        Arc::clone(&context),
        || vec![Arc::new(target())],
        stop.clone(),
    ));
    let (line, body) = answer(&mut server, StatusCode::OK, resource()).await;
    assert!(line.contains("/filteredsums/total/status?"), "{line}");
    assert_eq!(
        said(&body),
        [
            ("ScalingActive", "False", "LagUnknown"),
            ("LagAvailable", "False", "KafkaUnreachable"),
            ("PartitionsStalled", "Unknown", "LagUnknown")
        ]
    );
    let (line, event) = answer(&mut server, StatusCode::CREATED, json!({})).await;
    stop.cancel();
    assert!(line.starts_with("POST "), "{line}");
    assert_eq!(
        (&event["reason"], &event["type"]),
        (&json!("KafkaUnreachable"), &json!("Warning"))
    );
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .expect("it stops in time")
        .unwrap();
    assert!(
        !context.metrics.text().contains("lag_records{"),
        "{}",
        context.metrics.text()
    );
    drop(context);
    assert!(server.next_request().await.is_none());
}

fn resource() -> Value {
    json!({
        "apiVersion": "naru.dev/v1alpha1", "kind": "FilteredSum",
        "metadata": { "name": "total", "namespace": "shop" },
    })
}

/// Type, status and reason of each condition that was sent.
fn said(body: &Value) -> Vec<(&str, &str, &str)> {
    let conditions = body["status"]["conditions"].as_array().unwrap();
    let text = |condition: &'_ Value, key: &str| condition[key].as_str().unwrap().to_owned();
    conditions
        .iter()
        .map(|condition| {
            let [kind, status, reason] =
                ["type", "status", "reason"].map(|key| &*text(condition, key).leak());
            (kind, status, reason)
        })
        .collect()
}

#[tokio::test]
async fn conditions_are_applied_under_a_manager_of_their_own_and_only_when_they_change() {
    let (context, mut server) = context();
    let look = Look {
        lag: Some(Ok(Lag::of(vec![Partition::new(0, 7)]))),
        ..Look::default()
    };
    let work = tokio::spawn(async move {
        let written = Written::default();
        let mut target = target();
        conditions::write(&context, &target, &look, &written)
            .await
            .unwrap();
        // The watch has not told of it yet.
        conditions::write(&context, &target, &look, &written)
            .await
            .unwrap();
        target.generation = Some(3);
        conditions::write(&context, &target, &look, &written)
            .await
            .unwrap();
    });
    let path = "PATCH /apis/naru.dev/v1alpha1/namespaces/shop/filteredsums/total/status?";
    for generation in [2, 3] {
        let (line, body) = answer(&mut server, StatusCode::OK, resource()).await;
        assert!(line.starts_with(path), "{line}");
        assert!(
            line.contains("fieldManager=naru%2Fautoscaler-status") && line.contains("force=true"),
            "{line}"
        );
        assert_eq!(
            said(&body),
            [
                ("ScalingActive", "True", "FollowingLag"),
                ("LagAvailable", "True", "LagRead")
            ]
        );
        assert_eq!(body["status"]["conditions"][0]["observedGeneration"], generation);
        assert_eq!(
            body["status"]["conditions"][0]["message"],
            "between 1 and 5 replicas"
        );
    }
    work.await.unwrap();
    assert!(
        server.next_request().await.is_none(),
        "no event about what was to be expected"
    );
}

#[tokio::test]
async fn a_suspended_resource_is_neither_looked_at_nor_scaled_and_says_so() {
    let (context, mut server) = context();
    let (context, stop) = (Arc::new(context), CancellationToken::new());
    let suspended = || {
        let mut target = target();
        target.suspended = true;
        vec![Arc::new(target)]
    };
    let work = tokio::spawn(run(Arc::clone(&context), suspended, stop.clone()));
    let (line, body) = answer(&mut server, StatusCode::OK, resource()).await;
    assert!(line.contains("/filteredsums/total/status?"), "{line}");
    assert_eq!(
        said(&body),
        [
            ("ScalingActive", "False", "Suspended"),
            ("LagAvailable", "Unknown", "NotChecked"),
            ("PartitionsStalled", "Unknown", "NotChecked")
        ]
    );
    stop.cancel();
    work.await.unwrap();
    drop(context);
    assert!(server.next_request().await.is_none());
}

#[tokio::test]
async fn a_resource_whose_spec_is_refused_from_the_start_says_that_it_is_not_scaled() {
    let (context, mut server) = context();
    let (context, stop) = (Arc::new(context), CancellationToken::new());
    let refused = || {
        vec![Arc::new(Target {
            refused: true,
            ..target()
        })]
    };
    let work = tokio::spawn(run(Arc::clone(&context), refused, stop.clone()));
    let (_, body) = answer(&mut server, StatusCode::OK, resource()).await;
    assert_eq!(
        said(&body),
        [
            ("ScalingActive", "False", "InvalidSpec"),
            ("LagAvailable", "Unknown", "NotChecked"),
            ("PartitionsStalled", "Unknown", "NotChecked")
        ]
    );
    stop.cancel();
    work.await.unwrap();
    drop(context);
    assert!(
        server.next_request().await.is_none(),
        "the reconciler tells of it"
    );
}
