//! A site for tests, on loopback.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use naru_contract::Politeness;
use naru_worker_core::run::Health;
use reqwest::{Client, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::job;
use crate::polite::{Part, Site};

pub(crate) struct FakeSite {
    url: Url,
    asked: Arc<Mutex<Vec<(String, Instant)>>>,
}

impl FakeSite {
    /// `answer` is given a path and how often it was asked for before; it gives the status with headers, and the body.
    pub(crate) async fn start<B: Into<String>>(
        answer: impl Fn(&str, usize) -> (&'static str, B) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut times = HashMap::<String, usize>::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4_096];
                let read = stream.read(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request[..read]);
                let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
                let before = times.entry(path.clone()).or_default();
                let (head, body) = answer(&path, *before);
                *before += 1;
                log.lock().unwrap().push((path, Instant::now()));
                let body = body.into();
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, asked }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        self.url.join(path).unwrap()
    }

    /// The paths that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(path, _)| path.clone()).collect()
    }

    /// The times between requests.
    pub(crate) fn gaps(&self) -> Vec<Duration> {
        let asked = self.asked.lock().unwrap();
        asked.windows(2).map(|pair| pair[1].1 - pair[0].1).collect()
    }

    /// As a planner sees it that may ask often.
    pub(crate) fn site(&self, respect_robots: bool) -> Site {
        let site = Site::new(
            &politeness(respect_robots),
            client(),
            self.url("/robots.txt"),
            Health::default(),
        );
        site.set_part(Part::Planner);
        site
    }
}

pub(crate) fn client() -> Client {
    // An error means that another test has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    job::client(&politeness(true)).unwrap()
}

fn politeness(respect_robots: bool) -> Politeness {
    Politeness {
        max_requests_per_second: 100_000.0,
        max_concurrent: 4,
        respect_robots,
        user_agent: "naru/0.1 (tests)".to_owned(),
        request_timeout_ms: 5_000,
    }
}
