//! Why a pass over a resource ended early.

use std::{fmt::Display, time::Duration};

use naru_api::condition::reason;
use snafu::Snafu;

/// Deadline of one request to the API server.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Each variant has its own condition and its own way to be tried again.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub), module)]
pub enum Error {
    /// Only an edit of the resource can help.
    #[snafu(display("{message}"))]
    Invalid { message: String },

    /// The spec and what is there contradict each other. An edit can help, and so can a change over there: tried again
    /// with backoff.
    #[snafu(display("{message}"))]
    Incompatible {
        /// The condition's reason, one word.
        reason: &'static str,
        message: String,
    },

    /// Something that the resource needs is not there or does not answer. Tried again with backoff.
    #[snafu(display("{message}"))]
    Dependency {
        /// The condition's reason, one word.
        reason: &'static str,
        message: String,
    },

    /// Something that the resource needs is busy with the operator's other requests, which says nothing about it or
    /// the resource: no status shows it. Tried again soon.
    #[snafu(display("{message}"))]
    Busy { message: String },

    /// The API server refused. Tried again with backoff.
    #[snafu(display("failed to {doing}"))]
    Kubernetes { doing: String, source: kube::Error },

    /// The API server did not answer. Tried again with backoff.
    #[snafu(display("failed to {doing}: no answer for {} s", DEADLINE.as_secs()))]
    Silent { doing: String },
}

impl Error {
    /// The spec cannot work as it is.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
        }
    }

    /// The spec cannot work beside what is there.
    pub fn incompatible(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Incompatible {
            reason,
            message: message.into(),
        }
    }

    /// Something outside is missing or silent.
    pub fn dependency(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Dependency {
            reason,
            message: message.into(),
        }
    }

    /// Something outside cannot be asked yet.
    pub(crate) fn busy(what: impl Display) -> Self {
        Self::Busy {
            message: format!("{what} is busy with other requests of this operator"),
        }
    }

    /// One word for conditions, events and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => reason::INVALID_SPEC,
            Self::Incompatible { reason, .. } | Self::Dependency { reason, .. } => reason,
            Self::Busy { .. } => "Busy",
            Self::Kubernetes { .. } | Self::Silent { .. } => reason::KUBERNETES_ERROR,
        }
    }

    /// Whether somebody else has written what was to be written, so that what is known of it is out of date.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Kubernetes { source: kube::Error::Api(status), .. } if status.is_conflict())
    }

    /// Whether the API server does not take what was to be written as it is.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Kubernetes { source: kube::Error::Api(status), .. } if status.is_invalid())
    }

    /// The whole chain of causes as one sentence.
    pub fn sentence(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// Waits for an answer of the API server, but not for ever. `doing` says what the request was for.
pub async fn within<T>(
    request: impl Future<Output = kube::Result<T>>,
    doing: impl FnOnce() -> String,
) -> Result<T, Error> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(answer) => answer.map_err(|source| Error::Kubernetes {
            doing: doing(),
            source,
        }),
        Err(_) => Err(Error::Silent { doing: doing() }),
    }
}
