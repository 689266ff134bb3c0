//! Answers that change rarely, for a short while. Pure: the clock is handed in.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Answers that are remembered at once. More than that, and the ones that are too old are looked for.
const MANY: usize = 4096;

/// Answers by question. Only what is there is remembered, never that something is missing.
#[derive(Debug)]
pub(crate) struct Cache<K, V>(Mutex<HashMap<K, (Instant, V)>>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// The answer, unless it is too old for the freshness that is asked for, as of `now`.
    pub(crate) fn get(&self, question: &K, freshness: Freshness, now: Instant) -> Option<V> {
        let answers = self.answers();
        let (asked, answer) = answers.get(question)?;
        freshness.allows(*asked, now).then(|| answer.clone())
    }

    /// Remembers an answer to a question that was asked at this time.
    pub(crate) fn put(&self, question: K, answer: V, asked: Instant) {
        let mut answers = self.answers();
        if answers.len() >= MANY {
            answers.retain(|_, (then, _)| Freshness::Known.allows(*then, asked));
        }
        answers.insert(question, (asked, answer));
    }

    /// Forgets an answer: something was changed.
    pub(crate) fn forget(&self, question: &K) {
        self.answers().remove(question);
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<K, (Instant, V)>> {
        // A panic elsewhere cannot leave a half-made answer behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How old an answer may be.
///
/// An edit is to show at once, and what it refers to was looked at when the resource was last gone through: it does
/// with what is known. The next look that nobody is in a hurry for asks again. It comes with each resync, so that the
/// loss of what a resource needs shows after a resync whether somebody edits the resource or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As old as the last look of a resource that is looked at regularly: for edits.
    Known,
    /// A few seconds: for looks at what has not changed. Resources that share a dependency ask once for all.
    Recent,
    /// Asked for later than that: for what was just changed, and before something is refused. A pass that names its
    /// beginning asks once, and passes at the same time share what they ask for.
    Since(Instant),
}

impl Freshness {
    /// What a pass over a resource does with.
    pub fn of(generation: Option<i64>, observed: Option<i64>) -> Self {
        match observed {
            // What was there before the resource came may have gone with its predecessor.
            None => Self::now(),
            Some(_) if observed == generation => Self::Recent,
            Some(_) => Self::Known,
        }
    }

    /// Nothing that was asked for up to now will do.
    pub fn now() -> Self {
        Self::Since(Instant::now())
    }

    /// Whether an answer to a question that was put at `asked` will do at `now`.
    fn allows(self, asked: Instant, now: Instant) -> bool {
        let age = now.saturating_duration_since(asked);
        match self {
            // Two resyncs, as they are set unless somebody sets them.
            Self::Known => age < Duration::from_secs(60),
            Self::Recent => age < Duration::from_secs(20),
            Self::Since(then) => asked > then,
        }
    }

    /// Whether something that was not there at `asked` may be taken for missing at `now`. That is remembered for nobody
    /// but those who have waited for the answer.
    pub(crate) fn allows_missing(self, asked: Instant, now: Instant) -> bool {
        match self {
            Self::Known | Self::Recent => asked > now,
            Self::Since(then) => asked > then,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_for_a_while_and_for_longer_where_somebody_waits() {
        let (cache, start) = (Cache::default(), Instant::now());
        let get = |freshness, seconds| cache.get(&"items", freshness, start + Duration::from_secs(seconds));
        assert_eq!(get(Freshness::Known, 0), None);
        cache.put("items", 3, start);
        assert_eq!(get(Freshness::Recent, 19), Some(3));
        assert_eq!(get(Freshness::Recent, 20), None);
        assert_eq!(get(Freshness::Known, 59), Some(3));
        assert_eq!(get(Freshness::Known, 60), None);
        cache.forget(&"items");
        assert_eq!(get(Freshness::Known, 0), None);
    }

    #[test]
    fn an_answer_since_a_moment_is_one_to_a_later_question() {
        let (cache, start) = (Cache::default(), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        cache.put("items", 3, at(5));
        let since = |then| cache.get(&"items", Freshness::Since(at(then)), at(60_000));
        assert_eq!((since(4), since(5)), (Some(3), None));
    }

    #[test]
    fn what_was_missing_is_missing_to_those_who_began_before_the_question() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for (freshness, missing) in [
            (Freshness::Since(at(4)), true),
            (Freshness::Since(at(5)), false),
            (Freshness::Recent, false),
            (Freshness::Known, false),
        ] {
            assert_eq!(freshness.allows_missing(at(5), at(6)), missing, "{freshness:?}");
        }
        assert!(Freshness::Recent.allows_missing(at(5), at(4)));
    }

    #[test]
    fn what_is_too_old_does_not_pile_up() {
        let (cache, start) = (Cache::default(), Instant::now());
        for number in 0..10_000_u64 {
            cache.put(number, (), start + Duration::from_secs(number));
        }
        assert!(cache.answers().len() <= MANY);
    }

    #[test]
    fn an_edit_does_with_what_is_known_and_a_new_resource_does_not() {
        assert_eq!(Freshness::of(Some(2), Some(2)), Freshness::Recent);
        assert_eq!(Freshness::of(Some(2), Some(1)), Freshness::Known);
        let before = Instant::now();
        let Freshness::Since(then) = Freshness::of(Some(1), None) else {
            panic!("something older would do");
        };
        assert!(then >= before);
    }
}
