//! Workers that others scale.

use super::*;
use crate::autoscale::Mode;

fn others_scale(mode: Mode) -> Target {
    let mut target = target();
    target.policy.mode = mode;
    target
}

#[tokio::test]
async fn what_is_only_recommended_is_a_metric_and_no_patch() {
    for (mode, desired) in [(Mode::Recommend, Some(3)), (Mode::Disabled, None)] {
        let (context, mut server) = context();
        let target = others_scale(mode);
        let look = seen(1, Some(25_000));
        let scaled = scale::scale(&context, &target, &mut History::default(), &look).await;
        assert_eq!(scaled.done, Ok(None));
        let text = context.metrics.text();
        let line = |desired| {
            format!("replicas_desired{{kind=\"FilteredSum\",namespace=\"shop\",name=\"total\"}} {desired}\n")
        };
        assert_eq!(desired.is_some(), text.contains("replicas_desired{"), "{text}");
        assert!(
            desired.is_none_or(|desired| text.contains(&line(desired))),
            "{text}"
        );
        assert!(!text.contains("decision=\"out\""), "{text}");
        drop(context);
        assert!(server.next_request().await.is_none());
    }
}

/// Managed fields of a Deployment that naru has scaled and suspended, and somebody else has labelled.
fn owned() -> Value {
    let entry = |manager: &str, operation: &str, subresource: Option<&str>, fields: Value| {
        json!({ "manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "time": "2026-01-01T00:00:00Z", "subresource": subresource, "fieldsV1": fields })
    };
    json!([
        entry(
            "naru/operator",
            "Apply",
            None,
            json!({ "f:metadata": { "f:annotations": { "f:naru.dev/applied": {} } }, "f:spec": { "f:replicas": {}, "f:template": {} } })
        ),
        entry(
            "naru/autoscaler",
            "Apply",
            Some("scale"),
            json!({ "f:spec": { "f:replicas": {} } })
        ),
        entry(
            "naru/suspend",
            "Update",
            None,
            json!({ "f:metadata": { "f:labels": { "f:a": {} } }, "f:spec": { "f:replicas": {} } })
        ),
        entry(
            "kube-controller-manager",
            "Update",
            Some("scale"),
            json!({ "f:spec": { "f:replicas": {} } })
        ),
    ])
}

fn metadata(managed: &Value, first: Option<&str>) -> Value {
    let annotations = first.map(|first| json!({ "naru.dev/first-replicas": first }));
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": { "name": "total-sum", "namespace": "shop", "resourceVersion": "7", "managedFields": managed,
            "annotations": annotations },
    })
}

#[tokio::test]
async fn replicas_that_others_scale_are_nobodys_of_narus_and_stay_as_they_are() {
    let (context, mut server) = context();
    let work = tokio::spawn(async move {
        let target = others_scale(Mode::Disabled);
        let again = release::release(&context, &target).await;
        let done = release::release(&context, &target).await;
        let nothing = release::release(&context, &target).await;
        [again, done, nothing]
    });
    let path = "/apis/apps/v1/namespaces/shop/deployments/total-sum";
    for status in [StatusCode::CONFLICT, StatusCode::OK] {
        let (line, _) = answer(&mut server, StatusCode::OK, metadata(&owned(), Some("2"))).await;
        assert!(line.starts_with(&format!("GET {path}")), "{line}");
        let conflict = json!({ "kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict", "message": "",
            "metadata": {}, "details": {} });
        let found = if status == StatusCode::OK {
            metadata(&json!([]), None)
        } else {
            conflict
        };
        let (line, body) = answer(&mut server, status, found).await;
        assert!(
            line.starts_with(&format!("PATCH {path}")) && !line.contains("force"),
            "{line}"
        );
        // Of the version that was seen only. No value is in it.
        assert_eq!(body["metadata"]["resourceVersion"], "7");
        assert!(body.get("spec").is_none(), "{body}");
        assert_eq!(
            body["metadata"]["annotations"],
            json!({ "naru.dev/first-replicas": null })
        );
        let managed = body["metadata"]["managedFields"].as_array().unwrap();
        let kept: Vec<_> = managed
            .iter()
            .map(|entry| (entry["manager"].as_str().unwrap(), entry["fieldsV1"].clone()))
            .collect();
        let expected = [
            (
                "naru/operator",
                json!({ "f:metadata": { "f:annotations": { "f:naru.dev/applied": {} } }, "f:spec": { "f:template": {} } }),
            ),
            (
                "naru/suspend",
                json!({ "f:metadata": { "f:labels": { "f:a": {} } } }),
            ),
            (
                "kube-controller-manager",
                json!({ "f:spec": { "f:replicas": {} } }),
            ),
        ];
        assert_eq!(kept, expected);
        assert_eq!(managed[2]["subresource"], "scale");
    }
    let released = json!([{ "manager": "kube-controller-manager", "operation": "Update", "fieldsV1": owned()[3]["fieldsV1"] }]);
    answer(&mut server, StatusCode::OK, metadata(&released, None)).await;
    assert_eq!(work.await.unwrap(), [Ok(false), Ok(true), Ok(true)]);
    assert!(
        server.next_request().await.is_none(),
        "nothing is to be given up any more"
    );
}

#[tokio::test]
async fn the_replicas_are_given_up_once_and_that_others_scale_is_said() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("items", 1, 1).unwrap();
    for (mode, reason) in [(Mode::Recommend, "RecommendOnly"), (Mode::Disabled, "Disabled")] {
        let (context, mut server) = context();
        let live = &context.live.deployments;
        live.put(live.begin(), &deployment(1));
        let target = Target {
            bootstrap_servers: brokers.bootstrap_servers(),
            ..others_scale(mode)
        };
        let work = tokio::spawn(async move {
            let (mut watches, written) = (Watches::default(), Written::default());
            let mut watched = watches.take(&target);
            for _ in 0..3 {
                watched = look(&context, &target, watched, &written).await;
            }
            watches.put([(target.object.clone(), watched)]);
            watches.keep(&[]).await;
        });
        let (line, _) = answer(&mut server, StatusCode::OK, metadata(&owned(), None)).await;
        assert!(line.starts_with("GET "), "{line}");
        let (line, _) = answer(&mut server, StatusCode::OK, metadata(&json!([]), None)).await;
        assert!(line.starts_with("PATCH "), "{line}");
        let (line, body) = answer(&mut server, StatusCode::OK, resource()).await;
        assert!(line.contains("/filteredsums/total/status?"), "{line}");
        assert_eq!(
            said(&body),
            [
                ("ScalingActive", "False", reason),
                ("LagAvailable", "True", "LagRead"),
                ("PartitionsStalled", "False", "PartitionsMoving")
            ]
        );
        work.await.unwrap();
        assert!(
            server.next_request().await.is_none(),
            "the others looks find it as it is"
        );
    }
}
