//! Faults as clients meet them.

use std::time::Duration;

use naru_site::{Catalog, Config};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::running::Running;

const CONFIG: Config = Config {
    seed: 3,
    first_id: 1_001,
    initial: 100,
    per_second: 0.0,
    limit: 0,
};

/// A site with a plan, and the path of one of its products.
async fn with(plan: &Value) -> (Running, String) {
    let site = Running::start(CONFIG).await;
    assert_eq!(site.post("/faults", &plan.to_string()).await.status(), 204);
    let id = Catalog::new(CONFIG.seed).newest_product(1_001..=1_100).unwrap();
    (site, format!("/product/{id}"))
}

#[tokio::test]
async fn too_many_requests_and_unavailable_say_when_to_come_back() {
    for (kind, status) in [("tooManyRequests", 429), ("unavailable", 503)] {
        let (site, path) =
            with(&json!({"kind": kind, "percent": 100, "times": 2, "retryAfterSeconds": 7})).await;
        for _ in 0..2 {
            let response = site.get(&path).await;
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["retry-after"], "7");
        }
        assert_eq!(site.get(&path).await.status(), 200);
    }
}

#[tokio::test]
async fn without_retry_after_there_is_no_such_header() {
    let (site, path) = with(&json!({"kind": "tooManyRequests", "percent": 100})).await;
    assert!(!site.get(&path).await.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn a_body_that_is_cut_off_fails_after_its_first_half() {
    let (site, path) = with(&json!({"kind": "cutOff", "percent": 100, "times": 1})).await;
    let mut response = site.get(&path).await;
    assert_eq!(response.status(), 200);
    let promised = response.content_length().unwrap();
    let mut received = 0;
    let error = loop {
        match response.chunk().await {
            Ok(chunk) => received += chunk.expect("the body must not end well").len() as u64,
            Err(error) => break error,
        }
    };
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    assert_eq!(received, promised / 2);
    assert_eq!(site.text(&path).await.len() as u64, promised);
    assert_eq!(site.json("/log/summary").await["servedOnce"], 1);
}

#[tokio::test]
async fn a_captcha_comes_with_status_200_and_no_product() {
    let (site, path) = with(&json!({"kind": "captcha", "percent": 100, "times": 1})).await;
    let response = site.get(&path).await;
    assert_eq!(response.status(), 200);
    let html = response.text().await.unwrap();
    assert!(html.contains("captcha") && !html.contains("product"));
    assert_eq!(site.json("/log/summary").await["servedOnce"], 0);
}

#[tokio::test]
async fn a_redirect_leads_where_robots_txt_lets_nobody_ask() {
    let (site, path) = with(&json!({"kind": "redirect", "percent": 100, "times": 1})).await;
    let response = site.get(&path).await;
    assert!(
        response.url().path().starts_with("/my-account/"),
        "{}",
        response.url()
    );
    assert!(site.text("/robots.txt").await.contains("Disallow: /my-account\n"));
    assert_eq!(site.get(&path).await.status(), 200);
}

#[tokio::test]
async fn a_slow_page_is_later_than_a_patient_client_waits_and_the_log_says_who_left() {
    let (site, path) =
        with(&json!({"kind": "slow", "percent": 100, "times": 1, "delayMillis": 60_000})).await;
    let impatient = site
        .client
        .get(site.url(&path))
        .timeout(Duration::from_millis(50))
        .send()
        .await;
    assert!(impatient.unwrap_err().is_timeout());
    let logged = async {
        loop {
            let log = site.json("/log").await;
            if log["requests"] != json!([]) {
                break log;
            }
        }
    };
    let log = timeout(Duration::from_secs(10), logged)
        .await
        .expect("the log never names the request");
    assert_eq!(log["requests"][0]["status"], Value::Null);
    assert_eq!(site.get(&path).await.status(), 200);
}

#[tokio::test]
async fn a_slow_page_comes_whole() {
    let (site, path) = with(&json!({"kind": "slow", "percent": 100, "times": 1, "delayMillis": 1})).await;
    let slow = site.text(&path).await;
    assert_eq!(slow, site.text(&path).await);
}

#[tokio::test]
async fn faults_spare_what_is_not_a_product_page_and_end_when_removed() {
    let (site, path) = with(&json!({"kind": "unavailable", "percent": 100})).await;
    assert_eq!(site.get(&path).await.status(), 503);
    for other in ["/robots.txt", "/sitemap-recent-product-index.xml.gz", "/truth"] {
        assert_eq!(site.get(other).await.status(), 200);
    }
    assert_eq!(
        site.get("/product/1101").await.status(),
        404,
        "beyond the newest id"
    );
    let removed = site.client.delete(site.url("/faults")).send().await.unwrap();
    assert_eq!(removed.status(), 204);
    assert_eq!(site.get(&path).await.status(), 200);
}

#[tokio::test]
async fn a_wrong_plan_is_refused_with_the_reason() {
    let site = Running::start(CONFIG).await;
    for (plan, reason) in [
        (json!({"kind": "flood", "percent": 1}), "unknown variant `flood`"),
        (json!({"kind": "slow"}), "missing field `percent`"),
        (
            json!({"kind": "slow", "percent": 101}),
            "`percent` is 101, expected 0 to 100",
        ),
        (
            json!({"kind": "slow", "percent": 1, "time": 2}),
            "unknown field `time`",
        ),
    ] {
        let response = site.post("/faults", &plan.to_string()).await;
        assert_eq!(response.status(), 400);
        let text = response.text().await.unwrap();
        assert!(text.contains(reason), "{text}");
    }
}
