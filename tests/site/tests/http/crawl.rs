//! What a crawler finds its way with: robots.txt, the sitemap, the head.

use std::{io::Read, time::Duration};

use flate2::read::GzDecoder;
use naru_site::{Catalog, Config};
use regex::Regex;

use crate::running::Running;

const CONFIG: Config = Config {
    seed: 3,
    first_id: 1_001,
    initial: 300,
    per_second: 0.0,
    limit: 0,
};

fn found(pattern: &str, text: &str) -> Vec<String> {
    Regex::new(pattern)
        .unwrap()
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .collect()
}

fn unzipped(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

/// The ids that the sitemap lists, read as a crawler does: from the index to its children, by their URLs.
async fn listed(site: &Running) -> Vec<u64> {
    let index = site.get("/sitemap-recent-product-index.xml.gz").await;
    assert_eq!(index.headers()["content-type"], "application/gzip");
    assert!(!index.headers().contains_key("content-encoding"));
    let index = unzipped(&index.bytes().await.unwrap());
    let mut ids = Vec::new();
    for url in found("<loc>(.*?)</loc>", &index) {
        assert!(url.starts_with(&format!("http://{}/", site.host)), "{url}");
        let child = site
            .client
            .get(&url)
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap();
        let gzip = child.headers()["content-type"] == "application/gzip";
        assert_eq!(gzip, url.ends_with(".gz"));
        let bytes = child.bytes().await.unwrap();
        let xml = if gzip {
            unzipped(&bytes)
        } else {
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        let pattern = format!("<loc>http://{}/product/(.*?)</loc>", regex::escape(&site.host));
        ids.extend(found(&pattern, &xml).iter().map(|id| id.parse::<u64>().unwrap()));
    }
    ids
}

#[tokio::test]
async fn the_sitemap_lists_the_newest_products_up_to_the_head() {
    let catalog = Catalog::new(CONFIG.seed);
    for initial in [2, 300, 2_345] {
        let site = Running::start(Config { initial, ..CONFIG }).await;
        let newest = CONFIG.first_id + initial - 1;
        let head = site.json("/truth").await["head"].as_u64();
        assert_eq!(head, catalog.newest_product(CONFIG.first_id..=newest));
        let mut expected: Vec<_> = catalog
            .products(CONFIG.first_id..=newest)
            .map(|product| product.id)
            .collect();
        expected.retain(|id| id + 1_000 > head.unwrap());
        assert_eq!(listed(&site).await, expected, "{initial} ids");
    }
}

#[tokio::test]
async fn a_site_without_products_has_an_empty_sitemap_and_no_head() {
    let site = Running::start(Config { initial: 0, ..CONFIG }).await;
    assert!(listed(&site).await.is_empty());
    let truth = site.json("/truth").await;
    assert_eq!(
        truth,
        serde_json::json!({"first": 1_001, "head": null, "products": []})
    );
}

#[tokio::test]
async fn the_head_follows_the_clock_up_to_the_limit_and_pages_beyond_it_are_missing() {
    let site = Running::start(Config {
        per_second: 2.0,
        limit: 320,
        ..CONFIG
    })
    .await;
    let catalog = Catalog::new(CONFIG.seed);
    for newest in [1_300, 1_310, 1_320, 1_320] {
        let head = catalog.newest_product(1..=newest).unwrap();
        assert_eq!(site.head().await, head);
        assert_eq!(site.get(&format!("/product/{head}")).await.status(), 200);
        for id in newest + 1..newest + 10 {
            assert_eq!(site.get(&format!("/product/{id}")).await.status(), 404);
        }
        site.clock.advance(Duration::from_secs(5));
    }
}

#[tokio::test]
async fn robots_txt_names_the_sitemap_under_the_host_that_was_asked() {
    let site = Running::start(CONFIG).await;
    let robots = site.text("/robots.txt").await;
    for line in ["User-agent: *", "Disallow: /my-account", "Allow: /"] {
        assert!(robots.lines().any(|found| found == line), "{robots}");
    }
    let url = &found("Sitemap: (.*)", &robots)[0];
    assert_eq!(site.client.get(url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn paths_that_are_no_page_are_missing() {
    let site = Running::start(CONFIG).await;
    for path in [
        "/product/x",
        "/product/-1",
        "/product/1000",
        "/my-account",
        "/sitemap/other.xml",
        "/",
    ] {
        assert_eq!(site.get(path).await.status(), 404, "{path}");
    }
}
