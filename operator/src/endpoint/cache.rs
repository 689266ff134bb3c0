//! Answers that change rarely, for a short while. Pure: the clock is handed in.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Answers that are remembered at once. More than that, and the ones that are too old are looked for.
const MANY: usize = 256;

/// Answers by question. Only what is there is remembered, never that something is missing.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    lifetime: Duration,
    answers: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            answers: Mutex::default(),
        }
    }

    /// The answer, unless it is too old for the freshness that is asked for.
    pub(crate) fn get(&self, question: &K, freshness: Freshness, now: Instant) -> Option<V> {
        let answers = self.answers();
        let (asked, answer) = answers.get(question)?;
        let recent = now.saturating_duration_since(*asked) < self.lifetime;
        (recent && freshness == Freshness::Recent).then(|| answer.clone())
    }

    /// Remembers an answer to a question that was asked at this time.
    pub(crate) fn put(&self, question: K, answer: V, asked: Instant) {
        let mut answers = self.answers();
        if answers.len() >= MANY {
            answers.retain(|_, (then, _)| asked.saturating_duration_since(*then) < self.lifetime);
        }
        answers.insert(question, (asked, answer));
    }

    /// Forgets an answer: something was changed.
    pub(crate) fn forget(&self, question: &K) {
        self.answers().remove(question);
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<K, (Instant, V)>> {
        // A panic elsewhere cannot leave a half-made answer behind.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A few seconds: for looks at what has not changed.
    Recent,
    /// Not older than the question: for a spec that nobody has looked at yet.
    Now,
}

impl Freshness {
    /// An edit is compared with what is true now.
    pub fn of(generation: Option<i64>, observed: Option<i64>) -> Self {
        if generation.is_some() && generation == observed {
            Self::Recent
        } else {
            Self::Now
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_for_a_while_and_not_for_an_edit() {
        let (cache, start) = (Cache::new(Duration::from_secs(20)), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(cache.get(&"items", Freshness::Recent, start), None);
        cache.put("items", 3, start);
        assert_eq!(cache.get(&"items", Freshness::Recent, after(19)), Some(3));
        assert_eq!(cache.get(&"items", Freshness::Recent, after(20)), None);
        assert_eq!(cache.get(&"items", Freshness::Now, start), None);
        cache.forget(&"items");
        assert_eq!(cache.get(&"items", Freshness::Recent, start), None);
    }

    #[test]
    fn what_is_too_old_does_not_pile_up() {
        let (cache, start) = (Cache::new(Duration::from_secs(20)), Instant::now());
        for number in 0..10_000_u64 {
            cache.put(number, (), start + Duration::from_secs(number));
        }
        assert!(cache.answers().len() <= MANY);
    }

    #[test]
    fn only_a_generation_that_was_looked_at_does_with_recent_answers() {
        assert_eq!(Freshness::of(Some(2), Some(2)), Freshness::Recent);
        assert_eq!(Freshness::of(Some(2), Some(1)), Freshness::Now);
        assert_eq!(Freshness::of(Some(1), None), Freshness::Now);
        assert_eq!(Freshness::of(None, None), Freshness::Now);
    }
}
