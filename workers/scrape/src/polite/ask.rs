//! One request with its redirects, each of them admitted, and what its answer asks of those to come.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{Client, Response, StatusCode, Url, header};
use snafu::{ResultExt, Snafu};

use super::budget::{Budget, Permit};
use crate::body::cause;

const REDIRECTS: usize = 5;

#[derive(Debug, Snafu)]
pub(crate) enum AskError {
    #[snafu(display("{}", cause(source)))]
    Request { source: reqwest::Error },
    #[snafu(display("it redirects more than {REDIRECTS} times"))]
    Redirects,
    #[snafu(display("it redirects to {location:?}, which is no web address"))]
    Location { location: String },
}

/// Whoever has it is still asking: to be kept until the body is read.
pub(crate) struct Answer<'a> {
    pub(crate) response: Response,
    /// The site wants to be left alone, and will be.
    pub(crate) held: bool,
    pub(crate) permit: Permit<'a>,
}

pub(super) struct Asker {
    client: Client,
    pub(super) budget: Budget,
}

impl Asker {
    /// `client` must not follow redirects.
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            budget: Budget::new(),
        }
    }

    pub(super) async fn get(&self, url: &Url) -> Result<Answer<'_>, AskError> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            let permit = self.budget.admit().await;
            let response = self.client.get(url).send().await.context(RequestSnafu)?;
            let held = self.heed(&response);
            match redirect(&response)? {
                Some(next) => url = next,
                None => {
                    return Ok(Answer {
                        response,
                        held,
                        permit,
                    });
                }
            }
        }
        RedirectsSnafu.fail()
    }

    /// Holds all requests when the answer asks for it.
    fn heed(&self, response: &Response) -> bool {
        let status = response.status();
        let is_refusal = status.is_server_error() || matches!(status.as_u16(), 401 | 403 | 429);
        let wait = text(response, header::RETRY_AFTER).and_then(|value| retry_after(value, Timestamp::now()));
        match wait {
            Some(time) if is_refusal => self.budget.hold(time),
            None if status == StatusCode::TOO_MANY_REQUESTS => self.budget.back_off(),
            _ => {
                self.budget.answered();
                return false;
            }
        }
        true
    }
}

/// Where the answer leads, if it leads elsewhere.
fn redirect(response: &Response) -> Result<Option<Url>, AskError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = text(response, header::LOCATION) else {
        return Ok(None);
    };
    let next = response.url().join(location).ok();
    match next.filter(|next| matches!(next.scheme(), "http" | "https")) {
        Some(next) => Ok(Some(next)),
        None => LocationSnafu { location }.fail(),
    }
}

fn text(response: &Response, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// How long `Retry-After` asks to wait: seconds, or a date.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::parse(value).ok()?.timestamp();
    // A date that has passed asks for no wait.
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::share::Share;
    use super::*;

    type Paths = Arc<Mutex<Vec<(String, Instant)>>>;

    /// Answers each path by its number: `/429` with that status, `/302` by leading to itself, others with 200.
    async fn site() -> (Url, Paths) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let paths = Paths::default();
        let log = Arc::clone(&paths);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4_096];
                let read = stream.read(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request[..read]);
                let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
                let head = match path.as_str() {
                    "/429" => "429 Too Many Requests",
                    "/302" => "302 Found\r\nlocation: /302",
                    "/301" => "301 Moved Permanently\r\nlocation: /page",
                    "/file" => "302 Found\r\nlocation: file:///etc/passwd",
                    _ => "200 OK",
                };
                log.lock().unwrap().push((path, Instant::now()));
                let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (url, paths)
    }

    fn asker() -> Asker {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let policy = reqwest::redirect::Policy::none();
        let asker = Asker::new(Client::builder().redirect(policy).build().unwrap());
        asker.budget.set_share(Share {
            concurrent: 1,
            interval: Some(Duration::from_millis(50)),
        });
        asker
    }

    #[tokio::test]
    async fn each_redirect_counts_as_a_request_and_there_are_only_some() {
        let (url, asked) = site().await;
        let asker = asker();
        let answer = asker.get(&url.join("/301").unwrap()).await.unwrap();
        assert_eq!(answer.response.url().path(), "/page");
        drop(answer);
        let endless = asker.get(&url.join("/302").unwrap()).await;
        assert!(matches!(endless, Err(AskError::Redirects)));
        let foreign = asker.get(&url.join("/file").unwrap()).await;
        assert!(matches!(foreign, Err(AskError::Location { .. })));
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 2 + 6 + 1);
        for pair in asked.windows(2) {
            let gap = pair[1].1 - pair[0].1;
            assert!(gap >= Duration::from_millis(40), "{gap:?} between {pair:?}");
        }
    }

    #[tokio::test]
    async fn a_site_that_is_asked_too_much_is_left_alone_though_it_does_not_say_for_how_long() {
        let (url, asked) = site().await;
        let asker = asker();
        assert!(asker.get(&url.join("/429").unwrap()).await.unwrap().held);
        assert!(!asker.get(&url).await.unwrap().held);
        let asked = asked.lock().unwrap();
        let gap = asked[1].1 - asked[0].1;
        assert!(gap >= Duration::from_millis(450), "{gap:?}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        for (value, expected) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sat, 21 Nov 2026 10:01:40 GMT", Some(100)),
            ("Sat, 21 Nov 2026 09:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
        ] {
            assert_eq!(
                retry_after(value, now),
                expected.map(Duration::from_secs),
                "{value:?}"
            );
        }
    }
}
