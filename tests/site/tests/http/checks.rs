//! What checks ask for: truth, the log, released ids.

use naru_site::{Catalog, Config};
use serde_json::json;

use crate::running::Running;

const CONFIG: Config = Config {
    seed: 3,
    first_id: 1_001,
    initial: 100,
    per_second: 0.0,
    limit: 100,
};

#[tokio::test]
async fn truth_is_cut_at_an_id() {
    let site = Running::start(CONFIG).await;
    let catalog = Catalog::new(CONFIG.seed);
    let truth = site.json("/truth?upTo=1050").await;
    let ids: Vec<_> = truth["products"]
        .as_array()
        .unwrap()
        .iter()
        .map(|product| product["id"].as_u64())
        .collect();
    let expected: Vec<_> = catalog
        .products(1_001..=1_050)
        .map(|product| Some(product.id))
        .collect();
    assert_eq!(ids, expected);
    assert_eq!(truth["head"].as_u64(), *expected.last().unwrap());
    assert_eq!(site.json("/truth?upTo=9999").await, site.json("/truth").await);
    assert_eq!(site.json("/truth?upTo=1").await["products"], json!([]));
    let refused = site.get("/truth?upto=5").await;
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.unwrap().contains("upTo"));
}

#[tokio::test]
async fn released_ids_appear_at_once_beyond_the_limit() {
    let site = Running::start(CONFIG).await;
    let catalog = Catalog::new(CONFIG.seed);
    let hole = (1_101..).find(|id| !catalog.exists(*id)).unwrap();
    for (count, newest) in [(hole - 1_100, hole), (25, hole + 25)] {
        let answer = site.post(&format!("/release?count={count}"), "").await;
        let answer: serde_json::Value = answer.error_for_status().unwrap().json().await.unwrap();
        let head = catalog.newest_product(1..=newest).unwrap();
        assert_eq!(answer, json!({"released": newest - 1_100, "head": head}));
        assert_eq!(site.head().await, head);
        assert_eq!(site.get(&format!("/product/{head}")).await.status(), 200);
    }
    let refused = site.post("/release?count=0", "").await;
    assert_eq!(refused.status(), 400);
    assert_eq!(
        refused.text().await.unwrap(),
        "`count` is 0, expected 1 to 100000"
    );
}

#[tokio::test]
async fn the_log_holds_what_crawlers_asked_and_not_what_checks_did() {
    let site = Running::start(CONFIG).await;
    let head = site.head().await;
    let product = format!("/product/{head}");
    for path in [
        product.as_str(),
        "/robots.txt",
        &product,
        "/product/9",
        "/healthz",
        "/log/summary",
    ] {
        site.get(path).await;
    }
    let log = site.json("/log?since=1").await;
    let entry = |seq, path, status| json!({"seq": seq, "millis": 0, "path": path, "status": status, "userAgent": "tester/1"});
    let requests = [
        entry(2, "/robots.txt", 200),
        entry(3, product.as_str(), 200),
        entry(4, "/product/9", 404),
    ];
    assert_eq!(log, json!({"dropped": 0, "requests": requests}));

    let summary = site.json("/log/summary").await;
    assert_eq!(summary["all"]["requests"], 4);
    assert_eq!(summary["product"]["requests"], 3);
    assert_eq!(summary["product"]["busiestSecond"], 3);
    assert_eq!(summary["all"]["maxInFlight"], 1);
    assert_eq!(summary["servedOnce"], 0);
    assert_eq!(summary["moreThanOnce"], json!([head]));
}

#[tokio::test]
async fn a_site_that_is_up_is_healthy() {
    let site = Running::start(CONFIG).await;
    assert_eq!(site.get("/healthz").await.status(), 200);
}
