//! How often something that may not help is done again: a restart of failed tasks, the repair of what somebody keeps
//! changing.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What was well for so long has another cause when it is not.
const FORGET: Duration = Duration::from_secs(900);

/// The times at which something was done, by what it was done to. What fails soon after each restart shows as well in
/// between, so that only time, and not a good look, makes up for one.
#[derive(Debug, Default)]
pub struct Pace(Mutex<BTreeMap<String, Done>>);

#[derive(Clone, Copy, Debug)]
struct Done {
    /// Since when it is to be done for the first time.
    since: Instant,
    times: u32,
    last: Option<Instant>,
}

impl Done {
    fn never(now: Instant) -> Self {
        Self {
            since: now,
            times: 0,
            last: None,
        }
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        self.last
            .is_some_and(|last| now.saturating_duration_since(last) >= FORGET)
    }
}

impl Pace {
    /// How long it is until it may be done: `delay` after it was done so many times, or after it was first asked for.
    pub fn wait(&self, what: &str, delay: impl Fn(u32) -> Duration, now: Instant) -> Duration {
        let mut entries = self.entries();
        let done = entries.entry(what.to_owned()).or_insert_with(|| Done::never(now));
        if done.is_forgotten(now) {
            *done = Done::never(now);
        }
        let since = done.last.unwrap_or(done.since);
        (since + delay(done.times)).saturating_duration_since(now)
    }

    /// Whether a repair may be done now: at once, and then after 10 s, 20 s, 40 s, ... up to five minutes.
    pub fn due(&self, what: &str, now: Instant) -> bool {
        let delay = |times| match times {
            0 => Duration::ZERO,
            times => doubled(10, times - 1, 300),
        };
        self.wait(what, delay, now).is_zero()
    }

    /// Remembers that it was done.
    pub fn done(&self, what: &str, now: Instant) {
        let mut entries = self.entries();
        entries.retain(|_, before| !before.is_forgotten(now));
        let done = entries.entry(what.to_owned()).or_insert_with(|| Done::never(now));
        done.times = done.times.saturating_add(1);
        done.last = Some(now);
    }

    /// There is nothing to do. What was done is only forgotten with time.
    pub fn well(&self, what: &str) {
        let mut entries = self.entries();
        if entries.get(what).is_some_and(|done| done.last.is_none()) {
            entries.remove(what);
        }
    }

    /// Starts over: what it was done to is gone, or another one.
    pub fn forget(&self, what: &str) {
        self.entries().remove(what);
    }

    /// Forgets what it was done to and is gone.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.entries().retain(|what, _| is_there(what));
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Done>> {
        // A panic elsewhere cannot leave a half-made entry behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many seconds, doubled so often, but not more than the longest.
pub fn doubled(first: u64, doublings: u32, longest: u64) -> Duration {
    let seconds = first.saturating_mul(1 << doublings.min(16));
    Duration::from_secs(seconds.min(longest))
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
        assert!(pace.due("shop.items", later + Duration::from_secs(10)));
        pace.forget("shop.items");
        assert!(pace.due("shop.items", later));
    }

    #[test]
    fn only_time_or_a_new_start_makes_up_for_what_was_done() {
        let (pace, start) = (Pace::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let wait = |seconds| {
            let delay = |times| Duration::from_secs(5 * u64::from(times));
            pace.wait("shop.items", delay, after(seconds)).as_secs()
        };
        pace.done("shop.items", after(0));
        pace.well("shop.items");
        assert_eq!(wait(1), 4);
        pace.done("shop.items", after(5));
        assert_eq!(wait(6), 9);
        assert_eq!(wait(5 + FORGET.as_secs()), 0);
        pace.done("shop.items", after(2000));
        pace.forget("shop.items");
        assert_eq!(wait(2001), 0);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let (pace, now) = (Pace::default(), Instant::now());
        for what in ["shop.here", "shop.gone"] {
            pace.done(what, now);
        }
        pace.retain(|what| what == "shop.here");
        assert!(!pace.due("shop.here", now));
        assert!(pace.due("shop.gone", now));
        pace.done("shop.other", now + FORGET);
        assert!(!pace.entries().contains_key("shop.here"));
    }
}
