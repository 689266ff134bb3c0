//! What workers leave in Kafka: topics that were created for them, and their consumer group.

use std::fmt::Debug;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
};
use naru_api::{DeletionPolicy, condition::reason};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Ending, LeftBehind, hold};
use crate::controller::{Context, Error, apply::owns, error::within};

/// Of ScrapeJobs and FilteredSums.
pub(super) const FINALIZER: &str = "naru.dev/topics";

/// What a resource has outside Kubernetes.
#[derive(Clone, Debug)]
pub struct Outside {
    pub namespace: String,
    /// Its workers, which must have ended before.
    pub deployments: Vec<String>,
    /// None: the spec names none, and there is no default.
    pub bootstrap_servers: Option<String>,
    pub group: String,
    /// Topics that naru created for it.
    pub topics: Vec<String>,
}

/// Begins a pass over a resource with workers: sees to its finalizer, which is there while `policy` says so, and ends
/// the resource if it is being deleted. None: it is not.
pub async fn begin<K>(
    context: &Context,
    kind: &'static str,
    object: &K,
    policy: DeletionPolicy,
    outside: Outside,
) -> Result<Option<Ending>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let deletes = policy == DeletionPolicy::Delete;
    if object.meta().deletion_timestamp.is_none() {
        hold(context, object, FINALIZER, deletes).await?;
        return Ok(None);
    }
    let left = LeftBehind {
        reason: reason::TOPICS_LEFT_BEHIND,
        what: format!(
            "gave up deleting topics {:?} and consumer group {:?}, which stay if Kafka still has them; delete them there",
            outside.topics, outside.group
        ),
    };
    let clean_up = async {
        // The finalizer may be older than the policy.
        if deletes {
            clean_up(context, object, &outside).await
        } else {
            Ok(())
        }
    };
    super::end(context, kind, object, FINALIZER, clean_up, left)
        .await
        .map(Some)
}

/// Deletes it: first the workers end, then the consumer group goes, then the topics.
async fn clean_up<K>(context: &Context, object: &K, outside: &Outside) -> Result<(), Error>
where
    K: Resource<DynamicType = ()>,
{
    for deployment in &outside.deployments {
        let left = scale_to_none(context, object, &outside.namespace, deployment).await?;
        if left > 0 {
            return Err(waits(format!(
                "Deployment {deployment:?} has {left} workers which must end before their topics can go"
            )));
        }
    }
    // Without a cluster nothing was ever created.
    let Some(bootstrap_servers) = &outside.bootstrap_servers else {
        return Ok(());
    };
    let kafka = context.kafka.get(bootstrap_servers)?;
    // A worker that still ends is a member, so that this waits for it.
    let deleted = async {
        kafka.delete_group(&outside.group).await?;
        kafka.delete_topics(&outside.topics).await
    };
    deleted.await.map_err(|error| match Error::from(error) {
        busy @ Error::Busy { .. } => busy,
        error => waits(error.sentence()),
    })?;
    tracing::info!(
        group = outside.group,
        topics = ?outside.topics,
        "deleted topics and a consumer group"
    );
    Ok(())
}

fn waits(message: String) -> Error {
    Error::dependency(reason::TOPICS_NOT_DELETED, message)
}

/// Workers that are still there of the Deployment of this name, which is to have none. One that belongs to somebody else
/// has none of ours, and stays as it is.
async fn scale_to_none<K>(context: &Context, object: &K, namespace: &str, name: &str) -> Result<i32, Error>
where
    K: Resource<DynamicType = ()>,
{
    let api = Api::<Deployment>::namespaced(context.client.clone(), namespace);
    // Asked for anew: nothing but this may be behind when the topics go.
    let found = within(api.get_opt(name), || format!("read Deployment {name:?}")).await?;
    if !found.is_some_and(|found| owns(object, &found)) {
        return Ok(0);
    }
    let parameters = PatchParams::default();
    let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    let doing = || format!("end the workers of Deployment {name:?}");
    let scale = within(api.patch_scale(name, &parameters, &none), doing).await?;
    Ok(scale.status.map_or(0, |status| status.replicas))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;
    use http::Response;
    use kube::client::Body;
    use naru_api::FilteredSum;
    use serde_json::Value;

    use super::*;
    use crate::{controller::fake::Server, deletion::tried_for_long, settings::Settings};

    fn context() -> (Arc<Context>, Server) {
        let (context, server) = Context::test(Settings::parse_from(["naru-operator", "--worker-image", "w"]));
        (Arc::new(context), server)
    }

    fn sum(finalizers: &[&str], deleted: Option<&str>) -> FilteredSum {
        serde_json::from_value(json!({
            "apiVersion": "naru.dev/v1alpha1", "kind": "FilteredSum",
            "metadata": {
                "name": "sales", "namespace": "shop", "uid": "0001", "generation": 1, "resourceVersion": "7",
                "finalizers": finalizers, "deletionTimestamp": deleted,
            },
            "spec": {
                "input": { "topic": "items" }, "output": { "topic": "sums" },
                "sum": { "field": "price" },
            },
        }))
        .unwrap()
    }

    /// Nobody listens there.
    fn outside() -> Outside {
        Outside {
            namespace: "shop".to_owned(),
            deployments: vec!["sales-sum".to_owned()],
            bootstrap_servers: Some("127.0.0.1:1".to_owned()),
            group: "naru.shop.sales.sum".to_owned(),
            topics: vec!["sums".to_owned()],
        }
    }

    /// Answers the next request, and returns its method and path, and its body.
    async fn answer(server: &mut Server, status: u16, body: &Value) -> (String, Value) {
        let (request, send) = server.next_request().await.expect("a request was to come");
        let line = format!("{} {}", request.method(), request.uri().path());
        let sent = request.into_body().collect_bytes().await.unwrap();
        let body = Body::from(serde_json::to_vec(body).unwrap());
        send.send_response(Response::builder().status(status).body(body).unwrap());
        (line, serde_json::from_slice(&sent).unwrap_or_default())
    }

    fn scale(replicas: i32) -> Value {
        json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": { "name": "sales-sum" },
            "spec": { "replicas": 0 }, "status": { "replicas": replicas } })
    }

    /// A Deployment that the resource with this uid controls.
    fn workers(owner: &str) -> Value {
        let owner = json!({ "apiVersion": "naru.dev/v1alpha1", "kind": "FilteredSum", "name": "sales", "uid": owner,
            "controller": true });
        json!({ "metadata": { "name": "sales-sum", "namespace": "shop", "ownerReferences": [owner] } })
    }

    fn missing() -> Value {
        json!({ "kind": "Status", "code": 404, "reason": "NotFound" })
    }

    const WORKERS: &str = "/apis/apps/v1/namespaces/shop/deployments/sales-sum";
    const SUM: &str = "/apis/naru.dev/v1alpha1/namespaces/shop/filteredsums/sales";
    const SCALE: &str = "/apis/apps/v1/namespaces/shop/deployments/sales-sum/scale";

    #[tokio::test]
    async fn the_finalizer_is_there_only_while_topics_are_to_be_deleted() {
        let (context, mut server) = context();
        for (finalizers, policy, expected) in [
            (&[][..], DeletionPolicy::Delete, json!([FINALIZER])),
            (
                &["other"][..],
                DeletionPolicy::Delete,
                json!(["other", FINALIZER]),
            ),
            (
                &["other", FINALIZER][..],
                DeletionPolicy::Orphan,
                json!(["other"]),
            ),
        ] {
            let (resource, context) = (sum(finalizers, None), Arc::clone(&context));
            let work =
                tokio::spawn(
                    async move { begin(&context, "FilteredSum", &resource, policy, outside()).await },
                );
            let (line, body) = answer(&mut server, 200, &json!(sum(&[], None))).await;
            assert_eq!(
                (line, &body["metadata"]["finalizers"]),
                (format!("PATCH {SUM}"), &expected)
            );
            assert_eq!(body["metadata"]["resourceVersion"], "7");
            assert!(work.await.unwrap().unwrap().is_none());
        }
        // Nothing is written where it is as it should be.
        for (finalizers, policy) in [
            (&[][..], DeletionPolicy::Orphan),
            (&[FINALIZER][..], DeletionPolicy::Delete),
        ] {
            let sum = sum(finalizers, None);
            assert!(
                begin(&context, "FilteredSum", &sum, policy, outside())
                    .await
                    .unwrap()
                    .is_none()
            );
        }
    }

    #[tokio::test]
    async fn workers_end_before_their_topics_go() {
        let (context, mut server) = context();
        let deleted = jiff::Timestamp::now().to_string();
        let sum = sum(&[FINALIZER], Some(&deleted));
        let work = tokio::spawn(async move {
            begin(&context, "FilteredSum", &sum, DeletionPolicy::Delete, outside()).await
        });
        let (line, _) = answer(&mut server, 200, &workers("0001")).await;
        assert_eq!(line, format!("GET {WORKERS}"));
        let (line, body) = answer(&mut server, 200, &scale(2)).await;
        assert_eq!(
            (line, &body["spec"]["replicas"]),
            (format!("PATCH {SCALE}"), &json!(0))
        );
        let Some(Ending::Waits(error)) = work.await.unwrap().unwrap() else {
            panic!("it was to wait")
        };
        assert_eq!(error.reason(), reason::TOPICS_NOT_DELETED);
        assert!(error.sentence().contains("2 workers"), "{}", error.sentence());
    }

    #[tokio::test]
    async fn a_deployment_of_somebody_else_is_not_ended_with_the_workers() {
        let (context, mut server) = context();
        let sum = sum(&[FINALIZER], Some(&jiff::Timestamp::now().to_string()));
        // Of a resource of the same name that was there before, and of nobody.
        for theirs in [workers("0000"), json!({ "metadata": { "name": "sales-sum" } })] {
            let left = scale_to_none(&context, &sum, "shop", "sales-sum");
            let (left, (line, _)) = tokio::join!(left, answer(&mut server, 200, &theirs));
            assert_eq!((left.unwrap(), line), (0, format!("GET {WORKERS}")));
        }
    }

    #[tokio::test]
    async fn a_kafka_that_is_gone_for_good_does_not_hold_the_resource_for_ever() {
        let (context, mut server) = context();
        let resource = sum(&[FINALIZER], Some("2026-01-01T00:00:00Z"));
        let pass = || {
            let (context, resource) = (Arc::clone(&context), resource.clone());
            tokio::spawn(async move {
                let policy = DeletionPolicy::Delete;
                begin(&context, "FilteredSum", &resource, policy, outside()).await
            })
        };
        // The operator was away when the resource was deleted.
        let work = pass();
        answer(&mut server, 404, &missing()).await;
        assert!(matches!(work.await.unwrap(), Ok(Some(Ending::Waits(_)))));

        tried_for_long(&context, "FilteredSum", &resource);
        let work = pass();
        let (line, _) = answer(&mut server, 404, &missing()).await;
        assert_eq!(line, format!("GET {WORKERS}"));
        let (line, event) = answer(&mut server, 200, &json!({})).await;
        assert!(line.ends_with("/events"), "{line}");
        assert_eq!(event["reason"], "TopicsLeftBehind");
        let note = event["note"].as_str().unwrap();
        assert!(
            note.contains("[\"sums\"]") && note.contains("naru.shop.sales.sum"),
            "{note}"
        );
        let (line, body) = answer(&mut server, 200, &json!(sum(&[], None))).await;
        assert_eq!(
            (line, &body["metadata"]["finalizers"]),
            (format!("PATCH {SUM}"), &json!([]))
        );
        assert!(matches!(work.await.unwrap().unwrap(), Some(Ending::Gone)));
    }

    #[tokio::test]
    async fn an_orphaned_resource_touches_nothing_on_its_way() {
        let (context, _server) = context();
        let sum = sum(&[], Some("2026-01-01T00:00:00Z"));
        let ending = begin(&context, "FilteredSum", &sum, DeletionPolicy::Orphan, outside()).await;
        assert!(matches!(ending, Ok(Some(Ending::Gone))));
    }
}
