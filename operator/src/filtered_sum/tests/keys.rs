//! Sums of which a record takes the place of the one before of its key.

use super::*;

fn document(world: &World) -> Value {
    let path = format!(
        "/api/v1/namespaces/shop/configmaps/total-sum-{}",
        world.revision()
    );
    let config_map: ConfigMap = world.api.object(&path);
    serde_json::from_str(&config_map.data.unwrap()["config.json"]).unwrap()
}

#[tokio::test]
async fn a_sum_that_takes_records_back_has_a_topic_of_keys_that_goes_with_it() {
    let world = World::new().await;
    world.brokers.create_topic("totals-keys", 3, 1).unwrap();
    let kafka = world.context.kafka.get(&world.brokers.bootstrap_servers());
    let kafka = kafka.unwrap();
    kafka.trust(&["totals-keys"]);
    world.declare("/spec/sum/retract", true.into());
    let sum: FilteredSum = world.api.object(SUM);
    kafka.has_created("totals-keys", &sum.uid().unwrap());
    world.pass().await;
    assert_eq!(document(&world)["keysTopic"], "totals-keys");
    assert_eq!(world.status().created_topics, ["totals-keys"]);

    let valid = validate(&world.context.settings, &sum).unwrap();
    let topics = build::topics(&valid, Referred { input_partitions: 7 });
    let names: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(
        names,
        ["totals", "totals-keys", "naru.shop.total.sum.dead-letters"]
    );
    assert_eq!((topics[1].partitions, topics[1].grow), (7, true));
    assert_eq!(topics[1].config["cleanup.policy"], "compact");
}

#[tokio::test]
async fn a_sum_of_which_each_record_counts_has_none_and_its_document_is_as_it_was() {
    let world = World::running().await;
    assert_eq!(document(&world).get("keysTopic"), None);
    world.declare("/spec/delivery", "idempotentUpsert".into());
    world.declare("/spec/sum/retract", true.into());
    world.pass().await;
    let message = world.message("Valid");
    assert!(
        message.contains("delivery must be exactlyOnce with sum.retract"),
        "{message}"
    );
    // What each record has added is not known any more.
    world.declare("/spec/delivery", "exactlyOnce".into());
    world.declare("/spec/reset", "continue".into());
    world.pass().await;
    let message = world.message("Valid");
    assert!(
        message.contains("sum.retract cannot be changed with reset: continue"),
        "{message}"
    );
}
