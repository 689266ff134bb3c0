//! When a failed request is tried again.

use std::time::Duration;

use naru_contract::Retry;

/// How often an answer by which the site wants to be left alone does not count as a failure.
const FREE_WAITS: u32 = 10;

/// What comes after an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The site is left alone as long as it wants to be, and then asked again: this attempt does not count.
    Free,
    After(Duration),
    GiveUp,
}

/// The attempts at one page or sitemap.
pub(crate) struct Attempts<'a> {
    retry: &'a Retry,
    failures: u32,
    free: u32,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(retry: &'a Retry) -> Self {
        Self {
            retry,
            failures: 0,
            free: 0,
        }
    }

    /// After an attempt that failed. `held`: the site wants to be left alone, and no request starts until then.
    pub(crate) fn failed(&mut self, held: bool) -> Next {
        if held && self.free < FREE_WAITS {
            self.free += 1;
            return Next::Free;
        }
        self.failures += 1;
        delay(self.retry, self.failures).map_or(Next::GiveUp, Next::After)
    }
}

/// The delay after the `failures`-th failure of a page or a sitemap (1 being the first), or `None` when it is given up.
fn delay(retry: &Retry, failures: u32) -> Option<Duration> {
    let Retry {
        fixed_times,
        fixed_delay_ms,
        exponential_times,
        exponential_base_ms,
        exponential_max_ms,
    } = *retry;
    if failures <= fixed_times {
        return Some(Duration::from_millis(fixed_delay_ms));
    }
    let doublings = failures - fixed_times - 1;
    (doublings < exponential_times).then(|| {
        let factor = 2_u64.saturating_pow(doublings);
        Duration::from_millis(exponential_base_ms.saturating_mul(factor).min(exponential_max_ms))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(fixed: (u32, u64), exponential: (u32, u64, u64)) -> Vec<u64> {
        let retry = Retry {
            fixed_times: fixed.0,
            fixed_delay_ms: fixed.1,
            exponential_times: exponential.0,
            exponential_base_ms: exponential.1,
            exponential_max_ms: exponential.2,
        };
        let delays = (1..).map_while(|failures| delay(&retry, failures));
        delays
            .take(200)
            .map(|delay| u64::try_from(delay.as_millis()).unwrap())
            .collect()
    }

    #[test]
    fn fixed_delays_come_first_then_doubling_ones_up_to_the_maximum() {
        assert_eq!(
            delays((3, 1_000), (5, 2_000, 10_000)),
            [1_000, 1_000, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]
        );
        assert_eq!(delays((0, 1_000), (2, 500, 60_000)), [500, 1_000]);
        assert_eq!(delays((2, 1_000), (0, 500, 60_000)), [1_000, 1_000]);
        assert!(delays((0, 0), (0, 0, 0)).is_empty());
    }

    #[test]
    fn a_site_that_wants_to_be_left_alone_costs_no_attempt_but_cannot_want_it_for_ever() {
        let retry = Retry {
            fixed_times: 1,
            fixed_delay_ms: 7,
            exponential_times: 0,
            exponential_base_ms: 0,
            exponential_max_ms: 0,
        };
        let mut attempts = Attempts::new(&retry);
        for _ in 0..FREE_WAITS {
            assert_eq!(attempts.failed(true), Next::Free);
        }
        assert_eq!(
            [true, false].map(|held| attempts.failed(held)),
            [Next::After(Duration::from_millis(7)), Next::GiveUp]
        );
    }

    #[test]
    fn no_number_of_doublings_overflows() {
        let delays = delays((0, 0), (100, u64::MAX / 2, 300_000));
        assert_eq!(delays, vec![300_000; 100]);
    }
}
