//! Everything that a site answers. What a crawler sees is logged; what checks ask for is not.
//!
//! | route | answer |
//! |---|---|
//! | `GET /product/{id}` | a product page, or status 404, or a page with an empty product |
//! | `GET /sitemap-recent-product-index.xml.gz`, `/sitemap/{name}` | the newest products |
//! | `GET /robots.txt` | what crawlers may do |
//! | `GET /truth?upTo=ID` | all products that exist now, as the pages show them |
//! | `GET /log?since=SEQ`, `/log/summary` | requests of crawlers |
//! | `POST /release?count=N` | N more ids at once |
//! | `POST /faults`, `DELETE /faults` | adds a plan of faults to product pages, removes all plans |
//! | `GET /healthz` | whether the site is up |

mod checks;
mod crawled;
mod fault;
mod recorded;

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{get, post},
};

use crate::state::Site;

pub(crate) fn router(site: Arc<Site>) -> Router {
    let crawled = Router::new()
        .route("/product/{id}", get(crawled::product))
        .route(
            "/sitemap-recent-product-index.xml.gz",
            get(crawled::sitemap_index),
        )
        .route("/sitemap/{name}", get(crawled::sitemap))
        .route("/robots.txt", get(crawled::robots))
        .fallback(crawled::not_found)
        .layer(middleware::from_fn_with_state(site.clone(), recorded::record));
    let checks = Router::new()
        .route("/truth", get(checks::truth))
        .route("/log", get(checks::log))
        .route("/log/summary", get(checks::summary))
        .route("/release", post(checks::release))
        .route("/faults", post(checks::add_fault).delete(checks::clear_faults))
        .route("/healthz", get(async || "ok"));
    crawled.merge(checks).with_state(site)
}
