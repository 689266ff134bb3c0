//! Whether a schema registry answers, and what it says of a topic.

use std::time::Duration;

use naru_api::condition::reason;
use reqwest::StatusCode;
use serde::Deserialize;

use crate::controller::Error;

/// Deadline of one request.
const DEADLINE: Duration = Duration::from_secs(5);

/// Asks the registry for its subjects, as Confluent's API has it.
pub async fn check(http: &reqwest::Client, url: &str) -> Result<(), Error> {
    let answer = http
        .get(format!("{}/subjects", url.trim_end_matches('/')))
        .timeout(DEADLINE)
        .send()
        .await;
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(Error::dependency(
            reason::REGISTRY_REFUSED,
            format!(
                "the schema registry at {url:?} answers GET /subjects with status {}",
                answer.status().as_u16()
            ),
        )),
        Err(error) => Err(Error::dependency(
            reason::REGISTRY_UNREACHABLE,
            format!(
                "the schema registry at {url:?} does not answer: {}",
                cause(&error)
            ),
        )),
    }
}

/// The newest schema of a topic's values; none if nothing was registered yet.
pub async fn value_schema(http: &reqwest::Client, url: &str, topic: &str) -> Result<Option<Schema>, Error> {
    #[derive(Deserialize)]
    struct Version {
        schema: String,
    }
    let refused = |what: String| {
        Error::dependency(
            reason::REGISTRY_REFUSED,
            format!("the schema registry at {url:?} answers for subject \"{topic}-value\" with {what}"),
        )
    };
    let unreachable = |error: &reqwest::Error| {
        let cause = cause(error);
        Error::dependency(
            reason::REGISTRY_UNREACHABLE,
            format!("the schema registry at {url:?} does not answer: {cause}"),
        )
    };
    let address = format!(
        "{}/subjects/{topic}-value/versions/latest",
        url.trim_end_matches('/')
    );
    let answer = http
        .get(address)
        .timeout(DEADLINE)
        .send()
        .await
        .map_err(|error| unreachable(&error))?;
    match answer.status() {
        StatusCode::NOT_FOUND => Ok(None),
        StatusCode::OK => {
            let version: Version = answer.json().await.map_err(|error| unreachable(&error))?;
            serde_json::from_str(&version.schema)
                .map(Some)
                .map_err(|error| refused(format!("no JSON: {error}")))
        }
        status => Err(refused(format!("status {}", status.as_u16()))),
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
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
