//! Growing delays between attempts.

use std::time::Duration;

/// Delays that double from `first` up to `max`, each shortened by a random part of up to a half, so that many
/// clients that failed together do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            attempts: 0,
        }
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let factor = 2_u32.saturating_pow(self.attempts.min(31));
        self.attempts = self.attempts.saturating_add(1);
        let longest = self.first.saturating_mul(factor).min(self.max);
        longest.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// To be called after a success.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_and_lose_at_most_a_half() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for longest in [100, 200, 400, 800, 1000, 1000] {
            let longest = Duration::from_millis(longest);
            let delay = backoff.next_delay();
            assert!(
                delay <= longest && delay >= longest / 2,
                "{delay:?} for {longest:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }

    #[test]
    fn no_number_of_attempts_overflows() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for _ in 0..100 {
            assert!(backoff.next_delay() <= Duration::from_secs(30));
        }
    }
}
