//! How often something that may not help is done again: a restart of failed tasks, the repair of what somebody keeps
//! changing.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Time between the first time and the second.
const FIRST: Duration = Duration::from_secs(10);
/// The longest time between two.
const LONGEST: Duration = Duration::from_secs(300);
/// What was well for so long has another cause when it is not.
const FORGET: Duration = Duration::from_secs(900);

/// The times at which something was done, by what it was done to. What fails soon after each restart shows as well in
/// between, so that only time, and not a good look, makes up for one.
#[derive(Debug, Default)]
pub struct Pace(Mutex<BTreeMap<String, Done>>);

#[derive(Clone, Copy, Debug)]
struct Done {
    times: u32,
    last: Instant,
}

impl Pace {
    /// Whether it may be done now.
    pub fn due(&self, what: &str, now: Instant) -> bool {
        self.entries()
            .get(what)
            .is_none_or(|Done { times, last }| now.saturating_duration_since(*last) >= delay(*times))
    }

    /// Remembers that it was done.
    pub fn done(&self, what: &str, now: Instant) {
        let mut entries = self.entries();
        entries.retain(|_, before| now.saturating_duration_since(before.last) < FORGET);
        let times = entries
            .get(what)
            .map_or(0, |before| before.times)
            .saturating_add(1);
        entries.insert(what.to_owned(), Done { times, last: now });
    }

    /// What it was done to is gone.
    pub fn forget(&self, what: &str) {
        self.entries().remove(what);
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Done>> {
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
    fn it_is_done_more_rarely_until_all_was_well_for_long() {
        let pace = Pace::default();
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let mut at = Vec::new();
        for second in 0..1200 {
            if pace.due("shop.items", after(second)) {
                pace.done("shop.items", after(second));
                at.push(second);
            }
        }
        assert_eq!(at, [0, 10, 30, 70, 150, 310, 610, 910]);
        assert!(pace.due("shop.other", after(0)));

        let later = after(910) + FORGET;
        pace.done("shop.items", later);
        assert!(pace.due("shop.items", later + FIRST));
        pace.forget("shop.items");
        assert!(pace.due("shop.items", later));
    }
}
