//! A marketplace of second-hand goods to scrape: our own, invented, and the same for the same seed.
//!
//! Tests run it in their process on a loopback port, the demo as a pod. It serves pages by id in three layouts, a
//! sitemap of the newest, `robots.txt`, and for those who check a crawl: `/truth`, a request log, faults to switch
//! on and ids to release. The table of all routes is in `routes.rs`.
//!
//! What stands at an id depends on the seed and the id alone. How many ids there are depends on the time since
//! the start and on `POST /release`. Nothing is stored, so **a restart** begins again: the head falls back to where
//! the first start had it, never below, and grows anew; ids above it answer 404 until they are reached again;
//! released ids, faults and the request log are forgotten. An id that comes back is the same product as before. A
//! check that must not depend on any of this sets `per_second` to 0 and `initial` to what it wants.

mod catalog;
mod clock;
mod config;
mod faults;
mod growth;
mod page;
mod request_log;
mod routes;
mod sitemap;
mod state;

use std::{io, sync::Arc};

use axum::Router;
use tokio::net::TcpListener;

pub use catalog::{Catalog, Entry, Product, Status};
pub use clock::Clock;
pub use config::Config;
pub use faults::{FaultKind, Plan};
pub use growth::Growth;
pub use page::Layout;

/// The site as a service, with its time from `clock`.
pub fn site(config: Config, clock: Clock) -> Router {
    routes::router(Arc::new(state::Site::new(config, clock)))
}

/// Serves a site that starts now, until `shutdown` is ready and the requests under way are answered.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, site(config, Clock::started()))
        .with_graceful_shutdown(shutdown)
        .await
}
