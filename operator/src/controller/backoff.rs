//! How long after a failure a resource is looked at again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Delay after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(60);
/// What was not tried for so long after it was due is gone.
const FORGET: Duration = Duration::from_secs(600);

/// Consecutive failures by resource. kube's error policy is told of failures only, so successes are told here.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<Key, Failing>>);

/// Which resource: kind, namespace and name.
pub type Key = (&'static str, String, String);

/// Which spec of it: uid and generation. Another spec starts over.
pub type Version = (Option<String>, Option<i64>);

#[derive(Clone, Debug)]
struct Failing {
    version: Version,
    times: u32,
    /// The first of these failures.
    since: Instant,
    /// When it is to be tried again.
    due: Instant,
}

impl Failures {
    /// Counts a failure. Returns how often the resource has failed in a row, and the delay before the next try, with
    /// jitter.
    ///
    /// A pass that something else caused, such as the status that the failure itself left behind, does not make the
    /// delay longer: a failure before the next try was due is the same failure.
    pub fn failed(&self, key: Key, version: Version, now: Instant) -> (u32, Duration) {
        let mut failing = self.failing();
        let before = failing.get(&key).filter(|before| before.version == version);
        if let Some(before) = before.filter(|before| now < before.due) {
            return (before.times, before.due - now);
        }
        let times = before.map_or(0, |before| before.times).saturating_add(1);
        let since = before.map_or(now, |before| before.since);
        let delay = delay(times).mul_f64(rand::random_range(0.75..1.25));
        failing.retain(|_, old| now.saturating_duration_since(old.due) < FORGET);
        failing.insert(
            key,
            Failing {
                version,
                times,
                since,
                due: now + delay,
            },
        );
        (times, delay)
    }

    /// For how long all passes over the resource have failed. None: the last one did not.
    pub fn failing_for(&self, key: &Key, version: &Version, now: Instant) -> Option<Duration> {
        let failing = self.failing();
        let failing = failing.get(key).filter(|failing| failing.version == *version)?;
        Some(now.saturating_duration_since(failing.since))
    }

    /// Forgets the failures of a resource: it is well, or gone.
    pub fn clear(&self, key: &Key) {
        self.failing().remove(key);
    }

    fn failing(&self) -> MutexGuard<'_, HashMap<Key, Failing>> {
        // A panic elsewhere cannot leave a half-made count behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn version(generation: i64) -> Version {
        (Some("0001".to_owned()), Some(generation))
    }

    #[test]
    fn an_edit_starts_over() {
        let failures = Failures::default();
        let mut now = Instant::now();
        for _ in 0..5 {
            now += failures.failed(key(), version(1), now).1;
        }
        assert_eq!(failures.failed(key(), version(2), now).0, 1);
    }

    #[test]
    fn the_delay_doubles_up_to_a_minute() {
        let seconds: Vec<_> = (1..=8).map(|failures| delay(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(delay(u32::MAX), LONGEST);
    }

    #[test]
    fn only_a_failure_that_was_due_counts() {
        let failures = Failures::default();
        let start = Instant::now();
        let (_, first) = failures.failed(key(), version(1), start);
        let (times, rest) = failures.failed(key(), version(1), start + first / 2);
        assert_eq!((times, rest), (1, first - first / 2));
        assert_eq!(failures.failed(key(), version(1), start + first).0, 2);
    }

    #[test]
    fn the_time_of_failures_begins_with_the_first_one() {
        let failures = Failures::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(failures.failing_for(&key(), &version(1), start), None);
        for second in [0, 10, 100] {
            failures.failed(key(), version(1), after(second));
        }
        let failing_for = |generation| failures.failing_for(&key(), &version(generation), after(110));
        assert_eq!(failing_for(1), Some(Duration::from_secs(110)));
        assert_eq!(failing_for(2), None);
        failures.failed(key(), version(2), after(105));
        assert_eq!(failing_for(2), Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_resource_that_went_while_it_failed_is_forgotten() {
        let failures = Failures::default();
        let start = Instant::now();
        let gone = ("ScrapeJob", "default".to_owned(), "gone".to_owned());
        failures.failed(gone.clone(), version(1), start);
        failures.failed(key(), version(1), start + FORGET / 2);
        assert!(failures.failing_for(&gone, &version(1), start).is_some());
        failures.failed(key(), version(1), start + FORGET + 2 * FIRST);
        assert!(failures.failing_for(&gone, &version(1), start).is_none());
        assert!(failures.failing_for(&key(), &version(1), start).is_some());
    }

    #[test]
    fn success_starts_over() {
        let failures = Failures::default();
        let mut now = Instant::now();
        for expected in 1..=5 {
            let (times, delay) = failures.failed(key(), version(1), now);
            assert_eq!(times, expected);
            now += delay;
        }
        failures.clear(&key());
        assert_eq!(failures.failed(key(), version(1), now).0, 1);
    }
}
