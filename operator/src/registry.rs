//! Whether a schema registry answers, and what it says of a topic.

mod compatible;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use naru_api::condition::reason;
use reqwest::StatusCode;
use serde::Deserialize;

pub use self::compatible::Refusal;
use crate::{
    controller::Error,
    endpoint::{Answers, Cache, Endpoint, Freshness, NoAnswer, Pool, Unanswered},
    metrics::External,
};

/// Deadline of one request.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest answer that is read, bytes. Registries refuse schemas of such a size.
const LONGEST_ANSWER: usize = 2 << 20;

/// The registries in use.
#[derive(Debug)]
pub struct Registries {
    http: reqwest::Client,
    external: External,
    pool: Pool<String, Registry>,
}

impl Registries {
    pub fn new(http: reqwest::Client) -> Self {
        Self {
            http,
            external: External::default(),
            pool: Pool::default(),
        }
    }

    /// Counts the requests there.
    pub fn counted(mut self, external: External) -> Self {
        self.external = external;
        self
    }

    /// The registry at this address. Does no I/O.
    pub fn get(&self, url: &str) -> Arc<Registry> {
        let made = self.pool.get(&url.to_owned(), || {
            Ok::<_, Infallible>(Registry {
                http: self.http.clone(),
                external: self.external.clone(),
                url: url.to_owned(),
                endpoint: Endpoint::default(),
                answers: Cache::default(),
                schemas: Cache::default(),
                compatible: Cache::default(),
            })
        });
        match made {
            Ok(registry) => registry,
            Err(never) => match never {},
        }
    }

    /// Drops what is remembered of registries that no resource uses any more.
    pub fn prune(&self, now: Instant) {
        drop(self.pool.prune(now));
    }
}

/// A schema registry that speaks Confluent's API.
#[derive(Debug)]
pub struct Registry {
    http: reqwest::Client,
    external: External,
    url: String,
    endpoint: Endpoint,
    answers: Cache<(), ()>,
    /// By topic.
    schemas: Cache<String, Arc<Schema>>,
    /// By topic and hash of the schema.
    compatible: Cache<(String, String), ()>,
}

impl Registry {
    /// Asks for the subjects, to see whether the registry answers.
    pub async fn check(&self, freshness: Freshness) -> Result<(), Error> {
        let asked = Instant::now();
        if self.answers.get(&(), freshness, asked).is_some() {
            return Ok(());
        }
        // The subjects themselves may be many, and nobody wants to know them.
        let (status, _) = self.request("subjects", 0).await?;
        if !status.is_success() {
            return Err(Error::dependency(
                reason::REGISTRY_REFUSED,
                format!(
                    "the schema registry at {:?} answers GET /subjects with status {}",
                    self.url,
                    status.as_u16()
                ),
            ));
        }
        self.answers.put((), (), asked);
        Ok(())
    }

    /// The newest schema of a topic's values; none if nothing was registered yet.
    pub async fn value_schema(
        &self,
        topic: &str,
        freshness: Freshness,
    ) -> Result<Option<Arc<Schema>>, Error> {
        #[derive(Deserialize)]
        struct Version {
            schema: String,
        }
        let asked = Instant::now();
        if let Some(schema) = self.schemas.get(&topic.to_owned(), freshness, asked) {
            return Ok(Some(schema));
        }
        let refused = |what: String| {
            Error::dependency(
                reason::REGISTRY_REFUSED,
                format!(
                    "the schema registry at {:?} answers for subject \"{topic}-value\" with {what}",
                    self.url
                ),
            )
        };
        let (status, body) = self
            .request(&format!("subjects/{topic}-value/versions/latest"), LONGEST_ANSWER)
            .await?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK if body.len() > LONGEST_ANSWER => {
                Err(refused(format!("more than {LONGEST_ANSWER} bytes")))
            }
            StatusCode::OK => {
                let not_json = |error: serde_json::Error| refused(format!("no JSON: {error}"));
                let version: Version = serde_json::from_slice(&body).map_err(not_json)?;
                let schema: Schema = serde_json::from_str(&version.schema).map_err(not_json)?;
                let schema = Arc::new(schema);
                self.schemas.put(topic.to_owned(), Arc::clone(&schema), asked);
                Ok(Some(schema))
            }
            status => Err(refused(format!("status {}", status.as_u16()))),
        }
    }

    async fn request(&self, path: &str, longest: usize) -> Result<(StatusCode, Vec<u8>), Error> {
        self.send(self.http.get(self.address(path)), longest).await
    }

    fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.url.trim_end_matches('/'))
    }

    /// Reads the answer until it is longer than this many bytes.
    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        longest: usize,
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        let request = async {
            let mut answer = request.timeout(DEADLINE).send().await?;
            let (status, mut body) = (answer.status(), Vec::new());
            while longest > 0
                && body.len() <= longest
                && let Some(chunk) = answer.chunk().await?
            {
                body.extend_from_slice(&chunk);
            }
            Ok((status, body))
        };
        let request = async {
            let start = Instant::now();
            let answer: Result<_, reqwest::Error> = request.await;
            let status = answer.as_ref().map(|(status, _)| *status);
            self.external.observe_http("registry", &self.url, &status, start);
            answer.map_err(|error| Unanswered {
                cause: cause(&error),
                telling: true,
            })
        };
        let answer = self.endpoint.call(Answers::Soon, request).await;
        answer.map_err(|no_answer| {
            let registry = format!("the schema registry at {:?}", self.url);
            match no_answer {
                NoAnswer::Busy => Error::busy(registry),
                NoAnswer::Silent(silence) => Error::dependency(
                    reason::REGISTRY_UNREACHABLE,
                    format!("{registry} does not answer{silence}"),
                ),
            }
        })
    }
}

/// What is looked at of an Avro schema.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Schema {
    /// Fields of a record; empty for any other schema.
    #[serde(default)]
    pub fields: Vec<Field>,
}

/// A field of a record.
#[derive(Clone, Debug, Deserialize)]
pub struct Field {
    pub name: String,
    #[serde(rename = "type")]
    pub field_type: serde_json::Value,
}

/// The innermost cause, which is the part that a person can act on ("connection refused").
pub(crate) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::{
        Json, Router, extract::Path, http::StatusCode as Status, response::IntoResponse, routing::get,
    };

    use super::*;

    /// A registry that knows the subject `items-value`, and counts its requests.
    async fn registry() -> (Arc<Registry>, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        let subject = |Path(subject): Path<String>| async move {
            if subject == "items-value" {
                let schema = r#"{"type":"record","name":"Item","fields":[{"name":"seq","type":"long"}]}"#;
                Json(serde_json::json!({ "schema": schema })).into_response()
            } else {
                Status::NOT_FOUND.into_response()
            }
        };
        let router = Router::new()
            .route("/subjects", get(|| async { Json(["items-value"]) }))
            .route("/subjects/{subject}/versions/latest", get(subject))
            .layer(axum::middleware::map_request(
                move |request: axum::extract::Request| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    std::future::ready(request)
                },
            ));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let registries = Registries::new(crate::connect::fake::http());
        (registries.get(&url), count)
    }

    #[tokio::test]
    async fn what_is_known_is_not_asked_for_again_unless_it_must_be_true_now() {
        let (registry, count) = registry().await;
        for _ in 0..3 {
            registry.check(Freshness::Recent).await.unwrap();
            let schema = registry
                .value_schema("items", Freshness::Recent)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(schema.fields[0].name, "seq");
        }
        assert_eq!(count.load(Ordering::Relaxed), 2);
        registry.check(Freshness::now()).await.unwrap();
        registry.value_schema("items", Freshness::now()).await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 4);
    }

    #[tokio::test]
    async fn a_missing_schema_is_asked_for_each_time() {
        let (registry, count) = registry().await;
        for _ in 0..2 {
            assert!(
                registry
                    .value_schema("sales", Freshness::Recent)
                    .await
                    .unwrap()
                    .is_none()
            );
        }
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_answer_without_end_is_refused_and_not_read() {
        let endless = || async {
            let chunk = Ok::<_, Infallible>(vec![b' '; 1 << 16]);
            axum::body::Body::from_stream(futures::stream::repeat_with(move || chunk.clone()))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().fallback(endless);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let registry = Registries::new(crate::connect::fake::http()).get(&url);
        registry.check(Freshness::now()).await.unwrap();
        let refused = registry
            .value_schema("items", Freshness::now())
            .await
            .unwrap_err();
        assert_eq!(refused.reason(), reason::REGISTRY_REFUSED);
        assert!(
            refused.sentence().ends_with("with more than 2097152 bytes"),
            "{refused}"
        );
    }
}
