//! Admission of requests: how many at once, how far apart, and not before the site wants any.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use naru_worker_core::backoff::Backoff;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::{Instant, sleep_until};

use super::share::Share;

/// Longest time that a site can keep us from asking at all.
const LONGEST_HOLD: Duration = Duration::from_secs(600);
/// How long a site is left alone that wants it and does not say for how long, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The limits of one fetcher, for all its requests to one site.
pub(super) struct Budget {
    state: Mutex<State>,
    /// Woken when a request ends, and when the limits change.
    freed: Notify,
    changed: Notify,
    /// Start of the last request. Whoever holds it is the next to start.
    last_start: AsyncMutex<Instant>,
}

struct State {
    share: Share,
    under_way: u32,
    held_until: Instant,
    pauses: Backoff,
}

/// A request under way.
pub(crate) struct Permit<'a> {
    budget: &'a Budget,
}

impl Budget {
    /// Nothing may be asked until a share is set.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let share = Share {
            concurrent: 0,
            interval: None,
        };
        Self {
            state: Mutex::new(State {
                share,
                under_way: 0,
                held_until: now,
                pauses: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            }),
            freed: Notify::new(),
            changed: Notify::new(),
            // As if a request had just been made: a fetcher that restarts again and again stays within its rate.
            last_start: AsyncMutex::new(now),
        }
    }

    pub(super) fn set_share(&self, share: Share) {
        if std::mem::replace(&mut self.state().share, share) == share {
            return;
        }
        self.freed.notify_waiters();
        self.changed.notify_waiters();
    }

    /// No request of any page starts for `time`, as the site has asked; ten minutes at most.
    pub(super) fn hold(&self, time: Duration) {
        let until = Instant::now() + time.min(LONGEST_HOLD);
        let mut state = self.state();
        state.held_until = state.held_until.max(until);
        drop(state);
        self.changed.notify_waiters();
    }

    /// As [`Self::hold`], for a time that grows as long as the site refuses what is asked after it.
    pub(super) fn back_off(&self) {
        let time = {
            let mut state = self.state();
            // Those that were under way with the first that was refused say nothing new.
            if Instant::now() < state.held_until {
                return;
            }
            state.pauses.next_delay()
        };
        self.hold(time);
    }

    /// The site answers as it should.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        if Instant::now() >= state.held_until {
            state.pauses.reset();
        }
    }

    /// Waits until one more request may start. Safe to cancel.
    pub(super) async fn admit(&self) -> Permit<'_> {
        let permit = self.permit().await;
        let mut last_start = self.last_start.lock().await;
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let Some(start) = self.next_start(*last_start) else {
                changed.await;
                continue;
            };
            if start <= Instant::now() {
                *last_start = Instant::now();
                return permit;
            }
            tokio::select! {
                () = sleep_until(start) => {}
                () = changed => {}
            }
        }
    }

    /// Requests under way.
    pub(super) fn under_way(&self) -> u32 {
        self.state().under_way
    }

    async fn permit(&self) -> Permit<'_> {
        loop {
            let freed = self.freed.notified();
            let mut freed = std::pin::pin!(freed);
            freed.as_mut().enable();
            {
                let mut state = self.state();
                if state.under_way < state.share.concurrent {
                    state.under_way += 1;
                    return Permit { budget: self };
                }
            }
            freed.await;
        }
    }

    fn next_start(&self, last_start: Instant) -> Option<Instant> {
        let state = self.state();
        Some((last_start + state.share.interval?).max(state.held_until))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.budget.state().under_way -= 1;
        self.budget.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn share(concurrent: u32, interval: u64) -> Share {
        Share {
            concurrent,
            interval: Some(Duration::from_millis(interval)),
        }
    }

    /// Starts of `count` requests of 50 ms each, in ms since the beginning.
    async fn starts(budget: &Arc<Budget>, count: usize) -> Vec<u128> {
        let began = Instant::now();
        let tasks = (0..count).map(|_| {
            let budget = Arc::clone(budget);
            tokio::spawn(async move {
                let permit = budget.admit().await;
                let start = began.elapsed().as_millis();
                tokio::time::sleep(Duration::from_millis(50)).await;
                drop(permit);
                start
            })
        });
        let mut starts = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            starts.push(task.await.unwrap());
        }
        starts.sort_unstable();
        starts
    }

    #[tokio::test(start_paused = true)]
    async fn requests_start_one_interval_apart() {
        let budget = Arc::new(Budget::new());
        budget.set_share(share(10, 100));
        assert_eq!(starts(&budget, 4).await, [100, 200, 300, 400]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_requests_are_under_way_than_allowed() {
        let budget = Arc::new(Budget::new());
        budget.set_share(share(2, 1));
        assert_eq!(starts(&budget, 6).await, [1, 2, 51, 52, 101, 102]);
        assert_eq!(budget.under_way(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_share_counts_for_those_who_wait_already() {
        let budget = Arc::new(Budget::new());
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { starts(&budget, 3).await }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        budget.set_share(share(2, 1_000_000));
        tokio::time::sleep(Duration::from_millis(500)).await;
        budget.set_share(share(2, 10));
        assert_eq!(waiting.await.unwrap(), [1_000, 1_010, 1_050]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_site_that_refuses_again_and_again_is_left_alone_for_longer_and_longer() {
        let budget = Arc::new(Budget::new());
        budget.set_share(share(10, 1));
        for longest in [1_000, 2_000, 4_000] {
            for _ in 0..5 {
                budget.back_off();
            }
            budget.answered();
            let waited = starts(&budget, 1).await[0];
            assert!(
                (longest / 2..=longest).contains(&waited),
                "{waited} ms of {longest}"
            );
        }
        budget.answered();
        budget.back_off();
        assert!(starts(&budget, 1).await[0] <= 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_site_is_asked_nothing_for_ten_minutes_at_most() {
        let budget = Arc::new(Budget::new());
        budget.set_share(share(2, 10));
        budget.hold(Duration::from_secs(7));
        assert_eq!(starts(&budget, 1).await, [7_000]);
        budget.hold(Duration::from_secs(86_400));
        budget.hold(Duration::from_secs(1));
        assert_eq!(starts(&budget, 1).await, [600_000]);
    }
}
