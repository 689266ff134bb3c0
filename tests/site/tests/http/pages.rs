//! Every page shows what `/truth` says, in every layout.

use naru_site::{Catalog, Config, Entry, Layout};
use scraper::{Html, Selector};
use serde_json::{Value, json};
use serde_json_path::JsonPath;

use crate::{flight, running::Running};

const CONFIG: Config = Config {
    seed: 5,
    first_id: 228_000_001,
    initial: 300,
    per_second: 0.0,
    limit: 0,
};

/// What a page shows, in the shape of a product of `/truth`.
fn shown(layout: Layout, id: u64, html: &str) -> Value {
    match layout {
        Layout::ServerRendered => {
            let script = select(html, "script#__NEXT_DATA__").unwrap();
            from_json(&[serde_json::from_str(&script).unwrap()])
        }
        Layout::Flight => from_json(&flight::rows(html)),
        Layout::Plain => json!({
            "id": id,
            "title": select(html, "main h1"),
            "price": digits(&select(html, "main .price").unwrap()),
            "category": select(html, ".breadcrumb").unwrap().split(',').collect::<Vec<_>>(),
            "seller": select(html, "main .seller"),
            "description": select(html, "main .description"),
        }),
    }
}

fn from_json(documents: &[Value]) -> Value {
    let find = |path: &str| {
        let path = JsonPath::parse(path).unwrap();
        documents
            .iter()
            .find_map(|document| path.query(document).first().cloned())
            .unwrap()
    };
    json!({
        "id": find("$..product.productSeq"),
        "title": find("$..product.productTitle"),
        "price": find("$..product.productPrice"),
        "category": find("$..product.categoryName").as_str().unwrap().split(',').collect::<Vec<_>>(),
        "status": find("$..product.productStatus"),
        "seller": find("$..product.nickName"),
        "description": find("$..product.productDescription"),
        "sortDate": find("$..product.sortDate"),
    })
}

/// The text of the first element.
fn select(html: &str, selector: &str) -> Option<String> {
    let selector = Selector::parse(selector).unwrap();
    Html::parse_document(html)
        .select(&selector)
        .next()
        .map(|element| element.text().collect())
}

fn meta(html: &str, property: &str) -> String {
    let selector = Selector::parse(&format!("meta[property='{property}']")).unwrap();
    let document = Html::parse_document(html);
    document
        .select(&selector)
        .next()
        .unwrap()
        .attr("content")
        .unwrap()
        .to_owned()
}

fn digits(text: &str) -> i64 {
    text.chars()
        .filter(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap()
}

/// A plain page does not show all fields.
fn with_fields_of(truth: &Value, shown: &Value) -> Value {
    let fields = shown.as_object().unwrap().keys();
    fields.map(|name| (name.clone(), truth[name].clone())).collect()
}

#[tokio::test]
async fn every_page_shows_its_product_and_every_hole_none() {
    let site = Running::start(CONFIG).await;
    let truth = site.json("/truth").await;
    let mut products = truth["products"].as_array().unwrap().iter();
    let catalog = Catalog::new(CONFIG.seed);
    for id in CONFIG.first_id..CONFIG.first_id + CONFIG.initial {
        let response = site.get(&format!("/product/{id}")).await;
        let status = response.status();
        let html = response.text().await.unwrap();
        let layout = Layout::of(CONFIG.seed, id);
        match catalog.entry(id) {
            Entry::Product(product) => {
                let expected = products.next().unwrap();
                let shown = shown(layout, id, &html);
                assert_eq!(shown, with_fields_of(expected, &shown), "{layout:?}");
                assert_eq!(status, 200);
                assert_eq!(meta(&html, "og:title"), product.title);
                assert_eq!(*expected, serde_json::to_value(product).unwrap());
            }
            Entry::Missing => assert_eq!(status, 404),
            Entry::Empty => {
                assert_eq!(status, 200);
                assert!(is_empty(layout, &html), "{id}, {layout:?}");
            }
        }
    }
    assert_eq!(products.next(), None);
}

fn is_empty(layout: Layout, html: &str) -> bool {
    let json = |documents: &[Value]| {
        documents.iter().any(|document| {
            let path = JsonPath::parse("$..product").unwrap();
            let product = path.query(document).first().cloned().unwrap_or_default();
            product["productTitle"] == ""
                && product["productPrice"].is_null()
                && product["productSeq"].is_null()
        })
    };
    match layout {
        Layout::ServerRendered => {
            json(&[serde_json::from_str(&select(html, "script#__NEXT_DATA__").unwrap()).unwrap()])
        }
        Layout::Flight => json(&flight::rows(html)),
        Layout::Plain => {
            select(html, "main h1").unwrap().is_empty() && select(html, "main .price").unwrap().is_empty()
        }
    }
}

#[tokio::test]
async fn a_plain_page_repeats_its_figures_in_metas() {
    let site = Running::start(CONFIG).await;
    let product = Catalog::new(CONFIG.seed)
        .products(CONFIG.first_id..=CONFIG.first_id + 299)
        .find(|product| Layout::of(CONFIG.seed, product.id) == Layout::Plain && product.price > 0)
        .unwrap();
    let html = site.text(&format!("/product/{}", product.id)).await;
    assert_eq!(meta(&html, "product:price:amount"), product.price.to_string());
    assert_eq!(meta(&html, "product:category"), product.category.join(","));
}

#[tokio::test]
async fn flight_streams_are_cut_into_pushes_and_long_texts_have_rows_of_their_own() {
    let site = Running::start(CONFIG).await;
    for long in [false, true] {
        let product = Catalog::new(CONFIG.seed)
            .products(CONFIG.first_id..=CONFIG.first_id + 299)
            .find(|product| {
                Layout::of(CONFIG.seed, product.id) == Layout::Flight
                    && (product.description.len() > 1_024) == long
            })
            .unwrap();
        let html = site.text(&format!("/product/{}", product.id)).await;
        assert!(flight::pushes(&html) > 3);
        let reference = r#"\"productDescription\":\"$29\""#;
        assert_eq!(html.contains(reference), long);
    }
}

#[tokio::test]
async fn two_sites_with_one_seed_serve_the_same_bytes() {
    let sites = [Running::start(CONFIG).await, Running::start(CONFIG).await];
    let other = Running::start(Config { seed: 6, ..CONFIG }).await;
    for path in [
        "/truth",
        "/product/228000001",
        "/product/228000002",
        "/product/228000003",
    ] {
        let text = sites[0].text(path).await;
        assert_eq!(text, sites[1].text(path).await);
        assert_ne!(text, other.text(path).await);
    }
}
