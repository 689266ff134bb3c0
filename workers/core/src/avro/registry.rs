//! A client of Confluent's schema registry API, which Apicurio serves too.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use apache_avro::Schema;
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;
use snafu::{OptionExt, ResultExt, Snafu};
use tokio::time::Instant;
use tracing::warn;

use crate::backoff::Backoff;

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Deadline of one request.
const REQUEST: Duration = Duration::from_secs(5);
/// Deadline of one question, retries included.
const QUESTION: Duration = Duration::from_secs(20);
/// Longest part of an answer that an error repeats, characters.
const EXCERPT: usize = 300;

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("the registry's address {url:?} is not a URL that paths can be added to"))]
    Address { url: String },
    #[snafu(display("unable to reach the schema registry at {url}: {reason}"))]
    Unreachable { url: String, reason: String },
    /// The subject holds a schema that the new one is not compatible with.
    #[snafu(display(
        "the schema registry refuses the schema of subject {subject:?} as incompatible with an earlier version: \
         {reason}; make new fields optional, or use another topic"
    ))]
    Incompatible { subject: String, reason: String },
    #[snafu(display("the schema registry knows no schema with id {id}"))]
    UnknownId { id: u32 },
    #[snafu(display("the schema registry answered {status} to {question}: {reason}"))]
    Refused {
        status: StatusCode,
        question: String,
        reason: String,
    },
    #[snafu(display("the schema registry's answer to {question} cannot be read"))]
    Answer {
        source: serde_json::Error,
        question: String,
    },
    #[snafu(display("the schema with id {id} is not Avro that can be read"))]
    Parse {
        source: Box<apache_avro::Error>,
        id: u32,
    },
    #[snafu(display("unable to create an HTTP client"))]
    CreateClient { source: reqwest::Error },
}

impl Error {
    /// Whether asking again later may help, with nobody changing anything but the registry's health.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Schemas by id, each asked for once.
#[derive(Debug)]
pub struct Registry {
    client: Client,
    base: Url,
    schemas: RwLock<HashMap<u32, Arc<Schema>>>,
}

impl Registry {
    pub fn new(registry: &naru_contract::Registry) -> Result<Self, Error> {
        let base = Url::parse(&registry.url)
            .ok()
            .filter(|url| !url.cannot_be_a_base())
            .context(AddressSnafu { url: &registry.url })?;
        let client = Client::builder()
            .timeout(REQUEST)
            .build()
            .context(CreateClientSnafu)?;
        Ok(Self {
            client,
            base,
            schemas: RwLock::default(),
        })
    }

    /// Makes `schema` a version of `subject`, or finds that it is one, and returns its id.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32, Error> {
        #[derive(Deserialize)]
        struct Registered {
            id: u32,
        }
        let question = format!("the registration of {subject:?}");
        let url = self.url(&["subjects", subject, "versions"]);
        let body = json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
        let request = || {
            let request = self.client.post(url.clone());
            request.header("content-type", CONTENT_TYPE).body(body.clone())
        };
        let (status, answer) = self.ask(request).await?;
        match status {
            StatusCode::OK => Ok(parse::<Registered>(&answer, question)?.id),
            StatusCode::CONFLICT => IncompatibleSnafu {
                subject,
                reason: reason(&answer),
            }
            .fail(),
            status => RefusedSnafu {
                status,
                question,
                reason: reason(&answer),
            }
            .fail(),
        }
    }

    /// The schema with this id.
    pub async fn schema(&self, id: u32) -> Result<Arc<Schema>, Error> {
        #[derive(Deserialize)]
        struct Found {
            schema: String,
        }
        if let Some(schema) = self
            .schemas
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
        {
            return Ok(Arc::clone(schema));
        }
        let question = format!("the question for schema {id}");
        let url = self.url(&["schemas", "ids", &id.to_string()]);
        let request = || self.client.get(url.clone()).header("accept", CONTENT_TYPE);
        let (status, answer) = self.ask(request).await?;
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return UnknownIdSnafu { id }.fail(),
            status => {
                return RefusedSnafu {
                    status,
                    question,
                    reason: reason(&answer),
                }
                .fail();
            }
        }
        let found = parse::<Found>(&answer, question)?;
        let schema = Schema::parse_str(&found.schema)
            .map_err(Box::new)
            .context(ParseSnafu { id })?;
        let schema = Arc::new(schema);
        self.schemas
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, Arc::clone(&schema));
        Ok(schema)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("the address was checked to be a base")
            .pop_if_empty()
            .extend(path);
        url
    }

    /// Sends until there is an answer that is no passing trouble of the server's.
    async fn ask(
        &self,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<(StatusCode, String), Error> {
        let deadline = Instant::now() + QUESTION;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let reason = match answer(request().send().await).await {
                Ok((status, text))
                    if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS =>
                {
                    return Ok((status, text));
                }
                Ok((status, text)) => format!("it answered {status}: {}", reason(&text)),
                Err(error) => describe(error),
            };
            let delay = backoff.next_delay();
            if Instant::now() + delay > deadline {
                return UnreachableSnafu {
                    url: self.base.as_str(),
                    reason,
                }
                .fail();
            }
            warn!(registry = %self.base, %reason, "asking the schema registry again");
            tokio::time::sleep(delay).await;
        }
    }
}

async fn answer(sent: reqwest::Result<Response>) -> reqwest::Result<(StatusCode, String)> {
    let response = sent?;
    Ok((response.status(), response.text().await?))
}

/// The innermost cause: reqwest's own text names only the address.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a str, question: String) -> Result<T, Error> {
    serde_json::from_str(answer).context(AnswerSnafu { question })
}

/// `message` of an error answer, or its beginning.
fn reason(answer: &str) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    let text =
        serde_json::from_str::<Refusal>(answer).map_or_else(|_| answer.to_owned(), |found| found.message);
    text.chars().take(EXCERPT).collect()
}
