//! Two Connect clusters that run in this process: one that takes everything, and one that never answers.
//!
//! Paths and answers: <https://kafka.apache.org/documentation/#connect_rest>.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde_json::{Value, json};
use snafu::{OptionExt, ResultExt};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::Instant};

use super::{cluster::command, error::Error};

/// Configuration of a connector, and since when.
#[derive(Clone, Debug)]
struct Registered {
    config: BTreeMap<String, String>,
    paused: bool,
    at: Instant,
}

type Connectors = BTreeMap<String, Registered>;
type Shared = Arc<watch::Sender<Connectors>>;

/// Takes each connector and says that its one task runs.
pub(crate) struct Connect {
    pub(crate) url: String,
    connectors: watch::Receiver<Connectors>,
    serving: JoinHandle<()>,
}

impl Drop for Connect {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Connect {
    pub(crate) async fn start() -> Result<Self, Error> {
        let (listener, url) = listen().await?;
        let (tell, connectors) = watch::channel(Connectors::new());
        let router = Router::new()
            .route(
                "/",
                get(async || Json(json!({ "version": "4.3.1", "commit": "0", "kafka_cluster_id": "bench" }))),
            )
            .route("/connector-plugins", get(plugins))
            .route("/connector-plugins/{class}/config/validate", put(valid))
            .route("/connectors", get(list))
            .route("/connectors/{name}", get(info).delete(delete))
            .route("/connectors/{name}/config", get(config).put(put_config))
            .route("/connectors/{name}/status", get(status))
            .route("/connectors/{name}/pause", put(pause))
            .route("/connectors/{name}/resume", put(resume))
            .route("/connectors/{name}/stop", put(pause))
            .route(
                "/connectors/{name}/restart",
                post(async || StatusCode::NO_CONTENT),
            )
            .with_state(Arc::new(tell));
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("    the Connect of this run ended: {error}");
            }
        });
        Ok(Self {
            url,
            connectors,
            serving,
        })
    }

    /// Waits until the connector is registered with this number, and tells since when.
    pub(crate) async fn has(&mut self, connector: &str, number: usize) -> Result<Instant, Error> {
        let number = number.to_string();
        let deadline = Duration::from_secs(60);
        let holds = |all: &Connectors| {
            all.get(connector)
                .is_some_and(|it| it.config.get("number") == Some(&number))
        };
        let told = tokio::time::timeout(deadline, self.connectors.wait_for(holds))
            .await
            .ok()
            .with_whatever_context(|| {
                format!("connector {connector:?} did not get number {number} within 60 s")
            })?
            .whatever_context("the Connect of this run ended")?;
        Ok(told.get(connector).map_or_else(Instant::now, |it| it.at))
    }

    pub(crate) fn count(&self) -> usize {
        self.connectors.borrow().len()
    }
}

/// Accepts connections and says nothing.
pub(crate) struct Silence {
    pub(crate) url: String,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Silence {
    pub(crate) async fn start() -> Result<Self, Error> {
        let (listener, url) = listen().await?;
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            // Closed connections are kept as well: closing our end would be an answer.
            let mut kept = std::collections::VecDeque::new();
            while let Ok((connection, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                kept.push_back(connection);
                if kept.len() > 5000 {
                    kept.pop_front();
                }
            }
        });
        Ok(Self {
            url,
            connections,
            accepting,
        })
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// On the machine's end of the network that the node is in: pods reach it by their node's default route.
async fn listen() -> Result<(TcpListener, String), Error> {
    let format = "{{range .IPAM.Config}}{{.Gateway}} {{end}}";
    let gateways = command("docker", &["network", "inspect", "kind", "--format", format]).await?;
    let gateway: IpAddr = gateways
        .split_whitespace()
        .filter_map(|gateway| gateway.parse().ok())
        .find(IpAddr::is_ipv4)
        .with_whatever_context(|| format!("network kind has no gateway among {gateways:?}"))?;
    let listener = TcpListener::bind(SocketAddr::new(gateway, 0))
        .await
        .with_whatever_context(|_| format!("failed to listen on {gateway}"))?;
    let address = listener
        .local_addr()
        .whatever_context("a listener without an address")?;
    Ok((listener, format!("http://{address}")))
}

fn missing(name: &str) -> Response {
    let message = format!("Connector {name} not found");
    (
        StatusCode::NOT_FOUND,
        Json(json!({ "error_code": 404, "message": message })),
    )
        .into_response()
}

fn status_of(name: &str, connector: &Registered) -> Value {
    let state = if connector.paused { "PAUSED" } else { "RUNNING" };
    let worker = "bench:8083";
    json!({
        "name": name,
        "connector": { "state": state, "worker_id": worker },
        "tasks": [{ "id": 0, "state": state, "worker_id": worker }],
        "type": "sink",
    })
}

fn info_of(name: &str, connector: &Registered) -> Value {
    let tasks = json!([{ "connector": name, "task": 0 }]);
    json!({ "name": name, "config": connector.config, "tasks": tasks, "type": "sink" })
}

fn answer(connectors: &Shared, name: &str, of: impl FnOnce(&str, &Registered) -> Value) -> Response {
    match connectors.borrow().get(name) {
        Some(connector) => Json(of(name, connector)).into_response(),
        None => missing(name),
    }
}

async fn list(State(connectors): State<Shared>, RawQuery(query): RawQuery) -> Json<Value> {
    let query = query.unwrap_or_default();
    let connectors = connectors.borrow();
    if !query.contains("expand") {
        return Json(json!(connectors.keys().collect::<Vec<_>>()));
    }
    let expanded = connectors.iter().map(|(name, connector)| {
        let mut found = serde_json::Map::new();
        if query.contains("status") {
            found.insert("status".to_owned(), status_of(name, connector));
        }
        if query.contains("info") {
            found.insert("info".to_owned(), info_of(name, connector));
        }
        (name.clone(), Value::Object(found))
    });
    Json(Value::Object(expanded.collect()))
}

async fn info(State(connectors): State<Shared>, Path(name): Path<String>) -> Response {
    answer(&connectors, &name, info_of)
}

async fn config(State(connectors): State<Shared>, Path(name): Path<String>) -> Response {
    answer(&connectors, &name, |_, connector| json!(connector.config))
}

async fn status(State(connectors): State<Shared>, Path(name): Path<String>) -> Response {
    answer(&connectors, &name, status_of)
}

async fn put_config(
    State(connectors): State<Shared>,
    Path(name): Path<String>,
    Json(mut config): Json<BTreeMap<String, String>>,
) -> Response {
    let at = Instant::now();
    // As the real one does, which shows it in each answer.
    config.insert("name".to_owned(), name.clone());
    connectors.send_modify(|all| {
        let paused = all.get(&name).is_some_and(|it| it.paused);
        all.insert(name.clone(), Registered { config, paused, at });
    });
    answer(&connectors, &name, info_of)
}

async fn pause(State(connectors): State<Shared>, Path(name): Path<String>) -> Response {
    set_paused(&connectors, &name, true)
}

async fn resume(State(connectors): State<Shared>, Path(name): Path<String>) -> Response {
    set_paused(&connectors, &name, false)
}

fn set_paused(connectors: &Shared, name: &str, paused: bool) -> Response {
    let mut known = false;
    connectors.send_modify(|all| {
        if let Some(connector) = all.get_mut(name) {
            connector.paused = paused;
            known = true;
        }
    });
    if known {
        StatusCode::ACCEPTED.into_response()
    } else {
        missing(name)
    }
}

async fn delete(State(connectors): State<Shared>, Path(name): Path<String>) -> Response {
    let mut known = false;
    connectors.send_modify(|all| known = all.remove(&name).is_some());
    if known {
        StatusCode::NO_CONTENT.into_response()
    } else {
        missing(&name)
    }
}

async fn plugins() -> Json<Value> {
    Json(json!([{ "class": "naru.bench.Sink", "type": "sink", "version": "1" }]))
}

async fn valid(Path(class): Path<String>) -> Json<Value> {
    Json(json!({ "name": class, "error_count": 0, "groups": [], "configs": [] }))
}
