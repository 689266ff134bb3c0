//! Workers that are not what they look like, and a finalizer that nobody may write.

use http::Response;
use kube::client::Body;

use super::*;

#[tokio::test]
async fn workers_that_are_ready_for_a_moment_prove_nothing() {
    let world = World::running().await;
    let good = world.revision();
    world.declare("/spec/commitInterval", "200ms".into());
    world.pass().await;
    world.workers_are(1, 1, "ReplicaSetUpdated");
    world.edit(|workers| workers["status"]["availableReplicas"] = 0.into());
    world.pass().await;
    world.pass().await;
    assert_eq!(world.condition("Ready"), "True/Running");
    assert_eq!(world.status().last_good_revision, Some(good));
    // The ConfigMap of the good one is what a rollback needs.
    assert_eq!(world.config_maps().len(), 2);
}

#[tokio::test]
async fn suspended_workers_end_although_somebody_has_hidden_them_from_the_watch() {
    let world = World::running().await;
    let hidden: Deployment = world.api.edit(WORKERS, |workers| {
        workers["metadata"]["labels"] = json!({});
    });
    world.context.live.deployments.take(Event::Delete(hidden));
    world.declare("/spec/suspend", true.into());
    assert_eq!(world.pass().await, ["GET deployments/total-sum", APPLY, STATUS]);
    let workers: Deployment = world.api.object(WORKERS);
    assert_eq!(workers.spec.unwrap().replicas, Some(0));
    assert!(world.pass().await.is_empty());
}

#[tokio::test]
async fn a_finalizer_that_cannot_be_written_is_told() {
    let (context, mut server) = Context::test(Settings::parse_from(["naru-operator", "--worker-image", "w"]));
    let sum: FilteredSum = serde_json::from_value(json!({
        "apiVersion": "naru.dev/v1alpha1", "kind": "FilteredSum",
        "metadata": { "name": "total", "namespace": "shop", "uid": "0001", "generation": 1, "resourceVersion": "1" },
        "spec": {
            "input": { "topic": "items" }, "sum": { "field": "price" }, "output": { "topic": "totals" },
            "deletionPolicy": "Delete",
        },
    }))
    .unwrap();
    let answer = json!(sum);
    let pass = tokio::spawn(reconcile(Arc::new(sum), Arc::new(context)));
    let refusal = json!({ "kind": "Status", "code": 403, "reason": "Forbidden", "message": "no" });
    let mut sent = Vec::new();
    // The finalizer, the status, and the event about its change.
    for (code, answer) in [(403, &refusal), (200, &answer), (200, &answer)] {
        let next = tokio::time::timeout(Duration::from_secs(20), server.next_request()).await;
        let (request, send) = next.expect("a request was to come").unwrap();
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect_bytes().await.unwrap();
        sent.push((path, serde_json::from_slice::<Value>(&body).unwrap()));
        let answer = Body::from(answer.to_string().into_bytes());
        send.send_response(Response::builder().status(code).body(answer).unwrap());
    }
    assert_eq!(pass.await.unwrap().unwrap_err().reason(), "KubernetesError");
    assert_eq!(sent[0].0, SUM);
    assert_eq!(sent[1].0, format!("{SUM}/status"));
    let conditions = &sent[1].1["status"]["conditions"];
    assert_eq!(conditions[0]["reason"], "KubernetesError");
    assert_eq!(conditions[1]["reason"], "NotChecked");
}

#[tokio::test]
async fn workers_that_others_scale_come_back_after_a_suspension_as_many_as_they_were() {
    for (mode, after) in [("Auto", 0), ("Recommend", 3), ("Disabled", 3)] {
        let world = World::running().await;
        world.declare("/spec/scaling", json!({ "mode": mode, "minReplicas": 2 }));
        world.pass().await;
        world.workers_are(3, 3, "NewReplicaSetAvailable");
        world.declare("/spec/suspend", true.into());
        world.pass().await;
        let replicas = || world.api.object::<Deployment>(WORKERS).spec.unwrap().replicas;
        assert_eq!(replicas(), Some(0), "{mode}");
        // Whoever scales them meanwhile is not remembered.
        world.workers_are(7, 7, "NewReplicaSetAvailable");
        world.pass().await;
        assert_eq!(replicas(), Some(0), "{mode}");
        world.declare("/spec/suspend", false.into());
        world.pass().await;
        // The autoscaler would set others a moment later.
        assert_eq!(replicas(), Some(after), "{mode}");
        world.workers_are(5, 5, "NewReplicaSetAvailable");
        world.declare("/spec/commitInterval", "200ms".into());
        world.pass().await;
        assert_eq!(replicas(), Some(5), "{mode}");
    }
}
