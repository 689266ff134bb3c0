//! Whether the process works, and whether it is stuck.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A worker's thread that has not beaten for this long is stuck in a call that will not return.
const STUCK: Duration = Duration::from_secs(60);

/// Set by the worker, read by the admin server. Clones share one state.
#[derive(Clone, Debug)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    last_beat: Instant,
    waiting_for: Option<String>,
    /// What is not yet as it will be, although it works; empty if nothing.
    but: String,
}

impl Default for Health {
    fn default() -> Self {
        let waiting_for = Some("the worker to start".to_owned());
        Self {
            state: Arc::new(Mutex::new(State {
                last_beat: Instant::now(),
                waiting_for,
                but: String::new(),
            })),
        }
    }
}

impl Health {
    /// The worker's thread is alive. To be called at least every few seconds.
    pub fn beat(&self) {
        self.with(|state| state.last_beat = Instant::now());
    }

    /// The worker works; being without partitions because others have them all counts as work.
    pub fn ready(&self) {
        self.ready_but("");
    }

    /// The worker works, and something is not yet as it will be: `what` is a clause, or empty if all is.
    pub fn ready_but(&self, what: impl Into<String>) {
        let what = what.into();
        self.with(|state| {
            state.waiting_for = None;
            state.but = what;
        });
    }

    /// The worker cannot work until `what`: a clause such as "a partition is assigned".
    pub fn waiting_for(&self, what: impl Into<String>) {
        let what = what.into();
        self.with(|state| state.waiting_for = Some(what));
    }

    pub(super) fn stuck_for(&self, now: Instant) -> Option<Duration> {
        let silence = self.with(|state| now.saturating_duration_since(state.last_beat));
        (silence > STUCK).then_some(silence)
    }

    /// What it waits for; none if it works.
    pub fn what_is_missing(&self) -> Option<String> {
        self.with(|state| state.waiting_for.clone())
    }

    /// See [`Self::ready_but`].
    pub(super) fn but(&self) -> Option<String> {
        self.with(|state| Some(state.but.clone()).filter(|but| !but.is_empty()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_does_not_beat_for_a_minute_is_stuck() {
        let health = Health::default();
        health.beat();
        assert_eq!(health.stuck_for(Instant::now()), None);
        assert!(
            health
                .stuck_for(Instant::now() + Duration::from_secs(61))
                .is_some()
        );
    }

    #[test]
    fn a_worker_is_not_ready_until_it_says_so() {
        let health = Health::default();
        assert!(health.what_is_missing().is_some());
        health.ready();
        assert_eq!(health.what_is_missing(), None);
        health.waiting_for("the registry answers");
        assert_eq!(health.what_is_missing().as_deref(), Some("the registry answers"));
    }

    #[test]
    fn a_worker_that_is_ready_may_say_what_is_not_yet_as_it_will_be() {
        let health = Health::default();
        health.ready_but("half is done");
        assert_eq!(
            (health.what_is_missing(), health.but().as_deref()),
            (None, Some("half is done"))
        );
        health.ready();
        assert_eq!((health.what_is_missing(), health.but()), (None, None));
    }
}
