//! One request with its redirects, each of them admitted, and what its answer asks of those to come.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{Client, Response, StatusCode, Url, header};
use snafu::{ResultExt, Snafu};

use super::Refusal;
use super::budget::{Budget, Permit};
use crate::body::cause;

pub(super) const REDIRECTS: usize = 5;

#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub(crate) enum AskError {
    #[snafu(display("{}", cause(source)))]
    Request { source: reqwest::Error },
    #[snafu(display("it redirects more than {REDIRECTS} times"))]
    Redirects,
    #[snafu(display("it redirects to {location:?}, which is no web address"))]
    Location { location: String },
    #[snafu(transparent)]
    Refused { source: Refusal },
}

/// What one request brings.
pub(super) enum Reply<'a> {
    Answer(Answer<'a>),
    Redirect(Url),
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

    /// Follows redirects wherever they lead, as robots.txt is to be asked for.
    pub(super) async fn get(&self, url: &Url) -> Result<Answer<'_>, AskError> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            match self.ask(&url).await? {
                Reply::Answer(answer) => return Ok(answer),
                Reply::Redirect(next) => url = next,
            }
        }
        RedirectsSnafu.fail()
    }

    pub(super) async fn ask(&self, url: &Url) -> Result<Reply<'_>, AskError> {
        let permit = self.budget.admit().await;
        let response = self.client.get(url.clone()).send().await.context(RequestSnafu)?;
        let held = self.heed(&response);
        Ok(match redirect(&response)? {
            Some(next) => Reply::Redirect(next),
            None => Reply::Answer(Answer {
                response,
                held,
                permit,
            }),
        })
    }

    /// Holds all requests when the answer asks for it.
    fn heed(&self, response: &Response) -> bool {
        let status = response.status();
        let is_refusal = status.is_server_error() || matches!(status.as_u16(), 401 | 403 | 429);
        let wait = text(response, header::RETRY_AFTER).and_then(|value| retry_after(value, Timestamp::now()));
        match wait {
            Some(time) if is_refusal => self.budget.hold(time),
            None if status == StatusCode::TOO_MANY_REQUESTS => self.budget.back_off(),
            // Also a page of its own to which it redirects who asks too much says nothing of being welcome.
            _ if is_refusal || status.is_redirection() => return false,
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
    use super::super::share::Share;
    use super::*;
    use crate::fake_site::FakeSite;

    async fn site() -> FakeSite {
        FakeSite::start(|path, _| match path {
            "/429" => ("429 Too Many Requests", ""),
            "/403" => ("403 Forbidden", ""),
            "/503" => ("503 Service Unavailable", ""),
            "/302" => ("302 Found\r\nlocation: /302", ""),
            "/301" => ("301 Moved Permanently\r\nlocation: /page", ""),
            "/file" => ("302 Found\r\nlocation: file:///etc/passwd", ""),
            _ => ("200 OK", ""),
        })
        .await
    }

    fn asker() -> Asker {
        let asker = Asker::new(crate::fake_site::client());
        asker.budget.set_share(Share {
            concurrent: 1,
            interval: Some(Duration::from_millis(50)),
        });
        asker
    }

    #[tokio::test]
    async fn each_redirect_counts_as_a_request_and_there_are_only_some() {
        let (site, asker) = (site().await, asker());
        let answer = asker.get(&site.url("/301")).await.unwrap();
        assert_eq!(answer.response.url().path(), "/page");
        drop(answer);
        let endless = asker.get(&site.url("/302")).await;
        assert!(matches!(endless, Err(AskError::Redirects)));
        let foreign = asker.get(&site.url("/file")).await;
        assert!(matches!(foreign, Err(AskError::Location { .. })));
        let gaps = site.gaps();
        assert_eq!(gaps.len(), 2 + 6 + 1 - 1);
        assert!(
            gaps.iter().all(|gap| *gap >= Duration::from_millis(40)),
            "{gaps:?}"
        );
    }

    #[tokio::test]
    async fn a_site_that_is_asked_too_much_is_left_alone_though_it_does_not_say_for_how_long() {
        let (site, asker) = (site().await, asker());
        assert!(asker.get(&site.url("/429")).await.unwrap().held);
        assert!(!asker.get(&site.url("/")).await.unwrap().held);
        let gap = site.gaps()[0];
        assert!(gap >= Duration::from_millis(450), "{gap:?}");
    }

    #[tokio::test]
    async fn other_refusals_and_redirects_in_between_do_not_make_a_site_welcoming() {
        let (site, asker) = (site().await, asker());
        for path in ["/429", "/503", "/403", "/file", "/429", "/"] {
            let _ = asker.get(&site.url(path)).await;
        }
        // The second time of being left alone is between one and two seconds, the first at most one.
        let gap = site.gaps()[4];
        assert!(gap >= Duration::from_millis(1_000), "{gap:?}");
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
