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
    routing::{delete, get, post, put},
};
use serde_json::{Value, json};

use super::{Address, Clusters, Config, Connect, Mask};

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
    /// Requests with this in their line (`PUT /connectors/a/config`) are answered when the other side says so, with
    /// what was there when they came.
    pub(crate) held: Option<(&'static str, Arc<tokio::sync::Semaphore>)>,
    /// What becomes of the requests after those, in their order. None, and after the last one: they are answered.
    pub(crate) faults: VecDeque<Option<Fault>>,
}

/// An error for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) status: u16,
    /// What was asked for is done all the same.
    pub(crate) done: bool,
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
            .route("/connectors", get(list).post(create))
            .route("/connectors/{name}/config", get(config).put(put_config))
            .route("/connectors/{name}/pause", put(pause))
            .route("/connectors/{name}/resume", put(resume))
            .route("/connectors/{name}/stop", put(stop))
            .route("/connectors/{name}/offsets", delete(delete_offsets))
            .route("/connectors/{name}/status", get(status))
            .route("/connectors/{name}/restart", post(restart))
            .route("/connectors/{name}", delete(unregister))
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
        Connect::new(Clusters::new(http()).get(&self.address), mask)
    }

    pub(crate) fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap())
    }

    /// Holds the answers to requests with this in their line, until the test adds permits.
    pub(crate) fn hold(&self, part: &'static str) -> Arc<tokio::sync::Semaphore> {
        let held = Arc::new(tokio::sync::Semaphore::new(0));
        self.world(|world| world.held = Some((part, Arc::clone(&held))));
        held
    }

    /// Waits until this many requests with this in their line have come.
    pub(crate) async fn asked(&self, part: &str, times: usize) {
        let asked = || self.world(|world| world.requests.iter().filter(|line| line.contains(part)).count());
        let all = async {
            while asked() < times {
                tokio::task::yield_now().await;
            }
        };
        let within = std::time::Duration::from_secs(20);
        tokio::time::timeout(within, all)
            .await
            .expect("the requests come");
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
    let line = format!("{method} {uri}");
    let (instead, fault, held) = {
        let mut world = world.lock().unwrap();
        let held = world.held.clone().filter(|(part, _)| line.contains(part));
        world.requests.push(line);
        match world.instead.pop_front() {
            None => (None, world.faults.pop_front().flatten(), held),
            instead => (instead, None, held),
        }
    };
    let refused = |status, body| (StatusCode::from_u16(status).unwrap(), body).into_response();
    let answer = match (instead, fault) {
        (Some((status, body)), _) => refused(status, body),
        (None, None) => next.run(request).await,
        (None, Some(Fault { status, done })) => {
            if done {
                next.run(request).await;
            }
            refused(status, error(status, "not now"))
        }
    };
    if let Some((_, held)) = held {
        held.acquire().await.unwrap().forget();
    }
    answer
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
    Json(config): Json<Config>,
) -> Response {
    let new = register(&mut world.lock().unwrap(), &name, config, "RUNNING");
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

async fn unregister(Shared(world): Shared<W>, Path(name): Path<String>) -> Response {
    let mut world = world.lock().unwrap();
    world.statuses.remove(&name);
    match world.configs.remove(&name) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => missing(&name),
    }
}

pub(crate) fn register(world: &mut World, name: &str, mut config: Config, state: &str) -> bool {
    config.0.insert("name".to_owned(), name.to_owned());
    world.statuses.entry(name.to_owned()).or_insert_with(
        || json!({ "name": name, "connector": { "state": state, "worker_id": "w:8083" }, "tasks": [], "type": "sink" }),
    );
    world.configs.insert(name.to_owned(), config).is_none()
}

async fn create(Shared(world): Shared<W>, Json(body): Json<Value>) -> Response {
    let config: Config = serde_json::from_value(body["config"].clone()).unwrap();
    let state = body["initial_state"].as_str().unwrap_or("RUNNING");
    register(
        &mut world.lock().unwrap(),
        body["name"].as_str().unwrap(),
        config,
        state,
    );
    StatusCode::CREATED.into_response()
}

/// As Connect: a connector without a status is left out.
async fn list(Shared(world): Shared<W>, RawQuery(query): RawQuery) -> Response {
    assert_eq!(query.as_deref(), Some("expand=status&expand=info"));
    let world = world.lock().unwrap();
    let connectors = world.configs.iter().filter_map(|(name, config)| {
        let status = world.statuses.get(name)?;
        let info = json!({ "name": name, "config": config, "tasks": [], "type": "sink" });
        Some((name.clone(), json!({ "info": info, "status": status })))
    });
    Json(connectors.collect::<BTreeMap<_, _>>()).into_response()
}

fn set_state(world: &W, name: &str, state: &str) -> Response {
    match world.lock().unwrap().statuses.get_mut(name) {
        Some(status) => {
            status["connector"]["state"] = json!(state);
            for task in status["tasks"].as_array_mut().unwrap() {
                task["state"] = json!(state);
            }
            if state == "STOPPED" {
                status["tasks"] = json!([]);
            }
            StatusCode::ACCEPTED.into_response()
        }
        None => missing(name),
    }
}

async fn pause(Shared(world): Shared<W>, Path(name): Path<String>) -> Response {
    set_state(&world, &name, "PAUSED")
}

async fn resume(Shared(world): Shared<W>, Path(name): Path<String>) -> Response {
    set_state(&world, &name, "RUNNING")
}

async fn stop(Shared(world): Shared<W>, Path(name): Path<String>) -> Response {
    set_state(&world, &name, "STOPPED")
}

async fn delete_offsets(Shared(world): Shared<W>, Path(name): Path<String>) -> Response {
    match world.lock().unwrap().statuses.get(&name) {
        Some(status) if status["connector"]["state"] == "STOPPED" => StatusCode::OK.into_response(),
        Some(_) => {
            let message = "Connectors must be in the STOPPED state before their offsets can be modified";
            (StatusCode::BAD_REQUEST, error(400, message)).into_response()
        }
        None => missing(&name),
    }
}
