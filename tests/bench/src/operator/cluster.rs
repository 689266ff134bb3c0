//! The cluster that is measured on: a client, a namespace of the run's own, programs on the machine.

use std::{fmt::Display, process::Stdio, time::Duration};

use http::Method;
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use snafu::{OptionExt, ResultExt};
use tokio::time::Instant;

use super::error::Error;

/// Where `deploy/install` puts the operator, and under which name.
pub(crate) const OPERATOR_NAMESPACE: &str = "naru-system";
pub(crate) const OPERATOR: &str = "naru";
/// Container of the one node.
pub(crate) const NODE: &str = "naru-control-plane";
/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// A cluster with a namespace in it that belongs to this run.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Cluster {
    /// Makes the namespace and what all resources in it read from.
    pub(crate) async fn enter() -> Result<Self, Error> {
        let client = Client::try_default()
            .await
            .whatever_context("no cluster: run `make bench NAME=operator`, which starts one")?;
        let namespace = format!("bench-{:x}", jiff::Timestamp::now().as_second() & 0xfff_ffff);
        let cluster = Self { client, namespace };
        let made = cluster.make().await;
        if made.is_err() {
            cluster.leave().await?;
        }
        made.map(|()| cluster)
    }

    async fn make(&self) -> Result<(), Error> {
        let namespace: Namespace = object(json!({ "metadata": { "name": self.namespace } }))?;
        Api::all(self.client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .whatever_context("failed to create a namespace")?;
        // Whatever goes wrong, a thousand workers must not start on this machine.
        let quota: ResourceQuota =
            object(json!({ "metadata": { "name": "no-pods" }, "spec": { "hard": { "pods": "0" } } }))?;
        Api::namespaced(self.client.clone(), &self.namespace)
            .create(&PostParams::default(), &quota)
            .await
            .whatever_context("failed to create a quota")?;
        kafka(&[
            "topics",
            "--create",
            "--if-not-exists",
            "--partitions",
            "3",
            "--topic",
            &self.topic(),
        ])
        .await?;
        // As if records had been written: without a schema the operator would ask for one in each pass.
        let schema =
            json!({ "type": "record", "name": "Item", "fields": [{ "name": "price", "type": "long" }] });
        let version = json!({ "schema": schema.to_string() });
        self.registry(Method::POST, "/versions", version.to_string())
            .await
    }

    /// Asks the stack's schema registry about the topic's values, through the API server.
    async fn registry(&self, method: Method, path: &str, body: String) -> Result<(), Error> {
        let registry = "/api/v1/namespaces/naru-stack/services/registry:8081/proxy/apis/ccompat/v7";
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{registry}/subjects/{}-value{path}", self.topic()))
            .header("content-type", "application/vnd.schemaregistry.v1+json")
            .body(body.into_bytes())
            .whatever_context("failed to ask the schema registry")?;
        let answer = self.client.request_text(request).await;
        answer.map(|_| ()).whatever_context("the schema registry refused")
    }

    /// The topic that all resources of the run read.
    pub(crate) fn topic(&self) -> String {
        format!("{}.items", self.namespace)
    }

    /// Deletes the namespace with all that is in it, the topics and the schema. What fails does not keep the rest.
    pub(crate) async fn leave(&self) -> Result<(), Error> {
        let namespace = self.delete_namespace().await;
        // Soft first, as the registry wants it.
        let soft = self.registry(Method::DELETE, "", String::new()).await;
        let hard = self
            .registry(Method::DELETE, "?permanent=true", String::new())
            .await;
        // By pattern: the run's own topic, and the ones that the operator made for its resources.
        let pattern = format!(r"(naru\.)?{}\..*", self.namespace);
        let topics = kafka(&["topics", "--delete", "--if-exists", "--topic", &pattern]).await;
        namespace.and(soft).and(hard)?;
        topics.map(drop)
    }

    async fn delete_namespace(&self) -> Result<(), Error> {
        self.drop_finalizers().await?;
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces
            .delete(&self.namespace, &DeleteParams::default())
            .await
            .whatever_context("failed to delete the namespace")?;
        let minutes = Duration::from_secs(300);
        eventually("the namespace is gone", minutes, async || {
            let found = namespaces.get_opt(&self.namespace).await;
            match found.whatever_context("failed to read the namespace")? {
                None => Ok(()),
                Some(_) => Err(Error::new("it is still there")),
            }
        })
        .await
    }

    /// Connectors on a Connect cluster that never answers would hold up the namespace.
    async fn drop_finalizers(&self) -> Result<(), Error> {
        super::resources::Resources::connectors(self).orphan_all().await
    }
}

/// From JSON that is known to fit.
pub(crate) fn object<K: DeserializeOwned>(json: Value) -> Result<K, Error> {
    serde_json::from_value(json).whatever_context("an object does not have the shape of its kind")
}

/// Waits until `condition` answers `Ok`.
pub(crate) async fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let end = Instant::now() + deadline;
    loop {
        match condition().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > end => {
                return Err(Error::new(format!(
                    "{what}: not within {} s: {}",
                    deadline.as_secs(),
                    error.sentence()
                )));
            }
            Err(_) => tokio::time::sleep(EVERY).await,
        }
    }
}

/// One of Kafka's command line tools, in the broker's pod.
async fn kafka(arguments: &[&str]) -> Result<String, Error> {
    let inside = ["--namespace", "naru-stack", "exec", "kafka-0", "--", "kafka"];
    command("kubectl", &[&inside, arguments].concat()).await
}

/// What a shell script prints that runs in the node.
pub(crate) async fn in_node(script: &str, argument: &str) -> Result<String, Error> {
    command("docker", &["exec", NODE, "sh", "-euc", script, "sh", argument]).await
}

/// What a program prints, or its complaint.
pub(crate) async fn command(program: &str, arguments: &[&str]) -> Result<String, Error> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let deadline = Duration::from_secs(240);
    let output = tokio::time::timeout(deadline, command.output())
        .await
        .ok()
        .with_whatever_context(|| failed(program, arguments, &"it took too long"))?
        .with_whatever_context(|_| failed(program, arguments, &"it does not run"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(failed(program, arguments, &complaint.trim())))
}

fn failed(program: &str, arguments: &[&str], why: &dyn Display) -> String {
    format!("`{program} {}`: {why}", arguments.join(" "))
}
