//! What the site's robots.txt allows.
//!
//! As RFC 9309 says: a robots.txt that is not there (any 4xx) allows everything; one that cannot be had at the moment
//! (5xx, no answer) allows nothing until it can.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use naru_worker_core::backoff::Backoff;
use naru_worker_core::run::Health;
use reqwest::Url;
use texting_robots::Robot;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::ask::{Answer, Asker};
use crate::body;

/// RFC 9309 asks to read at least 500 KiB.
const LARGEST: usize = 512_000;
/// How long what it says is believed.
const AGE: Duration = Duration::from_secs(6 * 3_600);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Longest delay between requests that a site can ask for.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// robots.txt of one site.
pub(super) struct Robots {
    url: Url,
    /// The name by which rules address us.
    agent: String,
    known: Mutex<Option<Known>>,
    /// Whoever holds it asks; nobody else does meanwhile.
    asking: AsyncMutex<()>,
}

#[derive(Clone)]
struct Known {
    /// None: everything is allowed.
    rules: Option<Arc<Robot>>,
    believed_until: Instant,
}

impl Known {
    fn for_now(rules: Option<Arc<Robot>>, time: Duration) -> Self {
        Self {
            rules,
            believed_until: Instant::now() + time,
        }
    }

    fn is_old(&self) -> bool {
        Instant::now() >= self.believed_until
    }

    fn allows(&self, url: &Url) -> bool {
        self.rules
            .as_ref()
            .is_none_or(|rules| rules.allowed(url.as_str()))
    }
}

impl Robots {
    pub(super) fn new(url: Url, user_agent: &str) -> Self {
        let agent = user_agent.split(['/', ' ']).next().unwrap_or_default().to_owned();
        Self {
            url,
            agent,
            known: Mutex::default(),
            asking: AsyncMutex::default(),
        }
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Whether `url` may be asked for. Waits until robots.txt could be had; while it is asked for anew, what it said
    /// before holds.
    pub(super) async fn allows(&self, asker: &Asker, health: &Health, url: &Url) -> bool {
        loop {
            let _asking = match self.known() {
                Some(known) if !known.is_old() => return known.allows(url),
                Some(known) => match self.asking.try_lock() {
                    Ok(asking) => asking,
                    Err(_) => return known.allows(url),
                },
                None => self.asking.lock().await,
            };
            // Perhaps somebody has asked in between.
            match self.known() {
                None => self.learn(Known::for_now(self.fetch(asker, health).await, AGE)),
                Some(old) if old.is_old() => match self.ask(asker).await {
                    Ok(rules) => self.learn(Known::for_now(rules, AGE)),
                    Err(failure) => {
                        warn!(url = %self.url, error = %failure, "keeping to the robots.txt of hours ago");
                        self.learn(Known::for_now(old.rules, LONGEST_PAUSE));
                    }
                },
                Some(_) => {}
            }
        }
    }

    /// How far apart the site wants requests; zero when it has said nothing.
    pub(super) fn delay(&self) -> Duration {
        let delay = self.known().and_then(|known| known.rules?.delay);
        let delay = delay.and_then(|seconds| Duration::try_from_secs_f32(seconds).ok());
        delay.unwrap_or_default().min(LONGEST_DELAY)
    }

    fn known(&self) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn(&self, known: Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }

    async fn fetch(&self, asker: &Asker, health: &Health) -> Option<Arc<Robot>> {
        let mut backoff = Backoff::new(Duration::from_secs(1), LONGEST_PAUSE);
        let mut last_failure = String::new();
        let before = health.what_is_missing();
        loop {
            let failure = match self.ask(asker).await {
                Ok(rules) => {
                    info!(url = %self.url, rules = rules.is_some(), "robots.txt is known");
                    // To know it is not to have done anything.
                    match before {
                        None => health.ready(),
                        Some(before) => health.waiting_for(before),
                    }
                    return rules;
                }
                Err(failure) => failure,
            };
            health.waiting_for(format!(
                "{}, without which no page is asked for: {failure}",
                self.url
            ));
            if failure != last_failure {
                warn!(url = %self.url, error = %failure, "waiting for robots.txt");
                last_failure = failure;
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn ask(&self, asker: &Asker) -> Result<Option<Arc<Robot>>, String> {
        let answer = asker.get(&self.url).await.map_err(|error| error.to_string())?;
        let Answer { response, permit, .. } = answer;
        let status = response.status();
        if status.is_client_error() && status.as_u16() != 429 {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(format!("it was answered with status {status}"));
        }
        let body = body::read_beginning(response, LARGEST)
            .await
            .map_err(|error| error.to_string())?;
        drop(permit);
        Robot::new(&self.agent, &body)
            .map(|rules| Some(Arc::new(rules)))
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn robots(believed_for: Duration) -> Robots {
        let robots = Robots::new(
            Url::parse("http://a.test/robots.txt").unwrap(),
            "naru/0.1 (tests)",
        );
        let text = b"User-agent: *\nCrawl-delay: 3\nDisallow: /private";
        let rules = Robot::new(&robots.agent, text).unwrap();
        robots.learn(Known::for_now(Some(Arc::new(rules)), believed_for));
        robots
    }

    fn asker() -> Asker {
        // It has no share: whoever asks waits for ever.
        Asker::new(crate::fake_site::client())
    }

    #[tokio::test(start_paused = true)]
    async fn what_it_said_holds_while_it_is_asked_for_anew() {
        let robots = robots(Duration::from_secs(60));
        let (asker, health) = (asker(), Health::default());
        let url = |path| Url::parse("http://a.test").unwrap().join(path).unwrap();
        tokio::time::advance(Duration::from_secs(61)).await;
        let (page, private) = (url("/page"), url("/private/page"));
        let asking = robots.allows(&asker, &health, &page);
        let mut asking = std::pin::pin!(asking);
        assert!(futures::poll!(&mut asking).is_pending(), "the first to come asks");
        assert!(robots.allows(&asker, &health, &page).await);
        assert!(!robots.allows(&asker, &health, &private).await);
        assert_eq!(robots.delay(), Duration::from_secs(3));
    }
}
