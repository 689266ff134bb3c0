//! Asking a site as its owner and the job want it: what robots.txt allows, within the job's rate, and not at all
//! while the site wants to be left alone.

mod ask;
mod budget;
mod robots;
mod share;

use std::sync::{Mutex, PoisonError};

use naru_contract::Politeness;
use naru_worker_core::run::Health;
use reqwest::{Client, Url};

use ask::Asker;
pub(crate) use ask::{Answer, AskError};
use robots::Robots;
pub(crate) use share::{PLANNER, fetcher};

/// A site, as one process asks it.
pub(crate) struct Site {
    politeness: Politeness,
    asker: Asker,
    robots: Option<Robots>,
    health: Health,
    part: Mutex<f64>,
}

impl Site {
    /// `robots` is the address of its robots.txt. Nothing is asked until [`Self::set_part`] says how much may be.
    pub(crate) fn new(politeness: &Politeness, client: Client, robots: Url, health: Health) -> Self {
        let robots = politeness
            .respect_robots
            .then(|| Robots::new(robots, &politeness.user_agent));
        Self {
            politeness: politeness.clone(),
            asker: Asker::new(client),
            robots,
            health,
            part: Mutex::new(0.0),
        }
    }

    /// The part of the job's limits that is ours from now on.
    pub(crate) fn set_part(&self, part: f64) {
        *self.part.lock().unwrap_or_else(PoisonError::into_inner) = part;
        self.set_share();
    }

    fn set_share(&self) {
        let part = *self.part.lock().unwrap_or_else(PoisonError::into_inner);
        let crawl_delay = self.robots.as_ref().map(Robots::delay).unwrap_or_default();
        self.asker
            .budget
            .set_share(share::share(&self.politeness, crawl_delay, part));
    }

    pub(crate) fn requests_under_way(&self) -> u32 {
        self.asker.budget.under_way()
    }

    /// Whether robots.txt allows to ask for `url`. Waits until it could be had. Safe to cancel.
    pub(crate) async fn allows(&self, url: &Url) -> bool {
        let Some(robots) = &self.robots else {
            return true;
        };
        let allows = robots.allows(&self.asker, &self.health, url).await;
        // It may have changed the delay that it asks for.
        self.set_share();
        allows
    }

    /// Asks for `url` as soon as it may be asked for. Safe to cancel.
    pub(crate) async fn get(&self, url: &Url) -> Result<Answer<'_>, AskError> {
        self.asker.get(url).await
    }
}
