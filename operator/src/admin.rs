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
use tokio::sync::watch;

use crate::{leader::Standing, metrics::Metrics};

/// Whether each controller has seen the state of its kind once, or waits for its turn to lead.
#[derive(Debug, Default)]
pub struct Gates {
    kinds: Vec<(&'static str, AtomicBool)>,
    election: Option<watch::Receiver<Standing>>,
}

impl Gates {
    /// Closed gates with these names.
    pub fn new(names: &[&'static str]) -> Self {
        Self {
            kinds: names.iter().map(|name| (*name, AtomicBool::new(false))).collect(),
            election: None,
        }
    }

    /// The same, of an operator that has to be elected first.
    pub fn behind(mut self, election: watch::Receiver<Standing>) -> Self {
        self.election = Some(election);
        self
    }

    /// Opens a gate.
    pub fn open(&self, name: &str) {
        for (_, open) in self.kinds.iter().filter(|(gate, _)| *gate == name) {
            open.store(true, Ordering::Relaxed);
        }
    }

    /// What a standby waits for. It is ready: to take over.
    fn standby(&self) -> Option<String> {
        let standing = self.election.as_ref()?.borrow();
        matches!(*standing, Standing::Standby { .. }).then(|| standing.to_string())
    }

    fn closed(&self) -> Vec<&'static str> {
        self.kinds
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
    if let Some(standby) = gates.standby() {
        return (StatusCode::OK, format!("{standby}\n"));
    }
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

#[cfg(test)]
mod election_tests {
    use axum::body::to_bytes;

    use super::*;

    async fn said(gates: &Arc<Gates>) -> (u16, String) {
        let shared = State((Arc::clone(gates), Arc::default()));
        let answer = ready(shared).await.into_response();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 1000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_standby_is_ready_to_take_over_and_a_leader_once_it_has_listed_everything() {
        let (election, standing) = watch::channel(Standing::Standby { leader: None });
        let gates = Arc::new(Gates::new(&["ScrapeJob"]).behind(standing));
        assert_eq!(
            said(&gates).await,
            (200, "standby, there is no leader yet\n".to_owned())
        );
        let leader = Some("naru-1_2".to_owned());
        election.send_replace(Standing::Standby { leader });
        assert_eq!(
            said(&gates).await,
            (200, "standby, leader is naru-1_2\n".to_owned())
        );
        election.send_replace(Standing::Leading);
        assert_eq!(said(&gates).await.0, 503);
        gates.open("ScrapeJob");
        assert_eq!(said(&gates).await, (200, "ok\n".to_owned()));
    }
}
