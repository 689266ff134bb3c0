//! The body of an answer, with a limit on its size.

use reqwest::Response;
use snafu::{ResultExt, Snafu, ensure};

#[derive(Debug, Snafu)]
pub(crate) enum BodyError {
    #[snafu(display("the body is larger than {limit} bytes"))]
    TooLarge { limit: usize },
    #[snafu(display("the body was cut off: {}", cause(source)))]
    CutOff { source: reqwest::Error },
}

/// All of the body, or an error as soon as it is larger than `limit` after decompression.
pub(crate) async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.context(CutOffSnafu)? {
        ensure!(body.len() + chunk.len() <= limit, TooLargeSnafu { limit });
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The first `limit` bytes of the body.
pub(crate) async fn read_beginning(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while body.len() < limit {
        let Some(chunk) = response.chunk().await.context(CutOffSnafu)? else {
            break;
        };
        body.extend_from_slice(&chunk);
    }
    body.truncate(limit);
    Ok(body)
}

/// The innermost cause of a failed request: reqwest's own text names only the address.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
