//! A client of Kafka's that is made anew when it has reached nobody for long.
//!
//! A broker that is alone and fenced says that there are no brokers. librdkafka then forgets all that it knows, its
//! bootstrap servers too, and never connects again (confluentinc/librdkafka#5301, since 2.12).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::error::KafkaResult;

/// How long a client may reach nobody. Longer than a broker takes to come back to a client that is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client, and how to make another.
pub(crate) struct Renewed<T> {
    make: Box<dyn Fn() -> KafkaResult<T> + Send + Sync>,
    current: Mutex<Current<T>>,
}

struct Current<T> {
    client: Arc<T>,
    /// Since when it has reached nobody.
    unanswered: Option<Instant>,
}

impl<T> Renewed<T> {
    pub(crate) fn new(make: impl Fn() -> KafkaResult<T> + Send + Sync + 'static) -> KafkaResult<Self> {
        let current = Current {
            client: Arc::new(make()?),
            unanswered: None,
        };
        Ok(Self {
            make: Box::new(make),
            current: Mutex::new(current),
        })
    }

    /// The client of now.
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.current().client)
    }

    /// Somebody has answered.
    pub(crate) fn answered(&self) {
        self.current().unanswered = None;
    }

    /// Nobody has. Returns the client that has given way to another, if it has: to drop it blocks.
    pub(crate) fn unanswered(&self, now: Instant) -> Option<Arc<T>> {
        let mut current = self.current();
        let since = *current.unanswered.get_or_insert(now);
        if now.saturating_duration_since(since) < PATIENCE {
            return None;
        }
        // The configuration was good for one: what is in the way passes.
        let another = (self.make)().ok()?;
        current.unanswered = None;
        Some(std::mem::replace(&mut current.client, Arc::new(another)))
    }

    fn current(&self) -> MutexGuard<'_, Current<T>> {
        // A panic elsewhere cannot leave a half-made client behind.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_client_that_reaches_nobody_for_half_a_minute_gives_way_to_another() {
        let made = AtomicU32::new(0);
        let clients = Renewed::new(move || Ok(made.fetch_add(1, Ordering::Relaxed))).unwrap();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        // (second, whether somebody answers, the client from then on)
        let asked = [
            (0, false, 0),
            (29, false, 0),
            (30, true, 0),
            (31, false, 0),
            (61, false, 1),
            (62, false, 1),
            (91, false, 1),
            (92, false, 2),
        ];
        for (second, answers, expected) in asked {
            match answers {
                true => clients.answered(),
                false => drop(clients.unanswered(at(second))),
            }
            assert_eq!(*clients.get(), expected, "after {second} s");
        }
    }
}
