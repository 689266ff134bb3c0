//! Puts each request of a crawler into the log, also when the crawler goes away before the answer.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};

use crate::{request_log::Arrival, state::Site};

/// Marks an answer as the whole page of the product with this id.
#[derive(Clone, Copy)]
pub(super) struct Served(pub(super) u64);

pub(super) async fn record(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let mut under_way = UnderWay::new(site, &request);
    let response = next.run(request).await;
    under_way.status = Some(response.status().as_u16());
    under_way.served = response.extensions().get::<Served>().map(|served| served.0);
    response
}

struct UnderWay {
    site: Arc<Site>,
    arrival: Option<Arrival>,
    status: Option<u16>,
    served: Option<u64>,
}

impl UnderWay {
    fn new(site: Arc<Site>, request: &Request) -> Self {
        let agent = request
            .headers()
            .get(header::USER_AGENT)
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        let agent = String::from_utf8_lossy(agent);
        let arrival = {
            let mut log = site.log();
            // Read under the lock, so that arrivals are logged in the order of their time.
            log.arrive(site.millis(), request.uri().path(), &agent)
        };
        Self {
            site,
            arrival: Some(arrival),
            status: None,
            served: None,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(arrival) = self.arrival.take() {
            self.site.log().leave(arrival, self.status, self.served);
        }
    }
}
