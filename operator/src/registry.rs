//! Whether a schema registry answers.

use std::time::Duration;

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
            "RegistryRefused",
            format!(
                "the schema registry at {url:?} answers GET /subjects with status {}",
                answer.status().as_u16()
            ),
        )),
        Err(error) => Err(Error::dependency(
            "RegistryUnreachable",
            format!(
                "the schema registry at {url:?} does not answer: {}",
                cause(&error)
            ),
        )),
    }
}

/// The innermost cause, which is the part that a person can act on ("connection refused").
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
