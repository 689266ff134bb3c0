//! The operator's own HTTP server: health and metrics. Read-only, since everybody in the cluster may reach it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
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
///
/// `/livez` fails when the operator itself has come to a standstill, which only a new start mends; never for what lies
/// outside, which a new start would not mend.
pub fn router(gates: Arc<Gates>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(text))
        .with_state((gates, metrics))
}

async fn alive(State((_, metrics)): State<Shared>) -> impl IntoResponse {
    answer(&metrics.standstill(Instant::now()))
}

async fn ready(State((gates, _)): State<Shared>) -> impl IntoResponse {
    if let Some(standby) = gates.standby() {
        return (StatusCode::OK, format!("{standby}\n"));
    }
    let waiting = |kind| {
        format!(
            "waiting for the list of {kind}: is its definition installed (chart naru-crds), and may it be listed?"
        )
    };
    let closed: Vec<String> = gates.closed().into_iter().map(waiting).collect();
    answer(&closed)
}

/// One line for each thing that is not as it should be.
fn answer(problems: &[String]) -> (StatusCode, String) {
    if problems.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{}\n", problems.join("\n")),
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
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn said(answer: impl IntoResponse) -> (StatusCode, String) {
        let answer = answer.into_response();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_operator_is_ready_once_each_kind_is_listed_and_says_which_is_not() {
        let gates = Arc::new(Gates::new(&["ScrapeJob", "FilteredSum"]));
        let shared = || State((Arc::clone(&gates), Arc::default()));
        let (status, body) = said(ready(shared()).await).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body.lines().count(), 2, "{body}");
        gates.open("ScrapeJob");
        let (_, body) = said(ready(shared()).await).await;
        assert!(
            body.starts_with("waiting for the list of FilteredSum: "),
            "{body}"
        );
        gates.open("FilteredSum");
        assert_eq!(
            said(ready(shared()).await).await,
            (StatusCode::OK, "ok\n".to_owned())
        );
    }

    #[tokio::test]
    async fn a_standstill_is_told_and_idleness_is_none() {
        let metrics: Arc<Metrics> = Arc::default();
        let _lead = metrics.lead();
        let shared = State((Arc::default(), metrics));
        assert_eq!(
            said(alive(shared).await).await,
            (StatusCode::OK, "ok\n".to_owned())
        );
        let still = answer(&["a pass over ScrapeJob shop/items has been under way for 1200 s".to_owned()]);
        assert_eq!(still.0, StatusCode::SERVICE_UNAVAILABLE);
        assert!(still.1.contains("shop/items"), "{}", still.1);
    }

    #[tokio::test]
    async fn a_standby_is_ready_to_take_over_and_a_leader_once_it_has_listed_everything() {
        let (election, standing) = watch::channel(Standing::Standby { leader: None });
        let gates = Arc::new(Gates::new(&["ScrapeJob"]).behind(standing));
        let shared = || State((Arc::clone(&gates), Arc::default()));
        let standby = |text: &str| (StatusCode::OK, format!("standby, {text}\n"));
        assert_eq!(
            said(ready(shared()).await).await,
            standby("there is no leader yet")
        );
        let leader = Some("naru-1_2".to_owned());
        election.send_replace(Standing::Standby { leader });
        assert_eq!(said(ready(shared()).await).await, standby("leader is naru-1_2"));
        election.send_replace(Standing::Leading);
        assert_eq!(
            said(ready(shared()).await).await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
        gates.open("ScrapeJob");
        assert_eq!(said(ready(shared()).await).await.0, StatusCode::OK);
    }
}
