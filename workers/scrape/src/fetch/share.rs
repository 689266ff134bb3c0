//! What one fetcher may ask of the site.
//!
//! The job's limits are for all fetchers together. Each takes the part that its partitions are of all partitions,
//! so the rates of a group add up to the limit at most, through every rebalance, with nobody to coordinate them.

use std::time::Duration;

use naru_contract::Politeness;

/// Limits of one fetcher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    /// Requests under way.
    pub(super) concurrent: u32,
    /// Time between the starts of two requests; `None`: no request may be made.
    pub(super) interval: Option<Duration>,
}

/// The share of a fetcher that has `assigned` of `all` partitions. `crawl_delay` is what the site's robots.txt asks
/// for between two requests.
pub(super) fn share(politeness: &Politeness, crawl_delay: Duration, assigned: usize, all: usize) -> Share {
    if assigned == 0 || all == 0 {
        return Share {
            concurrent: 0,
            interval: None,
        };
    }
    let part = (assigned as f64 / all as f64).min(1.0);
    // A fetcher with a partition must be able to work: with fewer requests at once than fetchers, the rate limits.
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
    fn a_fetcher_gets_the_part_that_its_partitions_are() {
        for (name, assigned, all, expected) in [
            ("one of one", 1, 1, (8, 500)),
            ("half", 2, 4, (4, 1_000)),
            ("a quarter", 1, 4, (2, 2_000)),
            ("less than one request at once", 1, 16, (1, 8_000)),
            (
                "partitions were added that nobody has heard of yet",
                4,
                2,
                (8, 500),
            ),
        ] {
            let share = share(&politeness(2.0, 8), Duration::ZERO, assigned, all);
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
        let share = share(&politeness(2.0, 8), Duration::ZERO, 0, 4);
        assert_eq!(
            share,
            Share {
                concurrent: 0,
                interval: None
            }
        );
    }

    #[test]
    fn a_crawl_delay_holds_when_it_is_the_slower_of_the_two() {
        let with = |delay| {
            share(&politeness(2.0, 8), Duration::from_millis(delay), 1, 2)
                .interval
                .unwrap()
        };
        assert_eq!(with(3_000), Duration::from_secs(6));
        assert_eq!(with(100), Duration::from_secs(1));
    }

    proptest::proptest! {
        #[test]
        fn the_rates_of_a_group_never_add_up_to_more_than_the_limit(
            rate in 0.01_f64..1_000.0,
            parts in proptest::collection::vec(0_usize..5, 1..9),
        ) {
            let all = parts.iter().sum();
            let rates = parts.iter().filter_map(|part| {
                share(&politeness(rate, 8), Duration::ZERO, *part, all).interval
            });
            let sum = rates.map(|interval| 1.0 / interval.as_secs_f64()).sum::<f64>();
            proptest::prop_assert!(sum <= rate * 1.000_001, "{sum} > {rate}");
        }
    }
}
