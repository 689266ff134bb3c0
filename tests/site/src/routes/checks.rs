//! What those who check a crawl ask for.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::{
    Product,
    faults::Plan,
    request_log::{Excerpt, Summary},
    state::Site,
};

/// Ids that one request may release.
const MOST_RELEASED: u64 = 100_000;

type Refused = (StatusCode, String);

/// The products that a crawl of everything must find.
#[derive(Serialize)]
pub(super) struct Truth {
    /// Smallest id, which may be a hole.
    first: u64,
    /// Largest id that is a product; null while there is none.
    head: Option<u64>,
    /// All products with `first <= id <= head`, by id.
    products: Vec<Product>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UpTo {
    up_to: Option<u64>,
}

/// With `upTo`, as if that id were the newest.
pub(super) async fn truth(State(site): State<Arc<Site>>, Query(query): Query<UpTo>) -> Json<Truth> {
    let first = site.config.first_id;
    let newest = site
        .ids()
        .map(|ids| query.up_to.unwrap_or(u64::MAX).min(*ids.end()));
    let products: Vec<_> = newest
        .map(|newest| site.catalog.products(first..=newest).collect())
        .unwrap_or_default();
    Json(Truth {
        first,
        head: products.last().map(|product| product.id),
        products,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    #[serde(default)]
    since: u64,
}

pub(super) async fn log(State(site): State<Arc<Site>>, Query(query): Query<Since>) -> Json<Excerpt> {
    Json(site.log().since(query.since))
}

pub(super) async fn summary(State(site): State<Arc<Site>>) -> Json<Summary> {
    Json(site.log().summary())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Count {
    count: u64,
}

#[derive(Serialize)]
pub(super) struct Released {
    /// Ids released so far.
    released: u64,
    head: Option<u64>,
}

pub(super) async fn release(
    State(site): State<Arc<Site>>,
    Query(Count { count }): Query<Count>,
) -> Result<Json<Released>, Refused> {
    if !(1..=MOST_RELEASED).contains(&count) {
        let message = format!("`count` is {count}, expected 1 to {MOST_RELEASED}");
        return Err((StatusCode::BAD_REQUEST, message));
    }
    let released = site.release(count);
    info!(count, released, "ids released");
    Ok(Json(Released {
        released,
        head: site.head(),
    }))
}

pub(super) async fn add_fault(State(site): State<Arc<Site>>, body: Bytes) -> Result<StatusCode, Refused> {
    let refused = |message: String| (StatusCode::BAD_REQUEST, message);
    let plan: Plan = serde_json::from_slice(&body)
        .map_err(|error| refused(format!("the body is not a plan of faults: {error}")))?;
    site.faults().add(plan.clone()).map_err(refused)?;
    info!(?plan, "faults planned");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn clear_faults(State(site): State<Arc<Site>>) -> StatusCode {
    site.faults().clear();
    StatusCode::NO_CONTENT
}
