//! The stack's Kafka Connect, through the API server.

use std::collections::BTreeMap;

use kube::Client;
use serde::Deserialize;

const CONNECTORS: &str = "/api/v1/namespaces/naru-stack/services/connect:8083/proxy/connectors";

/// A connector as Connect has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connector {
    pub config: BTreeMap<String, String>,
    /// Such as `RUNNING`.
    pub state: String,
    /// The state of each task.
    pub tasks: Vec<String>,
}

impl Connector {
    /// Whether it and all of its tasks run.
    pub fn runs(&self) -> bool {
        let mut states = self.tasks.iter().chain([&self.state]);
        !self.tasks.is_empty() && states.all(|state| state == "RUNNING")
    }
}

#[derive(Deserialize)]
struct Entry {
    info: Info,
    status: Status,
}

#[derive(Deserialize)]
struct Info {
    config: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Status {
    connector: State,
    tasks: Vec<State>,
}

#[derive(Deserialize)]
struct State {
    state: String,
}

/// The connector of this name, none if it is not registered.
pub async fn connector(client: &Client, name: &str) -> Result<Option<Connector>, String> {
    let path = "?expand=info&expand=status";
    let answer = ask(client, "GET", path, Vec::new()).await?;
    let mut all: BTreeMap<String, Entry> = serde_json::from_str(&answer).map_err(|e| e.to_string())?;
    Ok(all.remove(name).map(|Entry { info, status }| Connector {
        config: info.config,
        state: status.connector.state,
        tasks: status.tasks.into_iter().map(|task| task.state).collect(),
    }))
}

/// The same, of one that is registered.
pub async fn registered(client: &Client, name: &str) -> Result<Connector, String> {
    let found = connector(client, name).await?;
    found.ok_or_else(|| format!("connector {name:?} is not registered"))
}

/// Gives it another configuration, as a person might.
pub async fn configure(client: &Client, name: &str, config: &BTreeMap<String, String>) -> Result<(), String> {
    let body = serde_json::to_vec(config).map_err(|e| e.to_string())?;
    ask(client, "PUT", &format!("/{name}/config"), body)
        .await
        .map(drop)
}

/// Unregisters it, as a person might.
pub async fn unregister(client: &Client, name: &str) -> Result<(), String> {
    ask(client, "DELETE", &format!("/{name}"), Vec::new())
        .await
        .map(drop)
}

async fn ask(client: &Client, method: &str, path: &str, body: Vec<u8>) -> Result<String, String> {
    let request = http::Request::builder()
        .method(method)
        .uri(format!("{CONNECTORS}{path}"))
        .header("content-type", "application/json")
        .body(body)
        .map_err(|e| e.to_string())?;
    let answer = client.request_text(request).await;
    answer.map_err(|e| format!("Connect does not answer {method} {path:?}: {e}"))
}
