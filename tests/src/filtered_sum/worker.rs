//! A filtered-sum worker as a process.

#![allow(clippy::unwrap_used, reason = "a module of tests")]

use std::path::Path;
use std::time::Duration;

use naru_contract::FilteredSumWorker;

use crate::loopback::{Process, free_port};

/// A worker process and where it can be asked how it is.
pub struct Worker {
    pub name: String,
    pub process: Process,
    port: u16,
}

impl Worker {
    /// Starts `program`, whose document is written to `folder`.
    pub fn start(program: &Path, folder: &Path, config: &FilteredSumWorker, instance: &str) -> Self {
        let path = folder.join(format!("{instance}.json"));
        std::fs::write(&path, serde_json::to_vec(config).unwrap()).unwrap();
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let path = path.to_string_lossy();
        let arguments = ["--config", &path, "--instance", instance, "--listen", &listen];
        Self {
            name: instance.to_owned(),
            process: Process::run(program, &arguments),
            port,
        }
    }

    /// Where it answers.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Status and body of GET `path`; `None` when nothing answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(2))
            .build()
            .unwrap();
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        block_on(async {
            let response = client.get(url).send().await.ok()?;
            Some((response.status().as_u16(), response.text().await.ok()?))
        })
    }

    /// The value of a metric, without its prefix.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics")?;
        let name = format!("naru_filtered_sum_{name} ");
        text.lines()
            .find_map(|line| line.strip_prefix(&name))?
            .parse()
            .ok()
    }

    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|(status, _)| status == 200)
    }
}

/// Runs a future of a client to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
