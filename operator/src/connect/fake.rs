//! A Connect cluster in memory, behind real HTTP on loopback.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, RawQuery, State as Shared},
    http::{Method, StatusCode, Uri},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{Address, Config, Connect, Mask};

/// What the fake knows. Tests read and write it directly.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) configs: BTreeMap<String, Config>,
    /// Status documents by connector.
    pub(crate) statuses: BTreeMap<String, Value>,
    /// `GET /connectors/a/config`, in order.
    pub(crate) requests: Vec<String>,
    /// Answers that are given instead of the right ones, first come first served.
    pub(crate) instead: VecDeque<(u16, String)>,
}

/// A running fake. It ends with the test's runtime.
pub(crate) struct Fake {
    pub(crate) address: Address,
    world: Arc<Mutex<World>>,
}

type W = Arc<Mutex<World>>;

impl Fake {
    pub(crate) async fn start() -> Self {
        let world = W::default();
        let router = Router::new()
            .route("/connectors/{name}/config", get(config).put(put_config))
            .route("/connectors/{name}/status", get(status))
            .route("/connectors/{name}/restart", post(restart))
            .route("/connectors/{name}", axum::routing::delete(delete))
            .layer(middleware::from_fn_with_state(Arc::clone(&world), record))
            .with_state(Arc::clone(&world));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            address: Address::parse(&address).unwrap(),
            world,
        }
    }

    pub(crate) fn client(&self, mask: Mask) -> Connect {
        Connect::new(http(), self.address.clone(), mask)
    }

    pub(crate) fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap())
    }

    /// The next request gets this answer.
    pub(crate) fn instead(&self, status: u16, body: impl Into<String>) {
        self.world(|world| world.instead.push_back((status, body.into())));
    }
}

/// A client like the operator's.
pub(crate) fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(super::CONNECT_DEADLINE)
        .build()
        .unwrap()
}

/// An error document of Connect's.
pub(crate) fn error(status: u16, message: &str) -> String {
    json!({ "error_code": status, "message": message }).to_string()
}

async fn record(
    Shared(world): Shared<W>,
    method: Method,
    uri: Uri,
    request: axum::extract::Request,
    next: middleware::Next,
) -> Response {
    let instead = {
        let mut world = world.lock().unwrap();
        world.requests.push(format!("{method} {uri}"));
        world.instead.pop_front()
    };
    match instead {
        Some((status, body)) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        None => next.run(request).await,
    }
}

fn missing(name: &str) -> Response {
    (
        StatusCode::NOT_FOUND,
        error(404, &format!("Connector {name} not found")),
    )
        .into_response()
}

async fn config(Shared(world): Shared<W>, Path(name): Path<String>) -> Response {
    match world.lock().unwrap().configs.get(&name) {
        Some(config) => Json(config).into_response(),
        None => missing(&name),
    }
}

async fn put_config(
    Shared(world): Shared<W>,
    Path(name): Path<String>,
    Json(mut config): Json<Config>,
) -> Response {
    config.0.insert("name".to_owned(), name.clone());
    let mut world = world.lock().unwrap();
    world.statuses.entry(name.clone()).or_insert_with(
        || json!({ "name": name, "connector": { "state": "RUNNING", "worker_id": "w:8083" }, "tasks": [], "type": "sink" }),
    );
    let new = world.configs.insert(name.clone(), config).is_none();
    (
        if new { StatusCode::CREATED } else { StatusCode::OK },
        Json(json!({ "name": name })),
    )
        .into_response()
}

async fn status(Shared(world): Shared<W>, Path(name): Path<String>) -> Response {
    match world.lock().unwrap().statuses.get(&name) {
        Some(status) => Json(status).into_response(),
        None => missing(&name),
    }
}

async fn restart(Shared(world): Shared<W>, Path(name): Path<String>, RawQuery(query): RawQuery) -> Response {
    assert_eq!(query.as_deref(), Some("includeTasks=true&onlyFailed=true"));
    match world.lock().unwrap().statuses.get(&name) {
        Some(status) => (StatusCode::ACCEPTED, Json(status.clone())).into_response(),
        None => missing(&name),
    }
}

async fn delete(Shared(world): Shared<W>, Path(name): Path<String>) -> Response {
    let mut world = world.lock().unwrap();
    world.statuses.remove(&name);
    match world.configs.remove(&name) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => missing(&name),
    }
}
