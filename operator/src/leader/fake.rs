//! One Lease as an API server keeps it, in memory.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Client, client::Body};
use serde_json::json;

/// What is stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    pub(super) lease: Option<Lease>,
    versions: u64,
}

impl Stored {
    /// Creates it, or replaces the version that `lease` is based on. Otherwise: the HTTP status.
    pub(super) fn put(&mut self, mut lease: Lease) -> Result<Lease, u16> {
        let stored = self.lease.as_ref().map(|lease| &lease.metadata.resource_version);
        match (stored, &lease.metadata.resource_version) {
            (None, None) => {}
            (Some(stored), based_on) if stored == based_on => {}
            (None, Some(_)) => return Err(404),
            (Some(_), _) => return Err(409),
        }
        self.versions += 1;
        lease.metadata.resource_version = Some(self.versions.to_string());
        self.lease = Some(lease.clone());
        Ok(lease)
    }

    pub(super) fn holder(&self) -> Option<String> {
        self.lease.as_ref()?.spec.as_ref()?.holder_identity.clone()
    }
}

/// An API server that knows one Lease.
#[derive(Clone, Default)]
pub(super) struct Server(Arc<Mutex<World>>);

#[derive(Default)]
pub(super) struct World {
    pub(super) stored: Stored,
    /// Method of each request.
    pub(super) requests: Vec<Method>,
    /// Requests are taken, and never answered.
    pub(super) silent: bool,
    /// Requests are carried out, and not answered.
    pub(super) mute: bool,
    /// Requests are refused with this status.
    pub(super) refusing: Option<u16>,
}

impl Server {
    pub(super) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "naru")
    }

    pub(super) fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    pub(super) fn holder(&self) -> Option<String> {
        self.world(|world| world.stored.holder())
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let result = self.world(|world| {
            world.requests.push(head.method.clone());
            if world.silent {
                return None;
            }
            if let Some(status) = world.refusing {
                return Some(Err(status));
            }
            let result = match head.method {
                Method::GET => world.stored.lease.clone().ok_or(404),
                Method::PUT | Method::POST => world.stored.put(serde_json::from_slice(&body).unwrap()),
                _ => Err(405),
            };
            (!world.mute).then_some(result)
        });
        match result {
            None => std::future::pending().await,
            Some(Ok(lease)) => Response::new(Body::from(serde_json::to_vec(&lease).unwrap())),
            Some(Err(status)) => {
                let reason = if status == 404 { "NotFound" } else { "Other" };
                let body = json!({ "kind": "Status", "status": "Failure", "code": status, "reason": reason });
                Response::builder()
                    .status(status)
                    .body(Body::from(body.to_string().into_bytes()))
                    .unwrap()
            }
        }
    }
}
