//! Edits of the rules by which is summed.

use super::*;

/// What the workers of now are told: their number, and what becomes of earlier totals.
fn told(world: &World) -> (i64, Value) {
    let path = format!(
        "/api/v1/namespaces/shop/configmaps/total-sum-{}",
        world.revision()
    );
    let config_map: ConfigMap = world.api.object(&path);
    let document: Value = serde_json::from_str(&config_map.data.unwrap()["config.json"]).unwrap();
    (
        document["computation"].as_i64().unwrap(),
        document["reset"].clone(),
    )
}

fn computation(world: &World) -> (i64, Option<String>) {
    let computation = world.status().computation.unwrap();
    (computation.generation, computation.filter)
}

#[tokio::test]
async fn other_rules_without_a_word_about_the_totals_are_refused_and_the_workers_go_on() {
    let world = World::running().await;
    let (before, known) = (world.revision(), computation(&world));
    world.declare("/spec/filter", "price <= 7".into());
    assert_eq!(world.pass().await, [STATUS]);
    assert_eq!(world.condition("Valid"), "False/InvalidSpec");
    assert_eq!(world.condition("Degraded"), "True/LastKnownGood");
    let message = world.message("Valid");
    assert!(
        message.contains("filter and sum cannot be changed without reset"),
        "{message}"
    );
    assert_eq!((world.revision(), computation(&world)), (before, known));

    world.declare("/spec/reset", "continue".into());
    world.api.events();
    assert_eq!(world.pass().await, [STATUS, "POST configmaps", APPLY, STATUS]);
    assert_eq!(world.condition("Valid"), "True/Accepted");
}

#[tokio::test]
async fn other_rules_are_written_down_before_the_workers_know_them_and_told_by_an_event() {
    let world = World::running().await;
    assert_eq!(computation(&world), (1, Some("price <= 1000".to_owned())));
    let (first, _) = told(&world);
    world.declare("/spec/reset", "fromEarliest".into());
    world.declare("/spec/filter", "price <= 7".into());
    assert_eq!(world.pass().await, [STATUS, "POST configmaps", APPLY, STATUS]);
    assert_eq!(computation(&world), (3, Some("price <= 7".to_owned())));
    let (second, reset) = told(&world);
    assert_eq!((second, reset), (first + 2, "fromEarliest".into()));
    assert!(world.api.events().contains(&"RulesChanged".to_owned()));
    assert!(world.pass().await.is_empty());

    // What does not change the rules does not change the number, nor what becomes of earlier totals.
    world.workers_are(1, 1, "NewReplicaSetAvailable");
    for (place, value) in [
        ("/spec/scaling", json!({ "maxReplicas": 2 })),
        ("/spec/reset", "continue".into()),
    ] {
        world.declare(place, value);
        let requests = world.pass().await;
        assert!(!requests.contains(&APPLY.to_owned()), "{place}: {requests:?}");
    }
    assert_eq!(told(&world), (second, "fromEarliest".into()));
    assert_eq!(computation(&world).0, 3);

    // The rules of before are later ones, also for a watch that has not told of all that was written.
    let stale = world.api.object(SUM);
    world.declare("/spec/filter", "price <= 1000".into());
    world.pass().await;
    let (third, reset) = told(&world);
    assert_eq!(reset, "continue");
    assert_eq!((third, computation(&world).0), (first + 5, 6));
    let mut behind: FilteredSum = stale;
    behind.spec.filter = Some("price <= 1000".to_owned());
    behind.metadata.generation = Some(6);
    let requests = world.pass_over(behind).await;
    assert!(!requests.contains(&APPLY.to_owned()), "{requests:?}");
    assert_eq!((told(&world).0, computation(&world).0), (third, 6));
}

#[tokio::test]
async fn an_operator_that_ended_between_the_number_and_the_workers_is_followed_by_one_that_goes_on() {
    let world = World::running().await;
    let (first, _) = told(&world);
    world.declare("/spec/reset", "fromEarliest".into());
    world.declare("/spec/filter", "price <= 7".into());
    // Its last deed.
    let _: FilteredSum = world.api.edit(SUM, |sum| {
        sum["status"]["computation"] =
            json!({ "generation": 3, "filter": "price <= 7", "sum": { "field": "price" } });
    });
    world.declare("/spec/filter", "price <= 1000".into());
    world.pass().await;
    assert_eq!((told(&world).0, computation(&world).0), (first + 3, 4));
}

#[tokio::test]
async fn totals_are_replaced_in_transactions_only() {
    let world = World::running().await;
    world.declare("/spec/reset", "fromEarliest".into());
    world.declare("/spec/filter", "price <= 7".into());
    world.pass().await;
    assert_eq!(told(&world).1, "fromEarliest");

    world.declare("/spec/delivery", "idempotentUpsert".into());
    world.pass().await;
    assert_eq!(world.condition("Valid"), "False/InvalidSpec");
    let message = world.message("Valid");
    let expected = "delivery must be exactlyOnce while reset is set";
    assert!(message.contains(expected), "{message}");

    // Partitions that have not caught up yet are left alone then.
    world.declare("/spec/reset", Value::Null);
    world.pass().await;
    assert_eq!(world.condition("Valid"), "True/Accepted");
    assert_eq!(told(&world).1, Value::Null);
}
