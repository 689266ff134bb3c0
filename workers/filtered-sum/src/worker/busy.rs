//! How much of its time the worker works on records rather than waits for them. Pure: the clock is handed in.

use std::time::{Duration, Instant};

/// A part of the time that is long enough to go by.
const WINDOW: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Busy {
    since: Instant,
    /// How long the consumer had waited at that time, in all.
    waited: Duration,
    /// Spent on commits since then. They come with the interval, not with the records: a worker that has little to do
    /// would seem to have no room for more.
    committing: Duration,
    ratio: Option<f64>,
}

impl Busy {
    /// From `now` on, of a consumer that has not waited yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            waited: Duration::ZERO,
            committing: Duration::ZERO,
            ratio: None,
        }
    }

    pub(super) fn committed(&mut self, took: Duration) {
        self.committing += took;
    }

    /// The consumer has waited this long in all. Says how busy the worker was, 0 to 1, when that is known anew.
    pub(super) fn look(&mut self, waited: Duration, now: Instant) -> Option<f64> {
        let time = now.saturating_duration_since(self.since);
        if time < WINDOW {
            return None;
        }
        let counted = time.saturating_sub(self.committing).as_secs_f64();
        let waiting = waited.saturating_sub(self.waited).as_secs_f64();
        // A window of nothing but commits says nothing.
        let busy = (counted > 0.0).then(|| (1.0 - waiting / counted).clamp(0.0, 1.0));
        *self = Self {
            since: now,
            waited,
            committing: Duration::ZERO,
            ratio: busy,
        };
        busy
    }

    /// What the last look has found, to three digits.
    pub(super) fn ratio(&self) -> Option<f64> {
        self.ratio.map(|ratio| (ratio * 1000.0).round() / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_part_of_the_time_in_which_it_neither_waits_nor_commits() {
        let start = Instant::now();
        let seconds = Duration::from_secs;
        let mut busy = Busy::new(start);
        assert_eq!(busy.look(seconds(1), start + seconds(4)), None);
        assert_eq!(busy.ratio(), None);
        // Ten seconds, of which two for commits and six for waiting: a quarter of the rest is work.
        busy.committed(seconds(2));
        assert_eq!(busy.look(seconds(6), start + seconds(10)), Some(0.25));
        // It has waited no longer since.
        assert_eq!(busy.look(seconds(6), start + seconds(15)), Some(1.0));
        assert_eq!(busy.ratio(), Some(1.0));
        busy.committed(seconds(5));
        assert_eq!(busy.look(seconds(6), start + seconds(20)), None);
        assert_eq!(busy.ratio(), None);
    }
}
