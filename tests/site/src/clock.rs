//! Time since the start of a site, which tests can hold in their hands.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What the age of a site is read from. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Started(Instant),
    Millis(Arc<AtomicU64>),
}

impl Clock {
    /// Runs from now on.
    pub fn started() -> Self {
        Self(Source::Started(Instant::now()))
    }

    /// Stands at 0 until `advance` is called.
    pub fn manual() -> Self {
        Self(Source::Millis(Arc::default()))
    }

    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Source::Started(start) => start.elapsed(),
            Source::Millis(millis) => Duration::from_millis(millis.load(Ordering::Relaxed)),
        }
    }

    /// Moves a manual clock on; a running one goes its own way.
    pub fn advance(&self, by: Duration) {
        if let Source::Millis(millis) = &self.0 {
            millis.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
        }
    }
}
