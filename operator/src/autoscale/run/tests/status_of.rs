//! What the autoscaler says in `status.scaling`, and when.

use naru_api::{ScalingDecision, ScalingReason, ScalingStatus};

use super::*;
use crate::autoscale::Mode;

fn decision(number: i32) -> ScalingDecision {
    ScalingDecision {
        time: "2026-01-01T00:00:00Z".to_owned(),
        from: number,
        to: number + 1,
        reason: ScalingReason::Lag,
        message: "because".to_owned(),
    }
}

#[tokio::test]
async fn a_decision_is_in_the_status_with_its_figures_and_stays_there_when_the_operator_is_another() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("items", 3, 1).unwrap();
    let target = Target {
        bootstrap_servers: brokers.bootstrap_servers(),
        ..target()
    };
    let (context, mut server) = context();
    let live = |replicas| {
        let deployments = &context.live.deployments;
        let mut deployment = deployment(replicas);
        deployment.metadata.resource_version = Some((replicas + 1).to_string());
        deployments.put(deployments.begin(), &deployment);
    };
    live(0);
    let (mut watches, written) = (Watches::default(), Written::default());
    let mut watched = watches.take(&target);
    let answers = async {
        let (line, _) = answer(&mut server, StatusCode::OK, scale_of(1)).await;
        assert!(line.contains("/total-sum/scale?"), "{line}");
        let (line, _) = answer(&mut server, StatusCode::CREATED, json!({})).await;
        assert!(line.starts_with("POST "), "{line}");
        // The API server refuses the status at first.
        let unable = json!({ "kind": "Status", "code": 500, "reason": "InternalError", "message": "", "status": "Failure",
            "metadata": {}, "details": {} });
        let (_, refused) = answer(&mut server, StatusCode::INTERNAL_SERVER_ERROR, unable).await;
        let (line, body) = answer(&mut server, StatusCode::OK, resource()).await;
        assert!(
            line.contains("/filteredsums/total/status?")
                && line.contains("fieldManager=naru%2Fautoscaler-status"),
            "{line}"
        );
        let history = |body: &Value| body["status"]["scaling"]["history"].clone();
        assert_eq!(history(&body), history(&refused));
        (body["status"].clone(), server)
    };
    let looks = async {
        for _ in 0..4 {
            watched = look(&context, &target, watched, &written).await;
        }
        watched
    };
    let ((status, mut server), watched) = tokio::join!(answers, looks);
    let scaling: ScalingStatus = serde_json::from_value(status["scaling"].clone()).unwrap();
    assert_eq!((scaling.desired_replicas, scaling.lag), (Some(1), Some(0)));
    assert_eq!(scaling.arrival_per_second, Some(0.0));
    let [made] = &scaling.history[..] else {
        panic!("{scaling:?}")
    };
    assert_eq!(
        (made.from, made.to, made.reason),
        (0, 1, ScalingReason::BelowMinimum)
    );
    assert!(
        made.message.starts_with("lag 0 over 3 partitions, ") && made.message.ends_with("at least 1"),
        "{made:?}"
    );
    assert!(made.time.parse::<Timestamp>().is_ok(), "{made:?}");

    // Another operator knows of it what the status says.
    live(1);
    let target = Target {
        said: Said {
            conditions: serde_json::from_value(status["conditions"].clone()).unwrap(),
            scaling: Some(scaling.clone()),
        },
        ..target
    };
    let (mut others, written) = (Watches::default(), Written::default());
    let mut other = others.take(&target);
    for _ in 0..3 {
        other = look(&context, &target, other, &written).await;
    }
    other.untold.push(decision(1));
    let answers = async {
        let (_, body) = answer(&mut server, StatusCode::OK, resource()).await;
        (body["status"]["scaling"].clone(), server)
    };
    let ((after, mut server), other) = tokio::join!(answers, look(&context, &target, other, &written));
    let after: ScalingStatus = serde_json::from_value(after).unwrap();
    assert_eq!(after.history, [&[decision(1)], &scaling.history[..]].concat());
    watches.put([(target.object.clone(), watched)]);
    others.put([(target.object.clone(), other)]);
    watches.keep(&[]).await;
    others.keep(&[]).await;
    drop(context);
    assert!(server.next_request().await.is_none());
}

#[tokio::test]
async fn figures_that_move_are_not_written() {
    let (context, mut server) = context();
    let (target, written) = (target(), Written::default());
    let work = tokio::spawn(async move {
        for (lag, replicas) in [(7, 1), (9, 1), (8000, 1), (8000, 2)] {
            let seen = seen(replicas, Some(lag));
            let scaled = scale::scale(&context, &target, &mut History::default(), &seen).await;
            let look = Look {
                lag: Some(Ok(Lag::of(seen.partitions.unwrap()))),
                news: News {
                    desired: Some(replicas),
                    figures: scaled.decision.figures,
                    decisions: Vec::new(),
                },
                ..Look::default()
            };
            conditions::write(&context, &target, &look, &written)
                .await
                .unwrap();
        }
    });
    for (lag, replicas) in [(7, 1), (8000, 2)] {
        let (_, body) = answer(&mut server, StatusCode::OK, resource()).await;
        let scaling = &body["status"]["scaling"];
        assert_eq!(
            (&scaling["lag"], &scaling["desiredReplicas"]),
            (&json!(lag), &json!(replicas))
        );
    }
    work.await.unwrap();
    assert!(server.next_request().await.is_none());
}

#[test]
fn the_last_ten_decisions_are_kept_the_newest_first() {
    let mut status = None;
    for first in [0, 3, 6, 9] {
        let news = News {
            decisions: (first..first + 3).map(decision).collect(),
            ..News::default()
        };
        status = news.after(status.as_ref());
    }
    let kept: Vec<_> = status
        .unwrap()
        .history
        .iter()
        .map(|decision| decision.from)
        .collect();
    assert_eq!(kept, [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    assert_eq!(News::default().after(None), None, "nothing is to be said");
}

#[tokio::test]
async fn a_recommendation_stands_for_a_while() {
    let (context, _server) = context();
    let mut target = target();
    target.policy.mode = Mode::Recommend;
    let (mut watches, start) = (Watches::default(), Instant::now());
    let mut watched = watches.take(&target);
    let mut said = Vec::new();
    // (seconds, lag, replicas)
    for (seconds, lag, replicas) in [
        (0, Some(25_000), 1),
        (5, Some(11_000), 1),
        (29, Some(11_000), 1),
        (30, Some(11_000), 1),
        (65, None, 1),
        (70, Some(11_000), 2),
        (75, Some(11_000), 4),
    ] {
        let look = seen(replicas, lag);
        let scaled = scale::scale(&context, &target, &mut History::default(), &look).await;
        watched.conclude(&target, &scaled, replicas, start + Duration::from_secs(seconds));
        said.push((watched.desired, watched.untold.len()));
    }
    assert_eq!(
        said,
        [
            (Some(3), 1),
            (Some(3), 1),
            (Some(3), 1),
            (Some(2), 2),
            (Some(2), 2),
            (Some(2), 2),
            // Partitions are three.
            (Some(3), 3),
        ]
    );
    assert_eq!(watched.untold[2].reason, ScalingReason::AboveLimit);
    watches.put([(target.object.clone(), watched)]);
    watches.keep(&[]).await;
}

#[tokio::test]
async fn what_one_replica_can_do_is_known_from_the_status() {
    let mut target = target();
    let mut watches = Watches::default();
    let mut known = |basis, said| {
        target.policy.basis = basis;
        target.said.scaling = Some(ScalingStatus {
            capacity_per_replica: said,
            ..ScalingStatus::default()
        });
        watches.take(&target).history.capacity()
    };
    assert_eq!(known(Basis::Rates, Some(962.5)), Some(962.5));
    assert_eq!(known(Basis::Rates, None), None);
    assert_eq!(known(Basis::Rates, Some(-1.0)), None, "somebody has written it");
    assert_eq!(known(Basis::Lag, Some(962.5)), None);
    watches.keep(&[]).await;
}
