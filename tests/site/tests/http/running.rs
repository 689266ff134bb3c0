//! A site on a loopback port for one test.

use std::{sync::Once, time::Duration};

use naru_site::{Clock, Config, site};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

pub(crate) struct Running {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) host: String,
    server: JoinHandle<()>,
}

impl Running {
    /// A site whose clock stands still.
    pub(crate) async fn start(config: Config) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            rustls::crypto::ring::default_provider()
                .install_default()
                .expect("nothing else installs one");
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let clock = Clock::manual();
        let router = site(config, clock.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let client = Client::builder()
            .user_agent("tester/1")
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self {
            client,
            clock,
            host,
            server,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        self.get(path).await.text().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path)
            .await
            .error_for_status()
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Response {
        self.client
            .post(self.url(path))
            .body(body.to_owned())
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn head(&self) -> u64 {
        self.json("/truth").await["head"].as_u64().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}
