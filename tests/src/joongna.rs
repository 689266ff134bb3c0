//! The joongna pipeline, and what must come out of it.

use std::collections::BTreeMap;

use kube::Client;
use serde::{Deserialize, Serialize};

use crate::cluster::mysql;

/// The example, as it stands in the repository.
const EXAMPLE: &str = include_str!("../../deploy/examples/joongna/pipeline.yaml");
/// The replica of the marketplace.
const SITE: &str = include_str!("../site/manifest.yaml");

/// Prices above it are dropped by the example's filter, KRW.
pub const LIMIT: i64 = 1_000_000;

/// Where a joongna pipeline stands.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Namespace of the site.
    pub site: String,
    /// Table of the products.
    pub items: String,
    /// Table of the totals.
    pub totals: String,
}

impl Pipeline {
    /// As `make demo` has it.
    pub fn demo() -> Self {
        Self {
            site: "naru-site".to_owned(),
            items: "items".to_owned(),
            totals: "totals".to_owned(),
        }
    }

    /// In a namespace of its own, with a site, topics and tables of its own. Returns also the site's and the
    /// pipeline's YAML.
    pub fn in_namespace(namespace: &str, site_image: &str) -> (Self, String, String) {
        Self::from_example(EXAMPLE, namespace, site_image)
    }

    /// The same from the example as another version of this repository has it.
    pub fn from_example(example: &str, namespace: &str, site_image: &str) -> (Self, String, String) {
        let prefix = namespace.replace('-', "_");
        let pipeline = Self {
            site: namespace.to_owned(),
            items: format!("{prefix}_items"),
            totals: format!("{prefix}_totals"),
        };
        // The namespace itself is there already.
        let site: Vec<_> = SITE
            .split("\n---\n")
            .filter(|document| !document.contains("kind: Namespace"))
            .collect();
        let site = site
            .join("\n---\n")
            .replace("naru-site", namespace)
            .replace("naru/site:dev", site_image);
        let yaml = example
            .replace("site.naru-site", &format!("site.{namespace}"))
            .replace("joongna.items", &format!("{namespace}.items"))
            .replace("joongna.total", &format!("{namespace}.total"))
            .replace("table: items", &format!("table: {}", pipeline.items))
            .replace("table: totals", &format!("table: {}", pipeline.totals));
        (pipeline, site, yaml)
    }

    /// What there is on the site, in the tables and in the total.
    pub async fn figures(&self, client: &Client) -> Result<Figures, String> {
        let truth = self.truth(client).await?;
        let rows = self.rows().await.map_err(|error| not_yet(&self.items, error))?;
        let total = self.total().await.map_err(|error| not_yet(&self.totals, error))?;
        let kept = truth.values().filter(|price| **price <= LIMIT);
        Ok(Figures {
            products: truth.len(),
            rows: rows.len(),
            dropped: truth.values().filter(|price| **price > LIMIT).count(),
            expected_total: kept.map(|price| i128::from(*price)).sum(),
            total: total.sum,
            wrong: truth
                .iter()
                .filter(|(id, price)| rows.get(*id) != Some(*price))
                .count(),
            summed: total.count,
            dropped_by_filter: total.dropped,
        })
    }

    /// Price of each product that the site has, by id.
    async fn truth(&self, client: &Client) -> Result<BTreeMap<u64, i64>, String> {
        #[derive(Deserialize)]
        struct Truth {
            products: Vec<Product>,
        }
        #[derive(Deserialize)]
        struct Product {
            id: u64,
            price: i64,
        }
        let truth: Truth =
            serde_json::from_str(&self.site(client, "GET", "truth").await?).map_err(|e| e.to_string())?;
        Ok(truth
            .products
            .into_iter()
            .map(|product| (product.id, product.price))
            .collect())
    }

    /// Asks the site, through the API server.
    pub async fn site(&self, client: &Client, method: &str, path: &str) -> Result<String, String> {
        let uri = format!("/api/v1/namespaces/{}/services/site:80/proxy/{path}", self.site);
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .body(Vec::new())
            .map_err(|e| e.to_string())?;
        client
            .request_text(request)
            .await
            .map_err(|e| format!("the site does not answer: {e}"))
    }

    /// Price of each product in the table, by id. A product that is there twice is an error.
    async fn rows(&self) -> Result<BTreeMap<u64, i64>, String> {
        let mut rows = BTreeMap::new();
        for line in mysql(&format!("select productSeq, price from {}", self.items))
            .await?
            .lines()
        {
            let (id, price) = line.split_once('\t').ok_or("a row has no tab")?;
            let (id, price) = (id.parse().map_err(|_| line)?, price.parse().map_err(|_| line)?);
            if rows.insert(id, price).is_some() {
                return Err(format!("product {id} is in the table twice"));
            }
        }
        Ok(rows)
    }

    async fn total(&self) -> Result<Total, String> {
        // Columns that are both words of SQL and fields of a total are quoted.
        let query = format!(
            "select `sum`, `count`, dropped from {} where id = 'total'",
            self.totals
        );
        let answer = mysql(&query).await?;
        let columns: Vec<i128> = answer
            .split_whitespace()
            .filter_map(|column| column.parse().ok())
            .collect();
        match columns[..] {
            [sum, count, dropped] => Ok(Total { sum, count, dropped }),
            _ => Err(format!("there is no total yet: {answer:?}")),
        }
    }
}

/// The connector makes its table when the first record comes.
fn not_yet(table: &str, error: String) -> String {
    if error.contains("doesn't exist") {
        format!("there is no table {table} yet")
    } else {
        error
    }
}

struct Total {
    sum: i128,
    count: i128,
    dropped: i128,
}

/// A look at a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Products that the site has.
    pub products: usize,
    /// Rows in the table.
    pub rows: usize,
    /// Products above [`LIMIT`].
    pub dropped: usize,
    /// Sum of the prices of the others, as the site has them.
    pub expected_total: i128,
    /// The sum that the pipeline has.
    pub total: i128,
    /// Products that are not in the table with the site's price.
    #[serde(skip)]
    pub wrong: usize,
    /// Records that went into the total, by the total itself: more than there are products if any came twice.
    #[serde(skip)]
    pub summed: i128,
    /// Records that the filter dropped, by the total itself.
    #[serde(skip)]
    pub dropped_by_filter: i128,
}

impl Figures {
    /// Whether the pipeline holds exactly what the site has; otherwise what is not so.
    pub fn check(&self) -> Result<(), String> {
        let seen = self.summed + self.dropped_by_filter;
        let wrong = [
            (
                self.rows != self.products,
                format!("{} rows for {} products", self.rows, self.products),
            ),
            (
                self.wrong > 0,
                format!("{} products missing or with another price", self.wrong),
            ),
            (
                self.total != self.expected_total,
                format!("total {} instead of {}", self.total, self.expected_total),
            ),
            (
                seen != self.products as i128,
                format!("{seen} records counted for {} products", self.products),
            ),
            (
                self.dropped_by_filter != self.dropped as i128,
                format!(
                    "{} records dropped instead of {}",
                    self.dropped_by_filter, self.dropped
                ),
            ),
        ];
        let wrong: Vec<_> = wrong
            .into_iter()
            .filter_map(|(is_so, what)| is_so.then_some(what))
            .collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join(", "))
        }
    }
}
