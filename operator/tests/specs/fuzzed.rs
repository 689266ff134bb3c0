//! No spec makes the operator panic or stand still, whatever it says.

use std::time::{Duration, Instant};

use naru_api::{FilteredSum, ScrapeJob, SinkConnector};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{admission::admit, any, examples::example, schema, validate};

/// Longest time that one spec may take. A good deal more than it needs, since tests run on busy machines.
const LONGEST: Duration = Duration::from_secs(5);

/// A resource whose spec is made by chance.
pub(crate) fn resource(kind: &'static str, wild: u32) -> impl Strategy<Value = Value> {
    any::value(&schema(kind)["properties"]["spec"], wild).prop_map(move |spec| {
        let mut object = example(kind);
        object["spec"] = spec;
        object
    })
}

/// A resource that can work, of which one part is made by chance: it gets further than one that is all chance. One in
/// `wild` values is anything.
pub(crate) fn edited(kind: &'static str, wild: u32) -> impl Strategy<Value = Value> {
    let full = example(kind);
    let fields: Vec<_> = full["spec"].as_object().unwrap().keys().cloned().collect();
    proptest::sample::select(fields)
        .prop_flat_map(move |field| {
            let part = any::value(&schema(kind)["properties"]["spec"]["properties"][&field], wild);
            (Just(field), part)
        })
        .prop_map(move |(field, value)| {
            let mut object = full.clone();
            object["spec"][field] = value;
            object
        })
}

fn in_time(kind: &str, object: &Value) -> Result<(), TestCaseError> {
    let start = Instant::now();
    // What the API server would refuse may have been stored before it had the rule.
    let _ = validate(kind, object.clone());
    let took = start.elapsed();
    prop_assert!(took < LONGEST, "{took:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_scrape_job_is_judged(object in prop_oneof![resource("ScrapeJob", 40), edited("ScrapeJob", 30)]) {
        in_time("ScrapeJob", &object)?;
    }

    #[test]
    fn any_filtered_sum_is_judged(object in prop_oneof![resource("FilteredSum", 40), edited("FilteredSum", 30)]) {
        in_time("FilteredSum", &object)?;
    }

    #[test]
    fn any_sink_connector_is_judged(
        object in prop_oneof![resource("SinkConnector", 40), edited("SinkConnector", 30), edited("SinkConnector of any class", 30)]
    ) {
        in_time("SinkConnector", &object)?;
    }

    /// Or it would never be looked at.
    #[test]
    fn what_the_api_server_stores_can_be_read(
        (kind, object) in proptest::sample::select(crate::KINDS.to_vec())
            .prop_flat_map(|kind| (Just(kind), prop_oneof![edited(kind, 30).boxed(), resource(kind, 0).boxed()]))
    ) {
        let Ok(stored) = admit(&schema(kind), &object, None) else { return Ok(()) };
        let read = match kind {
            "ScrapeJob" => serde_json::from_value::<ScrapeJob>(stored.clone()).map(|read| json!(read)),
            "FilteredSum" => serde_json::from_value::<FilteredSum>(stored.clone()).map(|read| json!(read)),
            _ => serde_json::from_value::<SinkConnector>(stored.clone()).map(|read| json!(read)),
        };
        prop_assert!(read.is_ok(), "{:?} of {stored}", read.err());
    }
}
