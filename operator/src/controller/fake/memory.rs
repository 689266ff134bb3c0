//! An API server that stores what it is sent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use kube::client::Body;
use serde_json::{Value, json};

use super::{Faults, Server};

/// Objects by path.
pub(crate) type Objects = BTreeMap<String, Value>;

/// An API server that stores what it is sent. No controller looks at it: tests play that as well.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<World>>);

#[derive(Default)]
pub(crate) struct World {
    pub(crate) objects: Objects,
    /// The objects as they were after each change.
    pub(crate) past: Vec<Objects>,
    /// `PATCH /apis/...`, in order, without events.
    pub(crate) requests: Vec<String>,
    /// Bodies of events.
    pub(crate) events: Vec<Value>,
    version: u64,
}

/// A request, as far as it matters here.
pub(super) struct Asked {
    pub(super) method: Method,
    path: String,
    /// What an apply names is made where it is missing, and what a merge names is not.
    applies: bool,
    /// Whether an apply takes over what others have set.
    forced: bool,
    body: Value,
}

impl Asked {
    pub(super) async fn read(request: Request<Body>) -> Self {
        let content_type = request.headers().get(CONTENT_TYPE);
        let applies = content_type.is_some_and(|kind| kind == "application/apply-patch+yaml");
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let forced = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("force=true"));
        let body = request.into_body().collect_bytes().await.unwrap();
        Self {
            method,
            path,
            applies,
            forced,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }
}

pub(super) fn response((status, body): (StatusCode, Value)) -> Response<Body> {
    let body = Body::from(body.to_string().into_bytes());
    Response::builder().status(status).body(body).unwrap()
}

pub(super) fn refusal(status: StatusCode, reason: &str) -> (StatusCode, Value) {
    let answer = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason,
        "reason": reason, "code": status.as_u16(), "metadata": {}, "details": {} });
    (status, answer)
}

impl Memory {
    /// Answers all requests until the context is gone.
    pub(crate) fn serve(server: Server) -> Self {
        let memory = Self::default();
        memory.answer(server, Faults::default());
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
            let mut object = world.objects[path].clone();
            edit(&mut object);
            world.put(path, object);
        });
        self.object(path)
    }
}

impl World {
    /// The answer to a request. What is read is as it was so many changes ago.
    pub(super) fn answer(&mut self, asked: Asked, ago: usize) -> (StatusCode, Value) {
        let Asked {
            method,
            path,
            applies,
            forced,
            body,
        } = asked;
        if path.contains("/events") {
            self.events.push(body);
            return (StatusCode::CREATED, json!({}));
        }
        self.requests.push(format!("{method} {}", short(&path)));
        let missing = || refusal(StatusCode::NOT_FOUND, "NotFound");
        match method {
            Method::GET => {
                let past = self.past.iter().nth_back(ago).filter(|_| ago > 0);
                match past.unwrap_or(&self.objects).get(&path) {
                    Some(found) => (StatusCode::OK, found.clone()),
                    None if path.ends_with("/pods") => {
                        (StatusCode::OK, json!({ "metadata": {}, "items": [] }))
                    }
                    None => missing(),
                }
            }
            Method::DELETE => match self.remove(&path) {
                Some(found) => (StatusCode::OK, found),
                None => missing(),
            },
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if self.objects.contains_key(&path) {
                    return refusal(StatusCode::CONFLICT, "AlreadyExists");
                }
                (StatusCode::CREATED, self.store(&path, body))
            }
            _ => {
                let (place, part) = ["/status", "/scale"]
                    .into_iter()
                    .find_map(|part| Some((path.strip_suffix(part)?, part)))
                    .unwrap_or((&path, ""));
                match self.objects.get(place) {
                    None if !applies || !part.is_empty() => return missing(),
                    Some(found) if conflicts(&body["metadata"], &found["metadata"]) => {
                        return refusal(StatusCode::CONFLICT, "Conflict");
                    }
                    Some(found) if applies && !forced && takes_over(&body, found) => {
                        return refusal(StatusCode::CONFLICT, "Conflict");
                    }
                    _ => {}
                }
                let stored = self.store(
                    place,
                    match part {
                        "/status" => json!({ "status": body["status"] }),
                        "/scale" => json!({ "spec": body["spec"] }),
                        _ => body,
                    },
                );
                let answer = match part {
                    "/scale" => json!({ "metadata": {}, "spec": { "replicas": stored["spec"]["replicas"] },
                        "status": { "replicas": stored["status"]["replicas"].as_i64().unwrap_or(0) } }),
                    _ => stored,
                };
                (StatusCode::OK, answer)
            }
        }
    }

    /// Merges, and counts a change.
    fn store(&mut self, path: &str, mut body: Value) -> Value {
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        let mut object = self.objects.get(path).cloned().unwrap_or_else(|| json!({}));
        // All of a status has one owner here, who leaves out what is not so any more.
        if let Some(status) = body.as_object_mut().and_then(|body| body.remove("status")) {
            object["status"] = status;
        }
        let before = object["spec"].clone();
        merge(&mut object, body);
        if object["spec"] != before {
            let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
            object["metadata"]["generation"] = (generation + 1).into();
        }
        self.put(path, object)
    }

    /// Stores an object as it is, and counts a change if it is one. An object that is being deleted goes with its last
    /// finalizer.
    pub(crate) fn put(&mut self, path: &str, mut object: Value) -> Value {
        let metadata = &object["metadata"];
        let finalizers = metadata["finalizers"].as_array();
        if metadata["deletionTimestamp"].is_string() && finalizers.is_none_or(Vec::is_empty) {
            self.remove(path);
            return object;
        }
        if self.objects.get(path) == Some(&object) {
            return object;
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        self.past.push(self.objects.clone());
        object
    }

    pub(crate) fn remove(&mut self, path: &str) -> Option<Value> {
        let removed = self.objects.remove(path)?;
        self.version += 1;
        self.past.push(self.objects.clone());
        Some(removed)
    }
}

/// Whether somebody speaks of another object, or of another version of it.
fn conflicts(said: &Value, found: &Value) -> bool {
    ["uid", "resourceVersion"]
        .into_iter()
        .any(|field| said[field].is_string() && said[field] != found[field])
}

/// Whether a field that is there gets another value. All that there is counts as somebody else's.
fn takes_over(said: &Value, found: &Value) -> bool {
    match (said, found) {
        (Value::Object(said), Value::Object(found)) => said
            .iter()
            .any(|(name, said)| found.get(name).is_some_and(|found| takes_over(said, found))),
        (said, found) => said != found,
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
