//! The thread that writes the input, until it is told to pause.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use naru_tests::filtered_sum::feed::Feed;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Most records of a transaction.
const BATCH: usize = 100;
/// Longest pause between two transactions, ms.
const PAUSE: u64 = 80;

/// Writes all the time from [`Feeding::resume`] to [`Feeding::pause`], also while brokers are away.
pub struct Feeding {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_wanted: bool,
    is_writing: bool,
    is_over: bool,
    committed: u64,
    last: Option<String>,
}

impl Feeding {
    pub fn new(mut feed: Feed, partitions: i32, seed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let mut random = StdRng::seed_from_u64(seed);
        let partitions = (0..partitions).collect::<Vec<_>>();
        let thread = std::thread::spawn(move || {
            while theirs.may_write() {
                let mut result = feed.try_batch(&partitions, random.random_range(1..BATCH));
                while let Err(error) = result {
                    if theirs.has_failed(&error.to_string()) {
                        return;
                    }
                    // A transaction that is under way is completed or aborted by this.
                    result = feed.reopen().map(|()| 0);
                }
                theirs.lock().committed += result.unwrap_or_default() as u64;
                theirs.pause(Duration::from_millis(random.random_range(0..PAUSE)));
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    pub fn resume(&self) {
        let mut state = self.shared.lock();
        state.is_wanted = true;
        self.shared.changed.notify_all();
    }

    /// See [`Self::is_writing`].
    pub fn pause(&self) {
        self.shared.lock().is_wanted = false;
        self.shared.changed.notify_all();
    }

    /// Whether a transaction is under way.
    pub fn is_writing(&self) -> bool {
        self.shared.lock().is_writing
    }

    /// How many records are committed at least: of some it is not known.
    pub fn committed(&self) -> u64 {
        self.shared.lock().committed
    }

    /// What writing failed with the last time.
    pub fn last_error(&self) -> Option<String> {
        self.shared.lock().last.clone()
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is to be another transaction; false: never again.
    fn may_write(&self) -> bool {
        let mut state = self.lock();
        state.is_writing = false;
        let waits = |state: &mut State| !state.is_wanted && !state.is_over;
        let mut state = self
            .changed
            .wait_while(state, waits)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_writing = !state.is_over;
        state.is_writing
    }

    /// Whether there is no use in trying again.
    fn has_failed(&self, error: &str) -> bool {
        let mut state = self.lock();
        state.last = Some(error.to_owned());
        state.is_over
    }

    fn pause(&self, time: Duration) {
        let mut state = self.lock();
        state.is_writing = false;
        let waits = |state: &mut State| state.is_wanted && !state.is_over;
        drop(self.changed.wait_timeout_while(state, time, waits));
    }
}
