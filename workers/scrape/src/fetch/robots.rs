//! What the site's robots.txt allows.
//!
//! As RFC 9309 says: a robots.txt that is not there (any 4xx) allows everything; one that cannot be had at the moment
//! (5xx, no answer) allows nothing until it can.

use std::time::Duration;

use naru_worker_core::backoff::Backoff;
use naru_worker_core::run::Health;
use reqwest::{Client, Url};
use texting_robots::Robot;
use tokio::sync::RwLock;
use tokio::time::Instant;
use tracing::{info, warn};

use super::budget::Budget;
use crate::body::{self, cause};

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
    known: RwLock<Option<Known>>,
}

struct Known {
    /// None: everything is allowed.
    rules: Option<Robot>,
    believed_until: Instant,
}

impl Known {
    fn now(rules: Option<Robot>) -> Self {
        Self {
            rules,
            believed_until: Instant::now() + AGE,
        }
    }

    fn is_old(&self) -> bool {
        Instant::now() >= self.believed_until
    }
}

impl Robots {
    pub(super) fn new(url: Url, user_agent: &str) -> Self {
        let agent = user_agent.split(['/', ' ']).next().unwrap_or_default().to_owned();
        Self {
            url,
            agent,
            known: RwLock::new(None),
        }
    }

    /// Whether `url` may be asked for. Waits until robots.txt could be had.
    pub(super) async fn allows(&self, client: &Client, budget: &Budget, health: &Health, url: &Url) -> bool {
        loop {
            if let Some(known) = self.known.read().await.as_ref().filter(|known| !known.is_old()) {
                return known
                    .rules
                    .as_ref()
                    .is_none_or(|rules| rules.allowed(url.as_str()));
            }
            let mut known = self.known.write().await;
            match known.as_mut() {
                None => *known = Some(Known::now(self.fetch(client, budget, health).await)),
                Some(old) if old.is_old() => match self.ask(client, budget).await {
                    Ok(rules) => *old = Known::now(rules),
                    Err(failure) => {
                        warn!(url = %self.url, error = %failure, "keeping to the robots.txt of hours ago");
                        old.believed_until = Instant::now() + LONGEST_PAUSE;
                    }
                },
                Some(_) => {}
            }
        }
    }

    /// How far apart the site wants requests; zero when it has said nothing.
    pub(super) fn delay(&self) -> Duration {
        let known = self.known.try_read().ok();
        let delay = known
            .as_ref()
            .and_then(|known| known.as_ref()?.rules.as_ref()?.delay);
        let delay = delay.and_then(|seconds| Duration::try_from_secs_f32(seconds).ok());
        delay.unwrap_or_default().min(LONGEST_DELAY)
    }

    async fn fetch(&self, client: &Client, budget: &Budget, health: &Health) -> Option<Robot> {
        let mut backoff = Backoff::new(Duration::from_secs(1), LONGEST_PAUSE);
        let mut last_failure = String::new();
        loop {
            let failure = match self.ask(client, budget).await {
                Ok(rules) => {
                    info!(url = %self.url, rules = rules.is_some(), "robots.txt is known");
                    health.ready();
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

    async fn ask(&self, client: &Client, budget: &Budget) -> Result<Option<Robot>, String> {
        let _permit = budget.admit().await;
        let response = client
            .get(self.url.clone())
            .send()
            .await
            .map_err(|error| cause(&error))?;
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
        Robot::new(&self.agent, &body)
            .map(Some)
            .map_err(|error| error.to_string())
    }
}
