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
use snafu::{Snafu, ensure};

pub(crate) use ask::{Answer, AskError};
use ask::{Asker, REDIRECTS, RedirectsSnafu, Reply};
use robots::Robots;
pub(crate) use share::Part;

/// Why an address is not asked for.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
pub(crate) enum Refusal {
    #[snafu(display("robots.txt disallows {url}"))]
    Disallowed { url: Box<Url> },
    #[snafu(display("{url} is not on the site of {robots}, which says nothing about it"))]
    OtherSite { url: Box<Url>, robots: Box<Url> },
}

/// A site, as one process asks it.
pub(crate) struct Site {
    politeness: Politeness,
    asker: Asker,
    robots: Option<Robots>,
    health: Health,
    part: Mutex<Part>,
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
            part: Mutex::new(Part::Nothing),
        }
    }

    /// The part of the job's limits that is ours from now on.
    pub(crate) fn set_part(&self, part: Part) {
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
    pub(crate) async fn allows(&self, url: &Url) -> Result<(), Refusal> {
        let Some(robots) = &self.robots else {
            return Ok(());
        };
        ensure!(
            url.origin() == robots.url().origin(),
            OtherSiteSnafu {
                url: url.clone(),
                robots: robots.url().clone()
            }
        );
        let allows = robots.allows(&self.asker, &self.health, url).await;
        // It may have changed the delay that it asks for.
        self.set_share();
        ensure!(allows, DisallowedSnafu { url: url.clone() });
        Ok(())
    }

    /// Asks for `url`, which is allowed, as soon as it may be asked for, and for what it redirects to if that is
    /// allowed too. Safe to cancel.
    pub(crate) async fn get(&self, url: &Url) -> Result<Answer<'_>, AskError> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            match self.asker.ask(&url).await? {
                Reply::Answer(answer) => return Ok(answer),
                Reply::Redirect(next) => url = next,
            }
            self.allows(&url).await?;
        }
        RedirectsSnafu.fail()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_site::FakeSite;

    async fn marketplace(respect_robots: bool) -> (FakeSite, Site) {
        let fake = FakeSite::start(|path, _| match path {
            "/robots.txt" => ("200 OK", "User-agent: *\nDisallow: /private"),
            "/inwards" => ("302 Found\r\nlocation: /page", ""),
            "/private-page" => ("302 Found\r\nlocation: /private/page", ""),
            "/outwards" => ("302 Found\r\nlocation: http://127.0.0.1:9/page", ""),
            _ => ("200 OK", ""),
        })
        .await;
        let site = fake.site(respect_robots);
        (fake, site)
    }

    #[tokio::test]
    async fn a_redirect_is_followed_where_robots_txt_allows_it_and_no_further() {
        let (fake, site) = marketplace(true).await;
        assert!(site.get(&fake.url("/inwards")).await.is_ok());
        for (path, expected) in [
            ("/private-page", "robots.txt disallows"),
            ("/outwards", "http://127.0.0.1:9/page is not on the site of"),
        ] {
            let refusal = site.get(&fake.url(path)).await.err().unwrap();
            assert!(matches!(refusal, AskError::Refused { .. }), "{refusal:?}");
            assert!(refusal.to_string().starts_with(expected), "{refusal}");
        }
        assert_eq!(
            fake.asked(),
            ["/inwards", "/robots.txt", "/page", "/private-page", "/outwards"]
        );
    }

    #[tokio::test]
    async fn who_ignores_robots_txt_is_led_anywhere() {
        let (fake, site) = marketplace(false).await;
        assert!(site.get(&fake.url("/private-page")).await.is_ok());
        assert!(
            site.allows(&Url::parse("http://127.0.0.1:9/page").unwrap())
                .await
                .is_ok()
        );
    }
}
