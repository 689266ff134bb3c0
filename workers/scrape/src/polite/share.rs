//! What one process may ask of the site.
//!
//! The job's limits are for the planner and all fetchers together. A small part is the planner's; of the rest, each
//! fetcher takes the part that its partitions are of all partitions. So the rates and the requests under way add up to
//! the limits at most, through every rebalance, with nobody to coordinate them.

use std::time::Duration;

use naru_contract::Politeness;

/// The planner's part of the rate: it asks for a handful of documents now and then, one after the other.
const PLANNER: f64 = 0.1;

/// The part of the job's limits that a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Nothing,
    Planner,
    /// Of a fetcher that has `assigned` of `all` partitions.
    Fetcher {
        assigned: usize,
        all: usize,
    },
}

impl Part {
    fn of_rate(self) -> f64 {
        match self {
            Self::Planner => PLANNER,
            Self::Fetcher { assigned, all } if all > 0 => {
                (assigned as f64 / all as f64).min(1.0) * (1.0 - PLANNER)
            }
            Self::Nothing | Self::Fetcher { .. } => 0.0,
        }
    }

    /// Of `most` requests under way one is the planner's. Who has a part must be able to work: with fewer requests than
    /// processes, as when there may be only one, the rate limits.
    fn of_requests(self, most: u32) -> u32 {
        let most = u64::from(most.saturating_sub(1));
        let requests = match self {
            Self::Fetcher { assigned, all } if all > 0 => most * assigned.min(all) as u64 / all as u64,
            Self::Nothing | Self::Planner | Self::Fetcher { .. } => 1,
        };
        u32::try_from(requests.max(1)).unwrap_or(u32::MAX)
    }
}

/// Limits of one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    /// Requests under way.
    pub(super) concurrent: u32,
    /// Time between the starts of two requests; `None`: no request may be made.
    pub(super) interval: Option<Duration>,
}

/// The share of a process with this part. `crawl_delay` is what the site's robots.txt asks for between two requests.
pub(super) fn share(politeness: &Politeness, crawl_delay: Duration, part: Part) -> Share {
    let rate = part.of_rate();
    if rate <= 0.0 {
        return Share {
            concurrent: 0,
            interval: None,
        };
    }
    let interval = (1.0 / politeness.max_requests_per_second).max(crawl_delay.as_secs_f64()) / rate;
    Share {
        concurrent: part.of_requests(politeness.max_concurrent),
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

    fn fetcher(assigned: usize, all: usize) -> Part {
        Part::Fetcher { assigned, all }
    }

    #[test]
    fn a_process_gets_its_part_of_the_limits() {
        for (name, part, expected) in [
            ("the planner", Part::Planner, (1, 5_000)),
            ("the only fetcher", fetcher(8, 8), (8, 555)),
            ("a half", fetcher(4, 8), (4, 1_111)),
            ("partitions that nobody has heard of yet", fetcher(4, 2), (8, 555)),
            ("less than one request at once", fetcher(1, 16), (1, 8_888)),
        ] {
            let share = share(&politeness(2.0, 9), Duration::ZERO, part);
            let found = (share.concurrent, share.interval.unwrap().as_millis());
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_fetcher_without_partitions_asks_nothing() {
        for part in [fetcher(0, 4), fetcher(0, 0), fetcher(2, 0), Part::Nothing] {
            let share = share(&politeness(2.0, 8), Duration::ZERO, part);
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
    fn the_planner_asks_a_tenth_as_often_as_the_site_lets_the_job_ask() {
        let share = share(&politeness(2.0, 8), Duration::from_secs(30), Part::Planner);
        assert_eq!(share.interval, Some(Duration::from_secs(300)));
    }

    #[test]
    fn a_crawl_delay_holds_when_it_is_the_slower_of_the_two() {
        let with = |delay| {
            let share = share(&politeness(2.0, 8), Duration::from_millis(delay), fetcher(1, 2));
            share.interval.unwrap().as_millis()
        };
        assert_eq!(with(3_000), 6_666);
        assert_eq!(with(100), 1_111);
    }

    proptest::proptest! {
        #[test]
        fn the_rates_of_planner_and_fetchers_never_add_up_to_more_than_the_limit(
            rate in 0.01_f64..1_000.0,
            partitions in proptest::collection::vec(0_usize..5, 1..9),
        ) {
            let all = partitions.iter().sum();
            let parts = partitions.iter().map(|assigned| fetcher(*assigned, all)).chain([Part::Planner]);
            let rates = parts.filter_map(|part| share(&politeness(rate, 8), Duration::ZERO, part).interval);
            let sum = rates.map(|interval| 1.0 / interval.as_secs_f64()).sum::<f64>();
            proptest::prop_assert!(sum <= rate * 1.000_001, "{sum} > {rate}");
        }

        /// The operator makes no more partitions than there may be fetchers, which is one less than requests.
        #[test]
        fn the_requests_of_planner_and_fetchers_never_add_up_to_more_than_the_limit(
            partitions in proptest::collection::vec(0_usize..9, 1..9), more in 0_u32..90,
        ) {
            let all = partitions.iter().sum::<usize>();
            let most = u32::try_from(all.max(1)).unwrap() + 1 + more;
            let parts = partitions.iter().map(|assigned| fetcher(*assigned, all)).chain([Part::Planner]);
            let sum = parts.map(|part| share(&politeness(1.0, most), Duration::ZERO, part).concurrent).sum::<u32>();
            proptest::prop_assert!(sum <= most, "{sum} > {most}");
        }
    }
}
