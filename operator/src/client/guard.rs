//! Every request ends, and one that changes something ends before the fence falls.

use std::{
    task::{self, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request};
use snafu::Snafu;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

use crate::leader::{Fence, NotLeader};

/// Deadline for the head of an answer. A watch begins its answer at once and goes on after it.
const READ: Duration = Duration::from_secs(30);
const WRITE: Duration = Duration::from_secs(10);

/// Why a request was not sent, or given up.
#[derive(Debug, Snafu)]
pub enum Refused {
    #[snafu(display("{source}"), context(false))]
    Fenced { source: NotLeader },

    #[snafu(display("the API server did not answer {method} {path} within {} ms", within.as_millis()))]
    Late {
        method: Method,
        path: String,
        within: Duration,
    },
}

/// The layer.
#[derive(Clone, Debug)]
pub struct Guard(Fence);

impl Guard {
    pub fn new(fence: Fence) -> Self {
        Self(fence)
    }

    /// When a request that begins now is given up.
    fn deadline(&self, method: &Method, now: Instant) -> Result<Instant, NotLeader> {
        if method == Method::GET {
            return Ok(now + READ);
        }
        Ok(now + self.0.within(WRITE)?)
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            guard: self.clone(),
        }
    }
}

/// A service behind the guard.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let begin = Instant::now();
        let deadline = match self.guard.deadline(request.method(), begin) {
            Ok(deadline) => deadline,
            Err(not_leader) => {
                return futures::future::ready(Err(Refused::from(not_leader).into())).boxed();
            }
        };
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answer = self.inner.call(request);
        async move {
            match tokio::time::timeout_at(deadline, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(Refused::Late {
                    method,
                    path,
                    within: deadline - begin,
                }
                .into()),
            }
        }
        .boxed()
    }
}
