//! An API server for tests: scripted request by request, or one that remembers what it is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response, StatusCode};
use kube::{Client, client::Body, runtime::watcher};
use serde_json::{Value, json};
use tower_test::mock;

use super::Context;
use crate::{leader::Fence, settings::Settings};

pub(crate) type Server = mock::Handle<Request<Body>, Response<Body>>;

impl Context {
    /// With an API server that the test plays. Nothing is owned by anybody yet, and that is known.
    pub(crate) fn test(settings: Settings) -> (Self, Server) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (service, server) = mock::pair();
        let context = Self::new(
            Client::new(service, "shop"),
            reqwest::Client::new(),
            Fence::default(),
            Arc::default(),
            settings,
        );
        context.live.deployments.take(watcher::Event::InitDone);
        context.live.config_maps.take(watcher::Event::InitDone);
        context.live.budgets.take(watcher::Event::InitDone);
        (context, server)
    }
}

/// An API server that stores what it is sent. No controller looks at it: tests play that as well.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<World>>);

#[derive(Default)]
pub(crate) struct World {
    /// By path.
    pub(crate) objects: BTreeMap<String, Value>,
    /// `PATCH /apis/...`, in order, without events.
    pub(crate) requests: Vec<String>,
    /// Bodies of events.
    pub(crate) events: Vec<Value>,
    version: u64,
}

impl Memory {
    /// Answers all requests until the context is gone.
    pub(crate) fn serve(mut server: Server) -> Self {
        let memory = Self::default();
        let served = memory.clone();
        tokio::spawn(async move {
            while let Some((request, send)) = server.next_request().await {
                let (method, path) = (request.method().clone(), request.uri().path().to_owned());
                let body = request.into_body().collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (status, answer) = served.world(|world| world.answer(&method, &path, body));
                let answer = Body::from(answer.to_string().into_bytes());
                send.send_response(Response::builder().status(status).body(answer).unwrap());
            }
        });
        memory
    }

    pub(crate) fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// The requests since the last time.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.world(|world| std::mem::take(&mut world.requests))
    }

    /// Reasons of the events since the last time.
    pub(crate) fn events(&self) -> Vec<String> {
        let events = self.world(|world| std::mem::take(&mut world.events));
        let reasons = events
            .iter()
            .map(|event| event["reason"].as_str().unwrap().to_owned());
        reasons.collect()
    }

    pub(crate) fn object<K: serde::de::DeserializeOwned>(&self, path: &str) -> K {
        let found = self.world(|world| world.objects.get(path).cloned());
        serde_json::from_value(found.unwrap_or_else(|| panic!("there is no {path}"))).unwrap()
    }

    /// Somebody else changes an object. Returns what the watch will tell.
    pub(crate) fn edit<K: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        edit: impl FnOnce(&mut Value),
    ) -> K {
        self.world(|world| {
            let object = world.objects.get_mut(path).unwrap();
            edit(object);
            world.version += 1;
            object["metadata"]["resourceVersion"] = world.version.to_string().into();
        });
        self.object(path)
    }
}

impl World {
    fn answer(&mut self, method: &Method, path: &str, body: Value) -> (StatusCode, Value) {
        if path.contains("/events") {
            self.events.push(body);
            return (StatusCode::CREATED, json!({}));
        }
        self.requests.push(format!("{method} {}", short(path)));
        let missing = |status: StatusCode, reason: &str| {
            let answer = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason,
                "reason": reason, "code": status.as_u16(), "metadata": {}, "details": {} });
            (status, answer)
        };
        match *method {
            Method::GET if path.ends_with("/pods") => {
                let pods = self.objects.get(path).cloned();
                (
                    StatusCode::OK,
                    pods.unwrap_or_else(|| json!({ "metadata": {}, "items": [] })),
                )
            }
            Method::GET => match self.objects.get(path) {
                Some(found) => (StatusCode::OK, found.clone()),
                None => missing(StatusCode::NOT_FOUND, "NotFound"),
            },
            Method::DELETE => match self.objects.remove(path) {
                Some(found) => (StatusCode::OK, found),
                None => missing(StatusCode::NOT_FOUND, "NotFound"),
            },
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if self.objects.contains_key(&path) {
                    return missing(StatusCode::CONFLICT, "AlreadyExists");
                }
                (StatusCode::CREATED, self.store(&path, body))
            }
            _ => match path.strip_suffix("/status") {
                Some(path) => (
                    StatusCode::OK,
                    self.store(path, json!({ "status": body["status"] })),
                ),
                None => (StatusCode::OK, self.store(path, body)),
            },
        }
    }

    /// Merges, and counts a change.
    fn store(&mut self, path: &str, body: Value) -> Value {
        let object = self.objects.entry(path.to_owned()).or_insert_with(|| json!({}));
        let before = object.clone();
        merge(object, body);
        if *object != before {
            self.version += 1;
            if object["spec"] != before["spec"] {
                let generation = before["metadata"]["generation"].as_i64().unwrap_or(0);
                object["metadata"]["generation"] = (generation + 1).into();
            }
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
        }
        object.clone()
    }
}

/// As a JSON merge patch, but a null is no deletion. Good enough for applies that leave nothing out.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// `deployments/items-fetcher` for `/apis/apps/v1/namespaces/shop/deployments/items-fetcher`.
fn short(path: &str) -> &str {
    path.split_once("/namespaces/shop/")
        .map_or(path, |(_, rest)| rest)
}
