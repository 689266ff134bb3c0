//! The most of what was wanted within a window, in little memory.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What was wanted before. Only what can still be the most within the window is kept, which are few numbers however long
/// the window is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The first of the looks without a longer gap, and the last.
    looks: Option<(Instant, Instant)>,
    /// Each is less than the one before, and was wanted later.
    falling: VecDeque<(Instant, i32)>,
}

impl Wanted {
    /// Remembers what is wanted now. A gap of up to a window counts as what was seen around it, and after a longer one
    /// the window begins anew.
    pub(crate) fn remember(&mut self, window: Duration, at: Instant, wanted: i32) {
        let age = |then: Instant| at.saturating_duration_since(then);
        let first = match self.looks {
            Some((first, last)) if age(last) <= window => first,
            _ => {
                self.falling.clear();
                at
            }
        };
        self.looks = Some((first, at));
        while self.falling.back().is_some_and(|(_, before)| *before <= wanted) {
            self.falling.pop_back();
        }
        self.falling.push_back((at, wanted));
        while self.falling.front().is_some_and(|(then, _)| age(*then) > window) {
            self.falling.pop_front();
        }
    }

    /// The most that was wanted within the window that ends now. None if the looks do not reach back that far.
    pub(crate) fn most(&self, window: Duration, now: Instant) -> Option<i32> {
        let age = |at: Instant| now.saturating_duration_since(at);
        let (first, _) = self.looks?;
        if age(first) < window {
            return None;
        }
        let (_, most) = self.falling.iter().find(|(at, _)| age(*at) <= window)?;
        Some(*most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_does_not_grow_with_the_window_and_is_what_all_looks_would_say() {
        let window = Duration::from_secs(3600);
        let (mut wanted, mut all, start) = (Wanted::default(), Vec::new(), Instant::now());
        // Any numbers will do.
        let mut number: u64 = 1;
        for look in 0..3000 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = start + Duration::from_secs(5 * look);
            let now = i32::try_from((number >> 33) % 20).unwrap();
            wanted.remember(window, at, now);
            all.push((at, now));
            let within = all.iter().filter(|(then, _)| at - *then <= window);
            let expected = within
                .map(|(_, wanted)| *wanted)
                .max()
                .filter(|_| at - start >= window);
            assert_eq!(wanted.most(window, at), expected, "look {look}");
            assert!(wanted.falling.len() <= 20, "{}", wanted.falling.len());
        }
    }
}
