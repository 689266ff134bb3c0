//! When a failed request is tried again.

use std::time::Duration;

use naru_contract::Retry;

/// The delay after the `failures`-th failure of a page or a sitemap (1 being the first), or `None` when it is given up.
pub(crate) fn delay(retry: &Retry, failures: u32) -> Option<Duration> {
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
    fn no_number_of_doublings_overflows() {
        let delays = delays((0, 0), (100, u64::MAX / 2, 300_000));
        assert_eq!(delays, vec![300_000; 100]);
    }
}
