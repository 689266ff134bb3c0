//! Bad edits, and dependencies that fail.

use super::*;

#[tokio::test]
async fn a_bad_edit_and_an_outage_leave_what_runs_alone_and_are_told_once() {
    let world = World::running().await;
    let before = world.revision();
    world.declare("/spec/filter", "price <=".into());
    let mut writes = Vec::new();
    for _ in 0..20 {
        writes.extend(world.pass().await);
    }
    assert_eq!(writes, [STATUS]);
    assert_eq!(world.condition("Valid"), "False/InvalidSpec");
    assert_eq!(world.condition("Degraded"), "True/LastKnownGood");
    assert_eq!(world.api.events(), ["InvalidSpec"]);

    // Mended, but now with a registry that nobody runs.
    world.declare("/spec/filter", "price <= 1000".into());
    world.declare("/spec/registry", json!({ "url": "http://127.0.0.1:9" }));
    let mut writes = Vec::new();
    for _ in 0..20 {
        writes.extend(world.pass().await);
    }
    assert_eq!(writes, [STATUS]);
    assert_eq!(world.condition("Ready"), "False/RegistryUnreachable");
    assert_eq!(world.condition("Degraded"), "True/LastKnownGood");
    assert_eq!(world.revision(), before);
}

#[tokio::test]
async fn an_outage_while_all_runs_as_declared_shows_in_one_condition_alone() {
    let world = World::running().await;
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    world.brokers.topic_error("items", denied).unwrap();
    // An edit that needs no other workers, and does with what was seen a moment ago.
    world.declare("/spec/scaling", json!({ "maxReplicas": 2 }));
    assert_eq!(world.pass().await, [STATUS]);
    assert_eq!(world.condition("DependenciesReady"), "True/Answering");
    // Which is too old a minute later.
    let kafka = world
        .context
        .kafka
        .get(&world.brokers.bootstrap_servers())
        .unwrap();
    kafka.forget("items");
    assert_eq!(world.pass().await, [STATUS]);
    assert_eq!(world.condition("DependenciesReady"), "False/KafkaRefused");
    assert_eq!(world.condition("Ready"), "True/Running");
    assert_eq!(world.condition("Degraded"), "False/AsExpected");
    assert_eq!(world.api.events(), ["KafkaRefused"]);
}

#[tokio::test]
async fn nothing_is_refused_for_a_schema_that_was_true_a_moment_ago() {
    let world = World::new().await;
    world.register(&["price"]);
    world.pass().await;
    world.declare("/spec/reset", "fromEarliest".into());
    world.declare("/spec/filter", "stock > 0".into());
    world.pass().await;
    assert_eq!(world.condition("DependenciesReady"), "False/FieldMissing");
    world.register(&["price", "stock"]);
    world.declare("/spec/filter", "stock > 1".into());
    world.pass().await;
    assert_eq!(world.condition("DependenciesReady"), "True/Answering");
}
