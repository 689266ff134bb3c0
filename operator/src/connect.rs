//! The REST interface of a Kafka Connect cluster, as far as one connector at a time needs it.
//!
//! Paths and answers: <https://kafka.apache.org/documentation/#connect_rest>. What Connect says is shown to people,
//! and may quote a connector's configuration: each text passes [`Mask`] before it leaves this module.

mod address;
mod cluster;
mod config;
#[cfg(test)]
pub(crate) mod fake;
mod mask;
mod status;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use naru_api::condition::reason;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use snafu::Snafu;

pub use self::{
    address::Address,
    cluster::{Cluster, Clusters, Connectors, Registered},
    config::Config,
    mask::Mask,
    status::{ConnectorStatus, State, TaskStatus},
};
use crate::{
    controller::Error as ReconcileError,
    endpoint::{Answers, NoAnswer, Silence, Unanswered},
    leader::NotLeader,
    registry::cause,
};

/// Deadline for a connection. It belongs to the HTTP client, which is shared.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Longest answer that is read. A thousand connectors with their failed tasks fit in.
const LONGEST_ANSWER: usize = 32 << 20;
/// Longest text of Connect's that is shown, characters.
const LONGEST_MESSAGE: usize = 512;

/// Why Connect did not do what it was asked for. No variant holds a secret.
#[derive(Debug, PartialEq, Eq, Snafu)]
pub enum Error {
    #[snafu(display("kafka connect at {address:?} does not answer{silence}"))]
    Unreachable { address: String, silence: Silence },

    /// It was not asked: others of our requests came first.
    #[snafu(display("kafka connect at {address:?} is busy with other requests of this operator"))]
    Busy { address: String },

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

    #[snafu(display("{source}"), context(false))]
    Fenced { source: NotLeader },
}

impl From<Error> for ReconcileError {
    fn from(error: Error) -> Self {
        let reason = match error {
            Error::Unreachable { .. } => reason::CONNECT_UNREACHABLE,
            Error::Rebalancing { .. } => reason::CONNECT_REBALANCING,
            Error::Refused { .. } => reason::CONNECT_REFUSED,
            Error::NotConnect { .. } => reason::NOT_CONNECT,
            Error::Busy { address } => return Self::busy(format_args!("kafka connect at {address:?}")),
            Error::Fenced { source } => return source.into(),
        };
        Self::dependency(reason, error.to_string())
    }
}

/// A Connect cluster, and the secrets that must not show in what it says.
#[derive(Clone, Debug)]
pub struct Connect {
    cluster: Arc<Cluster>,
    mask: Mask,
}

impl Connect {
    /// Does no I/O: an unreachable cluster shows at the first request.
    pub fn new(cluster: Arc<Cluster>, mask: Mask) -> Self {
        Self { cluster, mask }
    }

    /// How a connector is registered and how it is; none if there is no such connector. As the last look at the
    /// whole cluster has it, if nothing was changed since.
    pub async fn look(&self, name: &str) -> Result<Option<Registered>, Error> {
        if let Some(found) = self.cluster.recent(name).await? {
            return Ok(Some(self.masked(found)));
        }
        let Some(config) = self.config(name).await? else {
            return Ok(None);
        };
        let status = self.status(name).await?;
        Ok(Some(Registered { config, status }))
    }

    /// The same, without this client's secrets in what Connect says of it.
    pub fn masked(&self, mut found: Registered) -> Registered {
        let status = found.status.take();
        found.status = status.map(|status| status.map_traces(|trace| self.mask.apply(&trace)));
        found
    }

    /// The configuration that a connector is registered with; none if there is no such connector.
    pub async fn config(&self, name: &str) -> Result<Option<Config>, Error> {
        self.get(&["connectors", name, "config"], "show a configuration")
            .await
    }

    /// Registers a connector, or changes its configuration.
    pub async fn put_config(&self, name: &str, config: &Config) -> Result<(), Error> {
        let url = self.url(&["connectors", name, "config"]);
        let request = self.request(Method::PUT, url).json(config);
        self.change(name, request, "take a configuration").await
    }

    /// Registers a connector that does not exist yet, paused. Needs Kafka Connect 3.7.
    pub async fn create_paused(&self, name: &str, config: &Config) -> Result<(), Error> {
        let body = serde_json::json!({ "name": name, "config": config, "initial_state": "PAUSED" });
        let request = self.request(Method::POST, self.url(&["connectors"])).json(&body);
        self.change(name, request, "register a paused connector").await
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
        let mut url = self.url(&["connectors", name, "restart"]);
        url.set_query(Some("includeTasks=true&onlyFailed=true"));
        self.change(name, self.request(Method::POST, url), "restart failed tasks")
            .await
    }

    /// Asks a connector to pause: its tasks stay, and read nothing.
    pub async fn pause(&self, name: &str) -> Result<(), Error> {
        let request = self.request(Method::PUT, self.url(&["connectors", name, "pause"]));
        self.change(name, request, "pause a connector").await
    }

    /// Asks a paused or stopped connector to go on.
    pub async fn resume(&self, name: &str) -> Result<(), Error> {
        let request = self.request(Method::PUT, self.url(&["connectors", name, "resume"]));
        self.change(name, request, "resume a connector").await
    }

    /// Asks a connector to stop: its tasks end, and its consumer group becomes empty.
    pub async fn stop(&self, name: &str) -> Result<(), Error> {
        let request = self.request(Method::PUT, self.url(&["connectors", name, "stop"]));
        self.change(name, request, "stop a connector").await
    }

    /// Forgets how far a stopped connector has read.
    pub async fn delete_offsets(&self, name: &str) -> Result<(), Error> {
        let request = self.request(Method::DELETE, self.url(&["connectors", name, "offsets"]));
        self.change(name, request, "reset a connector's offsets").await
    }

    /// Unregisters a connector. One that does not exist is as good as deleted.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let request = self.request(Method::DELETE, self.url(&["connectors", name]));
        match self.change(name, request, "delete a connector").await {
            Err(Error::Refused { status: 404, .. }) => Ok(()),
            deleted => deleted,
        }
    }

    fn url(&self, path: &[&str]) -> reqwest::Url {
        self.cluster.address().join(path)
    }

    fn request(&self, method: Method, url: reqwest::Url) -> reqwest::RequestBuilder {
        self.cluster.http().request(method, url)
    }

    /// A request that changes a connector. Whatever comes of it, what was seen of the connector is out of date.
    async fn change(
        &self,
        name: &str,
        request: reqwest::RequestBuilder,
        doing: &'static str,
    ) -> Result<(), Error> {
        let answer = self.cluster.change(request).await;
        self.cluster.changed(name);
        self.cluster.accepted(&answer?, doing, Some(&self.mask))
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str], doing: &'static str) -> Result<Option<T>, Error> {
        let request = self.request(Method::GET, self.url(path));
        let answer = self.cluster.send(request, Answers::Soon).await?;
        // Any web server answers 404. Only Connect's own is about the connector.
        if answer.status == StatusCode::NOT_FOUND && answer.connect_error().is_some() {
            return Ok(None);
        }
        self.cluster.accepted(&answer, doing, Some(&self.mask))?;
        self.cluster.parse(&answer).map(Some)
    }
}

/// Deadline of a request. Connect starts and stops connectors before it answers that, and those may do what they like.
fn deadline(answers: Answers) -> Duration {
    match answers {
        Answers::Soon => Duration::from_secs(5),
        Answers::MayTakeLong => Duration::from_secs(10),
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

/// The text on one line, and not longer than this many characters.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(longest) {
        None => line,
        Some((end, _)) => format!("{}...", &line[..end]),
    }
}
