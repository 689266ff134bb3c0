//! What one process may ask of the site.
//!
//! The job's limits are for the planner and all fetchers together. A small part is the planner's; of the rest, each
//! fetcher takes the part that its partitions are of all partitions. So the rates add up to the limit at most,
//! through every rebalance, with nobody to coordinate them.

use std::time::Duration;

use naru_contract::Politeness;

/// The planner's part of the job's limits: it asks for a handful of documents now and then.
pub(crate) const PLANNER: f64 = 0.1;

/// Limits of one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    /// Requests under way.
    pub(super) concurrent: u32,
    /// Time between the starts of two requests; `None`: no request may be made.
    pub(super) interval: Option<Duration>,
}

/// The part of a fetcher that has `assigned` of `all` partitions.
pub(crate) fn fetcher(assigned: usize, all: usize) -> f64 {
    if all == 0 {
        return 0.0;
    }
    (assigned as f64 / all as f64).min(1.0) * (1.0 - PLANNER)
}

/// The share of a process whose part is this, between 0 and 1. `crawl_delay` is what the site's robots.txt asks for
/// between two requests.
pub(super) fn share(politeness: &Politeness, crawl_delay: Duration, part: f64) -> Share {
    if part <= 0.0 {
        return Share {
            concurrent: 0,
            interval: None,
        };
    }
    // Who has a part must be able to work: with fewer requests at once than processes, the rate limits.
    let concurrent = (f64::from(politeness.max_concurrent) * part).floor().max(1.0);
    let interval = (1.0 / politeness.max_requests_per_second).max(crawl_delay.as_secs_f64()) / part;
    Share {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 1 and a u32"
        )]
        concurrent: concurrent as u32,
        // A rate so low that its interval is no duration is as good as an hour's.
        interval: Some(Duration::try_from_secs_f64(interval).unwrap_or(Duration::from_secs(3_600))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn politeness(rate: f64, concurrent: u32) -> Politeness {
        Politeness {
            max_requests_per_second: rate,
            max_concurrent: concurrent,
            respect_robots: true,
            user_agent: "naru".to_owned(),
            request_timeout_ms: 1_000,
        }
    }

    #[test]
    fn a_process_gets_its_part_of_the_limits() {
        for (name, part, expected) in [
            ("all", 1.0, (8, 500)),
            ("half", 0.5, (4, 1_000)),
            ("a quarter", 0.25, (2, 2_000)),
            ("less than one request at once", 0.0625, (1, 8_000)),
        ] {
            let share = share(&politeness(2.0, 8), Duration::ZERO, part);
            let (concurrent, interval) = expected;
            assert_eq!(
                share,
                Share {
                    concurrent,
                    interval: Some(Duration::from_millis(interval))
                },
                "{name}"
            );
        }
    }

    #[test]
    fn a_fetcher_without_partitions_asks_nothing() {
        for (assigned, all) in [(0, 4), (0, 0), (2, 0)] {
            let share = share(&politeness(2.0, 8), Duration::ZERO, fetcher(assigned, all));
            assert_eq!(
                share,
                Share {
                    concurrent: 0,
                    interval: None
                }
            );
        }
    }

    #[test]
    fn partitions_that_were_added_and_nobody_has_heard_of_yet_bring_no_more_than_all() {
        assert_eq!(fetcher(4, 2), fetcher(2, 2));
    }

    #[test]
    fn the_planner_asks_a_tenth_as_often_as_the_site_lets_the_job_ask() {
        let share = share(&politeness(2.0, 8), Duration::from_secs(30), PLANNER);
        assert_eq!(share.interval, Some(Duration::from_secs(300)));
    }

    #[test]
    fn a_crawl_delay_holds_when_it_is_the_slower_of_the_two() {
        let with = |delay| {
            let share = share(&politeness(2.0, 8), Duration::from_millis(delay), 0.5);
            share.interval.unwrap()
        };
        assert_eq!(with(3_000), Duration::from_secs(6));
        assert_eq!(with(100), Duration::from_secs(1));
    }

    proptest::proptest! {
        #[test]
        fn the_rates_of_planner_and_fetchers_never_add_up_to_more_than_the_limit(
            rate in 0.01_f64..1_000.0,
            partitions in proptest::collection::vec(0_usize..5, 1..9),
        ) {
            let all = partitions.iter().sum();
            let parts = partitions.iter().map(|assigned| fetcher(*assigned, all)).chain([PLANNER]);
            let rates = parts.filter_map(|part| share(&politeness(rate, 8), Duration::ZERO, part).interval);
            let sum = rates.map(|interval| 1.0 / interval.as_secs_f64()).sum::<f64>();
            proptest::prop_assert!(sum <= rate * 1.000_001, "{sum} > {rate}");
        }
    }
}
