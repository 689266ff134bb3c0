//! The operator's own HTTP server: health and metrics.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};

use crate::metrics::Metrics;

/// Whether each controller has seen the state of its kind once.
#[derive(Debug, Default)]
pub struct Gates(Vec<(&'static str, AtomicBool)>);

impl Gates {
    /// Closed gates with these names.
    pub fn new(names: &[&'static str]) -> Self {
        Self(names.iter().map(|name| (*name, AtomicBool::new(false))).collect())
    }

    /// Opens a gate.
    pub fn open(&self, name: &str) {
        for (_, open) in self.0.iter().filter(|(gate, _)| *gate == name) {
            open.store(true, Ordering::Relaxed);
        }
    }

    fn closed(&self) -> Vec<&'static str> {
        self.0
            .iter()
            .filter(|(_, open)| !open.load(Ordering::Relaxed))
            .map(|(name, _)| *name)
            .collect()
    }
}

type Shared = (Arc<Gates>, Arc<Metrics>);

/// `/livez`, `/readyz`, `/metrics`.
pub fn router(gates: Arc<Gates>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(text))
        .with_state((gates, metrics))
}

async fn ready(State((gates, _)): State<Shared>) -> impl IntoResponse {
    let closed = gates.closed();
    if closed.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("waiting for the list of: {}\n", closed.join(", ")),
        )
    }
}

async fn text(State((_, metrics)): State<Shared>) -> impl IntoResponse {
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        metrics.text(),
    )
}
