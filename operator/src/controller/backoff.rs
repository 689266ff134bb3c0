//! How long after a failure a resource is looked at again.

use std::{collections::HashMap, sync::Mutex, time::Duration};

/// Delay after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(60);

/// Consecutive failures by resource. kube's error policy is told of failures only, so successes are told here.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<Key, u32>>);

/// Which resource: kind, namespace and name.
pub type Key = (&'static str, String, String);

impl Failures {
    /// Counts a failure. Returns the delay before the next try, with jitter.
    pub fn failed(&self, key: Key) -> Duration {
        let mut counts = self.counts();
        let count = counts.entry(key).or_default();
        *count = count.saturating_add(1);
        delay(*count).mul_f64(rand::random_range(0.75..1.25))
    }

    /// Forgets the failures of a resource: it is well, or gone.
    pub fn clear(&self, key: &Key) {
        self.counts().remove(key);
    }

    /// How often the resource has failed in a row.
    pub fn count(&self, key: &Key) -> u32 {
        self.counts().get(key).copied().unwrap_or(0)
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<Key, u32>> {
        // A panic elsewhere cannot leave a half-made count behind.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// 1 s, 2 s, 4 s, ... up to a minute.
fn delay(failures: u32) -> Duration {
    FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        ("ScrapeJob", "default".to_owned(), "joongna".to_owned())
    }

    #[test]
    fn the_delay_doubles_up_to_a_minute() {
        let seconds: Vec<_> = (1..=8).map(|failures| delay(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(delay(u32::MAX), LONGEST);
    }

    #[test]
    fn success_starts_over() {
        let failures = Failures::default();
        for _ in 0..5 {
            failures.failed(key());
        }
        assert_eq!(failures.count(&key()), 5);
        failures.clear(&key());
        assert!(failures.failed(key()) <= FIRST.mul_f64(1.25));
    }
}
