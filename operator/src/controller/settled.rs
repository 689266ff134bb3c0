//! Resources with which nothing was left to be done when they were last looked at. A pass that sees the same again need
//! not find that out again: what it would do follows from what it sees.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most resources that are remembered. The others are gone through in each pass.
const MOST: usize = 20_000;

/// What a pass over a resource goes by, beside the operator's own settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Hash of the resource: what is declared, and what we have said of it.
    pub object: u64,
    /// Resource versions of what it owns.
    pub children: Vec<u64>,
    /// Most workers that there can be.
    pub most: Option<i32>,
}

/// What was seen when nothing was left to do, by uid.
#[derive(Debug, Default)]
pub struct Settled {
    seen: Mutex<HashMap<String, Sight>>,
    /// Passes that had nothing to find out.
    #[cfg(test)]
    pub(crate) spared: std::sync::atomic::AtomicUsize,
}

impl Settled {
    /// Whether nothing was left to do when the same was seen.
    pub fn is(&self, uid: Option<&str>, sight: &Sight) -> bool {
        let is = uid.is_some_and(|uid| self.seen().get(uid) == Some(sight));
        #[cfg(test)]
        self.spared
            .fetch_add(usize::from(is), std::sync::atomic::Ordering::Relaxed);
        is
    }

    /// Nothing is left to do for a pass that sees this.
    pub fn remember(&self, uid: Option<String>, sight: Sight) {
        let Some(uid) = uid else { return };
        let mut seen = self.seen();
        if seen.len() >= MOST {
            seen.clear();
        }
        seen.insert(uid, sight);
    }

    /// The resource is gone.
    pub fn forget(&self, uid: Option<&str>) {
        uid.and_then(|uid| self.seen().remove(uid));
    }

    /// What is remembered of a resource.
    #[cfg(test)]
    pub(crate) fn of(&self, uid: &str) -> Option<Sight> {
        self.seen().get(uid).cloned()
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<String, Sight>> {
        // A panic elsewhere cannot leave a half-made entry behind.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_is_settled_and_only_as_long_as_the_resource_is_there() {
        let settled = Settled::default();
        let sight = Sight {
            object: 7,
            children: vec![1, 2],
            most: Some(3),
        };
        assert!(!settled.is(Some("a"), &sight));
        settled.remember(Some("a".to_owned()), sight.clone());
        assert!(settled.is(Some("a"), &sight));
        assert!(!settled.is(Some("b"), &sight) && !settled.is(None, &sight));
        let others = [
            Sight {
                object: 8,
                ..sight.clone()
            },
            Sight {
                children: vec![1, 3],
                ..sight.clone()
            },
            Sight {
                children: vec![1],
                ..sight.clone()
            },
            Sight {
                most: Some(2),
                ..sight.clone()
            },
        ];
        assert!(others.iter().all(|other| !settled.is(Some("a"), other)));
        settled.forget(Some("a"));
        assert!(!settled.is(Some("a"), &sight));
    }

    #[test]
    fn what_is_remembered_does_not_pile_up() {
        let settled = Settled::default();
        (0..=MOST).for_each(|uid| settled.remember(Some(uid.to_string()), Sight::default()));
        assert_eq!(settled.seen().len(), 1);
    }
}
