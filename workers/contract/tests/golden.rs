//! Documents of an older operator stay readable, with the meaning that they had.

use naru_contract::{Delivery, FilteredSumWorker, OnError, Reset, ScrapeWorker, Start, Window};

#[test]
fn the_first_scrape_document_stays_readable() {
    let document: ScrapeWorker = serde_json::from_str(include_str!("golden/scrape.json")).unwrap();
    assert_eq!(document.source.start, Start::Id(228_000_001));
    assert_eq!(document.frontier.range_size, 50);
    assert_eq!(document.fields.len(), 2);
    assert!(document.politeness.respect_robots);
}

#[test]
fn the_first_filtered_sum_document_stays_readable() {
    let document: FilteredSumWorker = serde_json::from_str(include_str!("golden/filtered-sum.json")).unwrap();
    assert_eq!(document.filter.as_deref(), Some("price <= 1000000"));
    assert!(document.group_by.is_empty());
    assert_eq!(document.commit_interval_ms, 100);
    assert_eq!((document.computation, document.reset), (0, None));
    assert_eq!((document.scale, document.round_floats), (0, false));
    assert_eq!(document.window, None);
    assert_eq!(document.keys_topic, None);
    assert_eq!(
        (document.delivery, document.on_error),
        (Delivery::ExactlyOnce, OnError::DeadLetter)
    );
}

#[test]
fn a_filtered_sum_document_says_which_computation_it_is_and_what_becomes_of_earlier_ones() {
    let document: FilteredSumWorker =
        serde_json::from_str(include_str!("golden/filtered-sum-reset.json")).unwrap();
    assert_eq!(
        (document.computation, document.reset),
        (1_790_000_000_000_003, Some(Reset::FromEarliest))
    );
    let again = serde_json::to_value(&document).unwrap();
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("golden/filtered-sum-reset.json")).unwrap();
    assert_eq!(again, golden);
}

#[test]
fn a_filtered_sum_document_says_how_many_digits_the_sum_has_behind_the_point_and_whether_floats_are_rounded()
{
    let golden = include_str!("golden/filtered-sum-scale.json");
    let document: FilteredSumWorker = serde_json::from_str(golden).unwrap();
    assert_eq!((document.scale, document.round_floats), (2, true));
    let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_value(&document).unwrap(), golden);
}

#[test]
fn a_filtered_sum_document_says_in_which_windows_sums_are_kept() {
    let golden = include_str!("golden/filtered-sum-window.json");
    let document: FilteredSumWorker = serde_json::from_str(golden).unwrap();
    let window = Window {
        size_ms: 3_600_000,
        time: Some("createdAt".to_owned()),
        grace_ms: 600_000,
        retention_ms: 604_800_000,
    };
    assert_eq!(document.window, Some(window));
    let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_value(&document).unwrap(), golden);
}

#[test]
fn a_filtered_sum_document_says_where_the_state_of_keys_is() {
    let golden = include_str!("golden/filtered-sum-retract.json");
    let document: FilteredSumWorker = serde_json::from_str(golden).unwrap();
    assert_eq!(document.keys_topic.as_deref(), Some("joongna.total-keys"));
    let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_value(&document).unwrap(), golden);
}

#[test]
fn what_is_written_is_what_is_read() {
    let document: ScrapeWorker = serde_json::from_str(include_str!("golden/scrape.json")).unwrap();
    let again = serde_json::from_str(&serde_json::to_string(&document).unwrap()).unwrap();
    assert_eq!(document, again);
}

#[test]
fn what_is_as_it_always_was_is_not_written_so_that_no_worker_is_replaced_for_it() {
    let golden = include_str!("golden/filtered-sum.json");
    let document: FilteredSumWorker = serde_json::from_str(golden).unwrap();
    let written = serde_json::to_value(&document).unwrap();
    assert_eq!(
        written,
        serde_json::from_str::<serde_json::Value>(golden).unwrap()
    );
    let other = FilteredSumWorker {
        delivery: Delivery::IdempotentUpsert,
        on_error: OnError::Stop,
        ..document
    };
    let written = serde_json::to_value(&other).unwrap();
    assert_eq!(
        (&written["delivery"], &written["onError"]),
        (&"idempotentUpsert".into(), &"stop".into())
    );
    assert_eq!(
        serde_json::from_value::<FilteredSumWorker>(written).unwrap(),
        other
    );
}
