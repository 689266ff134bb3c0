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

/// Whether each controller has seen the state of its kind once, or waits for its turn to lead and could see it then.
#[derive(Debug, Default)]
pub struct Gates {
    kinds: Vec<Gate>,
    election: Option<watch::Receiver<Standing>>,
}

/// Of one kind.
#[derive(Debug)]
struct Gate {
    name: &'static str,
    /// Its objects can be listed.
    listable: AtomicBool,
    /// They have been, by the controller.
    open: AtomicBool,
}

impl Gates {
    /// Closed gates with these names.
    pub fn new(names: &[&'static str]) -> Self {
        Self {
            kinds: names
                .iter()
                .map(|name| Gate {
                    name,
                    listable: AtomicBool::new(false),
                    open: AtomicBool::new(false),
                })
                .collect(),
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
        for gate in self.kinds.iter().filter(|gate| gate.name == name) {
            gate.open.store(true, Ordering::Relaxed);
        }
    }

    /// The objects of a kind could be listed.
    pub fn listable(&self, name: &str) {
        for gate in self.kinds.iter().filter(|gate| gate.name == name) {
            gate.listable.store(true, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(crate) fn all_listable(&self) -> bool {
        self.closed(|gate| &gate.listable).is_empty()
    }

    fn standing(&self) -> Option<Standing> {
        Some(self.election.as_ref()?.borrow().clone())
    }

    fn closed(&self, open: impl Fn(&Gate) -> &AtomicBool) -> Vec<String> {
        let closed = self
            .kinds
            .iter()
            .filter(|gate| !open(gate).load(Ordering::Relaxed));
        let waiting = |Gate { name, .. }: &Gate| {
            format!(
                "waiting for the list of {name}: is its definition installed (chart naru-crds), and may it be listed?"
            )
        };
        closed.map(waiting).collect()
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

/// A standby is ready if it can take over: otherwise a rollout would go on to end the one that works.
async fn ready(State((gates, _)): State<Shared>) -> impl IntoResponse {
    match gates.standing() {
        Some(standing @ Standing::Unheard { .. }) => answer(&[standing.to_string()]),
        Some(standing @ Standing::Standby { .. }) => match gates.closed(|gate| &gate.listable) {
            closed if closed.is_empty() => (StatusCode::OK, format!("{standing}\n")),
            closed => answer(&closed),
        },
        Some(Standing::Leading | Standing::Lost) | None => answer(&gates.closed(|gate| &gate.open)),
    }
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
        gates.listable("ScrapeJob");
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

    #[tokio::test]
    async fn a_standby_that_could_not_take_over_is_not_ready_and_says_why() {
        let (election, standing) = watch::channel(Standing::Unheard { problem: None });
        let gates = Arc::new(Gates::new(&["ScrapeJob", "FilteredSum"]).behind(standing));
        let shared = || State((Arc::clone(&gates), Arc::default()));
        let unready = async |expected: &str| {
            let (status, body) = said(ready(shared()).await).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
            assert!(body.starts_with(expected) && body.lines().count() == 1, "{body}");
        };
        gates.listable("ScrapeJob");
        unready("waiting for an answer about the Lease\n").await;
        let problem = Some("forbidden".to_owned());
        election.send_replace(Standing::Unheard { problem });
        unready("cannot ask for the Lease: forbidden\n").await;
        election.send_replace(Standing::Standby { leader: None });
        unready("waiting for the list of FilteredSum: ").await;
        gates.listable("FilteredSum");
        assert_eq!(said(ready(shared()).await).await.0, StatusCode::OK);
    }
}
