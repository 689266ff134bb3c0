//! The REST interface of a Kafka Connect cluster, as far as one connector at a time needs it.
//!
//! Paths and answers: <https://kafka.apache.org/documentation/#connect_rest>. What Connect says is shown to people,
//! and may quote a connector's configuration: each text passes [`Mask`] before it leaves this module.

mod address;
mod config;
#[cfg(test)]
pub(crate) mod fake;
mod mask;
mod status;
#[cfg(test)]
mod tests;

use std::time::Duration;

use naru_api::condition::reason;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use snafu::Snafu;

pub use self::{
    address::Address,
    config::Config,
    mask::Mask,
    status::{ConnectorStatus, State, TaskStatus},
};
use crate::controller::Error as ReconcileError;

/// Deadline for a connection. It belongs to the HTTP client, which is shared.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Deadline of one request.
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest answer that is read. Traces of a thousand failed tasks fit in.
const LONGEST_ANSWER: usize = 8 << 20;
/// Longest text of Connect's that is shown, characters.
const LONGEST_MESSAGE: usize = 512;

/// Why Connect did not do what it was asked for. No variant holds a secret.
#[derive(Debug, PartialEq, Eq, Snafu)]
pub enum Error {
    #[snafu(display("kafka connect at {address:?} does not answer: {cause}"))]
    Unreachable { address: String, cause: String },

    /// Connect moves its work between its workers and takes no change meanwhile.
    #[snafu(display("kafka connect at {address:?} is rebalancing"))]
    Rebalancing { address: String },

    #[snafu(display("kafka connect at {address:?} refused to {doing} (status {status}): {message}"))]
    Refused {
        address: String,
        doing: &'static str,
        status: u16,
        message: String,
    },

    #[snafu(display("what answers at {address:?} is not kafka connect: {cause}"))]
    NotConnect { address: String, cause: String },
}

impl From<Error> for ReconcileError {
    fn from(error: Error) -> Self {
        let reason = match error {
            Error::Unreachable { .. } => reason::CONNECT_UNREACHABLE,
            Error::Rebalancing { .. } => reason::CONNECT_REBALANCING,
            Error::Refused { .. } => reason::CONNECT_REFUSED,
            Error::NotConnect { .. } => reason::NOT_CONNECT,
        };
        Self::dependency(reason, error.to_string())
    }
}

/// A Connect cluster, and the secrets that must not show in what it says.
#[derive(Clone, Debug)]
pub struct Connect {
    http: reqwest::Client,
    address: Address,
    mask: Mask,
}

impl Connect {
    /// Does no I/O: an unreachable cluster shows at the first request.
    pub fn new(http: reqwest::Client, address: Address, mask: Mask) -> Self {
        Self { http, address, mask }
    }

    /// The configuration that a connector is registered with; none if there is no such connector.
    pub async fn config(&self, name: &str) -> Result<Option<Config>, Error> {
        self.get(&["connectors", name, "config"], "show a configuration")
            .await
    }

    /// Registers a connector, or changes its configuration.
    pub async fn put_config(&self, name: &str, config: &Config) -> Result<(), Error> {
        let doing = "take a configuration";
        let url = self.address.join(&["connectors", name, "config"]);
        let answer = self
            .send(self.http.request(Method::PUT, url).json(config))
            .await?;
        self.accepted(&answer, doing)
    }

    /// How a connector and its tasks are; none if there is no such connector, or not yet.
    pub async fn status(&self, name: &str) -> Result<Option<ConnectorStatus>, Error> {
        let found: Option<ConnectorStatus> = self
            .get(&["connectors", name, "status"], "show a connector's status")
            .await?;
        Ok(found.map(|status| status.map_traces(|trace| self.mask.apply(&trace))))
    }

    /// Restarts what has failed of a connector: itself, and each of its tasks.
    pub async fn restart_failed(&self, name: &str) -> Result<(), Error> {
        let doing = "restart failed tasks";
        let mut url = self.address.join(&["connectors", name, "restart"]);
        url.set_query(Some("includeTasks=true&onlyFailed=true"));
        let answer = self.send(self.http.request(Method::POST, url)).await?;
        self.accepted(&answer, doing)
    }

    /// Unregisters a connector. One that does not exist is as good as deleted.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let doing = "delete a connector";
        let url = self.address.join(&["connectors", name]);
        let answer = self.send(self.http.request(Method::DELETE, url)).await?;
        if answer.status == StatusCode::NOT_FOUND && answer.connect_error().is_some() {
            return Ok(());
        }
        self.accepted(&answer, doing)
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str], doing: &'static str) -> Result<Option<T>, Error> {
        let answer = self
            .send(self.http.request(Method::GET, self.address.join(path)))
            .await?;
        // Any web server answers 404. Only Connect's own is about the connector.
        if answer.status == StatusCode::NOT_FOUND && answer.connect_error().is_some() {
            return Ok(None);
        }
        self.accepted(&answer, doing)?;
        match serde_json::from_slice(&answer.body) {
            Ok(value) => Ok(Some(value)),
            // The position only: serde's message may quote a value.
            Err(error) => Err(self.not_connect(format!(
                "unexpected JSON at line {}, column {}",
                error.line(),
                error.column()
            ))),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, Error> {
        let unreachable = |error: &reqwest::Error| Error::Unreachable {
            address: self.address.to_string(),
            cause: self.mask.apply(&cause(error)),
        };
        let mut response = request
            .timeout(DEADLINE)
            .send()
            .await
            .map_err(|error| unreachable(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(self.not_connect(format!("the answer is longer than {LONGEST_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status: response.status(),
            body,
        })
    }

    fn accepted(&self, answer: &Answer, doing: &'static str) -> Result<(), Error> {
        let address = self.address.to_string();
        match (answer.status, answer.connect_error()) {
            (status, _) if status.is_success() => Ok(()),
            (StatusCode::CONFLICT, _) => Err(Error::Rebalancing { address }),
            (status, Some(message)) => {
                let message = cut(&self.mask.apply(&message), LONGEST_MESSAGE);
                Err(Error::Refused {
                    address,
                    doing,
                    status: status.as_u16(),
                    message,
                })
            }
            (status, None) => {
                Err(self.not_connect(format!("status {status} without Connect's error message")))
            }
        }
    }

    fn not_connect(&self, cause: String) -> Error {
        Error::NotConnect {
            address: self.address.to_string(),
            cause,
        }
    }
}

struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

impl Answer {
    /// The message of Connect's error document, if this is one.
    fn connect_error(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Document {
            #[serde(rename = "error_code")]
            _code: i64,
            message: Option<String>,
        }
        let document: Document = serde_json::from_slice(&self.body).ok()?;
        Some(document.message.unwrap_or_default())
    }
}

/// The innermost cause, which is the part that a person can act on ("connection refused").
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The text on one line, and not longer than this many characters.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(longest) {
        None => line,
        Some((end, _)) => format!("{}...", &line[..end]),
    }
}
