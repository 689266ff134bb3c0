//! `naru-operator check`, for `helm test`: whether an installation works. The operator's image has no shell to find out with.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use futures::FutureExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::{Client, Resource};
use naru_api::{FilteredSum, ScrapeJob, SinkConnector};
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tokio::time::{Instant, sleep, timeout};

/// Time between two looks, and for one.
const EVERY: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_secs(5);

/// Asks an installed operator and the API server whether pipelines can be declared.
#[derive(Clone, Debug, Parser)]
#[command(name = "naru-operator check")]
pub struct Check {
    /// Address of the operator's Service, such as `http://naru:8080`.
    #[arg(long)]
    pub url: String,
    /// How long what is wrong has to become right.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub within: Duration,
}

/// What is wrong with an installation.
#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("the operator at {url} does not answer, see whether its pod runs: {source}"))]
    Silent { url: String, source: reqwest::Error },

    #[snafu(display("the operator at {url} is not ready: {}", answer.trim_end()))]
    NotReady { url: String, answer: String },

    #[snafu(display(
        "the API server does not list the kinds of {api_version}, install the chart naru-crds: {source}"
    ))]
    Unlisted {
        api_version: String,
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },

    #[snafu(display("the API server does not know {}, upgrade the chart naru-crds", kinds.join(", ")))]
    Unknown { kinds: Vec<String> },

    #[snafu(display("no answer within {LOOK:?}"))]
    Late,
}

/// Prints what was found. Fails with the last that was wrong when it does not become right in time.
pub async fn run(check: &Check) -> ExitCode {
    let client = match Client::try_default().await {
        Ok(client) => client,
        Err(error) => {
            eprintln!("failed to find a Kubernetes API server: {error}");
            return ExitCode::FAILURE;
        }
    };
    let end = Instant::now() + check.within;
    loop {
        match look(&check.url, &client).await {
            Ok(()) => {
                println!("the operator is ready, and the API server serves its kinds");
                return ExitCode::SUCCESS;
            }
            Err(error) if Instant::now() >= end => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
            Err(_) => sleep(EVERY).await,
        }
    }
}

/// The kinds first: without them the operator cannot be ready, and would only say that it waits.
async fn look(url: &str, client: &Client) -> Result<(), Error> {
    let looks = kinds_are_served(client).then(|served| async move {
        served?;
        operator_is_ready(url).await
    });
    timeout(LOOK, looks).await.ok().context(LateSnafu)?
}

async fn operator_is_ready(url: &str) -> Result<(), Error> {
    let request = reqwest::get(format!("{url}/readyz"));
    let answer = request.await.context(SilentSnafu { url })?;
    let ready = answer.status().is_success();
    let answer = answer.text().await.context(SilentSnafu { url })?;
    ensure!(ready, NotReadySnafu { url, answer });
    Ok(())
}

async fn kinds_are_served(client: &Client) -> Result<(), Error> {
    let api_version = ScrapeJob::api_version(&());
    let served = client.list_api_group_resources(&api_version).await;
    let kinds = missing(&served.context(UnlistedSnafu { api_version })?);
    ensure!(kinds.is_empty(), UnknownSnafu { kinds });
    Ok(())
}

/// Kinds of ours that the API server does not list.
fn missing(served: &APIResourceList) -> Vec<String> {
    [
        ScrapeJob::kind(&()),
        SinkConnector::kind(&()),
        FilteredSum::kind(&()),
    ]
    .into_iter()
    .filter(|kind| !served.resources.iter().any(|resource| resource.kind == *kind))
    .map(String::from)
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        admin::{self, Gates},
        metrics::Metrics,
    };

    /// An operator that waits for the lists of these kinds.
    async fn operator(waiting_for: &[&'static str]) -> String {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = admin::router(Gates::new(waiting_for).into(), Metrics::default().into());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    /// An API server that knows these kinds of naru.
    fn api_server(kinds: &'static [&'static str]) -> Client {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        tokio::spawn(async move {
            while let Some((request, answer)) = handle.next_request().await {
                assert_eq!(request.uri().path(), "/apis/naru.dev/v1alpha1");
                let resources: Vec<_> = kinds
                    .iter()
                    .map(|kind| json!({"kind": kind, "name": kind, "namespaced": true, "singularName": "", "verbs": []}))
                    .collect();
                let list = json!({"groupVersion": "naru.dev/v1alpha1", "resources": resources});
                answer.send_response(Response::new(Body::from(list.to_string().into_bytes())));
            }
        });
        Client::new(service, "default")
    }

    const ALL: &[&str] = &["ScrapeJob", "SinkConnector", "FilteredSum"];

    #[tokio::test]
    async fn an_installation_with_a_ready_operator_and_all_kinds_is_right() {
        assert!(look(&operator(&[]).await, &api_server(ALL)).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_wrong_is_named_with_what_to_do() {
        let cases = [
            (
                operator(&["ScrapeJob"]).await,
                ALL,
                "waiting for the list of ScrapeJob: ",
            ),
            ("http://127.0.0.1:9".to_owned(), ALL, "see whether its pod runs"),
            (
                operator(&[]).await,
                &ALL[..1],
                "does not know SinkConnector, FilteredSum, upgrade",
            ),
        ];
        for (url, kinds, expected) in cases {
            let error = look(&url, &api_server(kinds)).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} has {expected:?} in it");
        }
    }
}
