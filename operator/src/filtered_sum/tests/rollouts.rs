//! Rollouts that come to nothing.

use super::*;

#[tokio::test]
async fn a_rollout_without_progress_is_told_with_the_reason_of_its_pod() {
    let world = World::running().await;
    world.declare("/spec/commitInterval", "200ms".into());
    world.pass().await;
    world.workers_are(1, 0, "ProgressDeadlineExceeded");
    crashing(&world);
    assert!(world.pass().await.contains(&STATUS.to_owned()));
    assert_eq!(world.condition("Degraded"), "True/RolloutStalled");
    assert_eq!(world.condition("Ready"), "False/RolloutStalled");
    assert!(
        world
            .message("Degraded")
            .contains("ends with exit code 1 (Error)"),
        "{}",
        world.message("Degraded")
    );
    // It is looked at again and again, and said once.
    let again = world.pass().await;
    assert!(again.iter().all(|request| request == "GET pods"), "{again:?}");
}

#[tokio::test]
async fn an_edit_of_workers_that_do_not_come_up_does_not_wait_for_a_look_at_their_pods() {
    let world = World::running().await;
    world.declare("/spec/commitInterval", "200ms".into());
    world.pass().await;
    world.workers_are(1, 0, "ProgressDeadlineExceeded");
    crashing(&world);
    world.pass().await;
    world.declare("/spec/commitInterval", "300ms".into());
    let edit = world.pass().await;
    assert!(edit.contains(&APPLY.to_owned()), "{edit:?}");
    assert!(!edit.contains(&"GET pods".to_owned()), "{edit:?}");
}

#[tokio::test]
async fn with_auto_rollback_the_last_good_workers_come_back_until_the_next_edit() {
    let world = World::running().await;
    let good = world.revision();
    world.declare("/spec/rollout", json!({ "autoRollback": true }));
    world.declare("/spec/commitInterval", "200ms".into());
    world.pass().await;
    let bad = world.revision();
    world.workers_are(1, 0, "ProgressDeadlineExceeded");
    crashing(&world);
    assert!(world.pass().await.contains(&APPLY.to_owned()));
    assert_eq!(world.revision(), good);
    assert_eq!(world.condition("Degraded"), "True/RolledBack");
    assert!(
        world.message("Ready").contains("ends with exit code 1"),
        "{}",
        world.message("Ready")
    );

    world.workers_are(1, 1, "NewReplicaSetAvailable");
    world.pass().await;
    world.pass().await;
    // What it goes back to is not kept in memory.
    let again = world.pass().await;
    assert_eq!(again, [format!("GET configmaps/total-sum-{good}")]);
    assert_eq!(world.revision(), good);
    assert_eq!(world.condition("Ready"), "False/RolledBack");
    assert_eq!(world.condition("Progressing"), "False/Settled");
    assert_eq!(world.status().last_good_revision, Some(good.clone()));
    assert_eq!(world.config_maps(), [good]);
    assert!(world.api.events().contains(&"RolledBack".to_owned()));

    world.declare("/spec/commitInterval", "300ms".into());
    world.pass().await;
    assert!(world.revision() != bad && world.condition("Degraded") == "False/AsExpected");
}

/// A pod of the current revision that ends again and again.
fn crashing(world: &World) {
    let pod = json!({
        "metadata": { "name": "total-sum-x", "annotations": { "naru.dev/revision": world.revision() } },
        "status": { "containerStatuses": [{
            "name": "sum", "ready": false, "restartCount": 3, "image": "i", "imageID": "",
            "lastState": { "terminated": { "exitCode": 1, "reason": "Error" } },
        }] },
    });
    let pods = json!({ "metadata": {}, "items": [pod] });
    world
        .api
        .world(|world| world.objects.insert(PODS.to_owned(), pods));
}
