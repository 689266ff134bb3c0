//! What a running site knows: its catalog, its age, and what was done to it.

use std::{
    ops::RangeInclusive,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{Catalog, Clock, Config, catalog::Entry, faults::Faults, request_log::RequestLog};

/// Requests that the log keeps.
const LOG_CAPACITY: usize = 50_000;

pub(crate) struct Site {
    pub(crate) config: Config,
    pub(crate) catalog: Catalog,
    clock: Clock,
    /// Ids released by hand.
    released: AtomicU64,
    log: Mutex<RequestLog>,
    faults: Mutex<Faults>,
}

impl Site {
    pub(crate) fn new(config: Config, clock: Clock) -> Self {
        Self {
            config,
            catalog: Catalog::new(config.seed),
            clock,
            released: AtomicU64::new(0),
            log: Mutex::new(RequestLog::new(LOG_CAPACITY)),
            faults: Mutex::new(Faults::new(config.seed)),
        }
    }

    /// All ids that exist now, holes among them; none before the first.
    pub(crate) fn ids(&self) -> Option<RangeInclusive<u64>> {
        let released = self.released.load(Ordering::Relaxed);
        let newest = self.config.growth().newest_id(self.clock.elapsed(), released)?;
        Some(self.config.first_id..=newest)
    }

    /// The newest id that is a product.
    pub(crate) fn head(&self) -> Option<u64> {
        self.catalog.newest_product(self.ids()?)
    }

    /// What stands at an id now; ids beyond the newest are missing.
    pub(crate) fn entry(&self, id: u64) -> Entry {
        match self.ids() {
            Some(ids) if ids.contains(&id) => self.catalog.entry(id),
            _ => Entry::Missing,
        }
    }

    /// Makes ids appear at once, and answers how many were released so far.
    pub(crate) fn release(&self, count: u64) -> u64 {
        self.released.fetch_add(count, Ordering::Relaxed) + count
    }

    /// Milliseconds since the start.
    pub(crate) fn millis(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, RequestLog> {
        self.log.lock().expect("nothing panics while it holds the log")
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults
            .lock()
            .expect("nothing panics while it holds the faults")
    }
}
