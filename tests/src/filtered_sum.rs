//! What tests of the filtered-sum worker share: what they write, the worker's process, and what must hold of its totals.

pub mod check;
pub mod feed;
pub mod worker;

use naru_contract::{Delivery, FilteredSumWorker, Kafka, OnError, Registry};

pub const INPUT: &str = "items";
pub const OUTPUT: &str = "items.total";
/// What each key adds, where records take the place of the ones before.
pub const KEYS: &str = "items.total-keys";
pub const DEAD: &str = "items.total.dead";
pub const GROUP: &str = "sum";
pub const LIMIT: i64 = 1_000_000;

/// What the workers are told.
pub fn config(kafka: Kafka, registry: Registry, group_by: &[&str]) -> FilteredSumWorker {
    FilteredSumWorker {
        name: "default/items-total".to_owned(),
        kafka,
        registry,
        group: GROUP.to_owned(),
        input_topic: INPUT.to_owned(),
        filter: Some(format!("price == null || price <= {LIMIT}")),
        field: "price".to_owned(),
        scale: 0,
        round_floats: false,
        group_by: group_by.iter().map(|field| (*field).to_owned()).collect(),
        window: None,
        output_topic: OUTPUT.to_owned(),
        keys_topic: None,
        dead_letter_topic: DEAD.to_owned(),
        commit_interval_ms: 20,
        computation: 0,
        reset: None,
        delivery: Delivery::default(),
        on_error: OnError::default(),
    }
}
