//! Documents of an older operator stay readable, with the meaning that they had.

use naru_contract::{FilteredSumWorker, ScrapeWorker, Start};

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
}

#[test]
fn what_is_written_is_what_is_read() {
    let document: ScrapeWorker = serde_json::from_str(include_str!("golden/scrape.json")).unwrap();
    let again = serde_json::from_str(&serde_json::to_string(&document).unwrap()).unwrap();
    assert_eq!(document, again);
}
