//! An API server for tests: scripted request by request, or one that remembers what it is told, and fails at it when
//! it is to.

mod faults;
mod memory;

use std::sync::Arc;

use http::{Request, Response};
use kube::{Client, client::Body, runtime::watcher};
use tower::Layer;
use tower_test::mock;

pub(crate) use self::{
    faults::{Fault, Faults},
    memory::{Memory, Objects},
};
use super::Context;
use crate::{client::Guard, leader::Fence, settings::Settings};

pub(crate) type Server = mock::Handle<Request<Body>, Response<Body>>;

impl Context {
    /// With an API server that the test plays. Nothing is owned by anybody yet, and that is known.
    pub(crate) fn test(settings: Settings) -> (Self, Server) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (service, server) = mock::pair();
        // Each request has its deadline. It has no second try, which would hide a failure.
        let guarded = Guard::new(Fence::default()).layer(service);
        let context = Self::new(
            Client::new(guarded, "shop"),
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
