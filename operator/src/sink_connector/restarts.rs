//! How often failed tasks are restarted. Connect keeps no count.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Time between the first restart and the second.
const FIRST: Duration = Duration::from_secs(10);
/// The longest time between two restarts.
const LONGEST: Duration = Duration::from_secs(300);
/// A task that has run for so long since its restart fails for another reason.
const FORGET: Duration = Duration::from_secs(900);

/// The restarts of each connector. A task that fails soon after each restart shows as running in between, so that
/// only time, and not a good look, makes up for a restart.
#[derive(Debug, Default)]
pub struct Restarts(Mutex<BTreeMap<String, Restarted>>);

#[derive(Clone, Copy, Debug)]
struct Restarted {
    times: u32,
    last: Instant,
}

impl Restarts {
    /// Whether the connector's failed tasks may be restarted now.
    pub(super) fn due(&self, connector: &str, now: Instant) -> bool {
        self.entries()
            .get(connector)
            .is_none_or(|Restarted { times, last }| now.saturating_duration_since(*last) >= delay(*times))
    }

    /// Remembers a restart.
    pub(super) fn restarted(&self, connector: &str, now: Instant) {
        let mut entries = self.entries();
        let before = entries
            .get(connector)
            .filter(|before| now.saturating_duration_since(before.last) < FORGET);
        let times = before.map_or(0, |before| before.times).saturating_add(1);
        entries.insert(connector.to_owned(), Restarted { times, last: now });
    }

    /// The connector is gone.
    pub(super) fn forget(&self, connector: &str) {
        self.entries().remove(connector);
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Restarted>> {
        // A panic elsewhere cannot leave a half-made entry behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 10 s, 20 s, 40 s, ... up to five minutes.
fn delay(times: u32) -> Duration {
    FIRST
        .saturating_mul(1 << times.saturating_sub(1).min(16))
        .min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_become_rarer_until_the_connector_has_run_for_long() {
        let restarts = Restarts::default();
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let mut at = Vec::new();
        for second in 0..1200 {
            if restarts.due("shop.items", after(second)) {
                restarts.restarted("shop.items", after(second));
                at.push(second);
            }
        }
        assert_eq!(at, [0, 10, 30, 70, 150, 310, 610, 910]);
        assert!(restarts.due("shop.other", after(0)));

        let later = after(910) + FORGET;
        restarts.restarted("shop.items", later);
        assert!(restarts.due("shop.items", later + FIRST));
        restarts.forget("shop.items");
        assert!(restarts.due("shop.items", later));
    }
}
