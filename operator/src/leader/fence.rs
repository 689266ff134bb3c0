//! The fence: until when this process may change anything outside itself.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use snafu::Snafu;
use tokio::time::Instant;

use crate::controller;

/// The operator may not change anything: it does not lead, or may have ceased to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Snafu)]
#[snafu(display("this operator does not lead (any more), so it changes nothing"))]
pub struct NotLeader;

impl From<NotLeader> for controller::Error {
    /// As the reason for trying again. No status shows it: whoever does not lead writes none.
    fn from(error: NotLeader) -> Self {
        Self::dependency("NotLeader", error.to_string())
    }
}

/// Asked before every change. Cheap to clone; all clones fall together.
///
/// [`Fence::default`] never falls: for an operator that is alone, and for tests.
#[derive(Clone, Debug, Default)]
pub struct Fence(Option<Arc<Mutex<Term>>>);

/// How far the leadership of this process is. Only ever goes on: once over, it never comes back.
#[derive(Clone, Copy, Debug)]
enum Term {
    Ahead,
    Until(Instant),
    Over,
}

impl Fence {
    /// A fence that holds back everything until it is extended.
    pub fn closed() -> Self {
        Self(Some(Arc::new(Mutex::new(Term::Ahead))))
    }

    /// Whether a change may begin now.
    pub fn check(&self) -> Result<(), NotLeader> {
        self.until().map(|_| ())
    }

    /// How long a change that begins now may take: `longest`, or less if the fence falls before.
    pub fn within(&self, longest: Duration) -> Result<Duration, NotLeader> {
        let left = self.until()?.map(|end| end - Instant::now());
        Ok(left.map_or(longest, |left| left.min(longest)))
    }

    /// When the fence falls, if it ever does.
    fn until(&self) -> Result<Option<Instant>, NotLeader> {
        let Some(term) = &self.0 else { return Ok(None) };
        match *term.lock().unwrap_or_else(PoisonError::into_inner) {
            Term::Until(end) if Instant::now() < end => Ok(Some(end)),
            Term::Ahead | Term::Until(_) | Term::Over => Err(NotLeader),
        }
    }

    /// Allows changes until `end`. Comes too late if the fence has fallen already.
    pub(crate) fn extend(&self, end: Instant) -> Result<(), NotLeader> {
        let Some(term) = &self.0 else { return Ok(()) };
        let mut term = term.lock().unwrap_or_else(PoisonError::into_inner);
        let fallen = match *term {
            Term::Ahead => false,
            Term::Until(before) => Instant::now() >= before,
            Term::Over => true,
        };
        *term = if fallen { Term::Over } else { Term::Until(end) };
        if fallen { Err(NotLeader) } else { Ok(()) }
    }

    /// Ends all changes for good.
    pub(super) fn fall(&self) {
        if let Some(term) = &self.0 {
            *term.lock().unwrap_or_else(PoisonError::into_inner) = Term::Over;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_fence_stands_from_its_extension_to_its_end_and_never_again() {
        let fence = Fence::closed();
        assert_eq!(fence.check(), Err(NotLeader), "nobody leads before the election");
        let end = Instant::now() + SECOND;
        fence.extend(end).unwrap();
        assert_eq!(fence.within(2 * SECOND), Ok(SECOND));
        assert_eq!(fence.within(SECOND / 2), Ok(SECOND / 2));
        tokio::time::advance(SECOND / 2).await;
        fence.extend(end + SECOND).unwrap();
        tokio::time::advance(SECOND).await;
        assert_eq!(fence.check(), Ok(()), "it was extended in time");
        tokio::time::advance(SECOND).await;
        assert_eq!(fence.check(), Err(NotLeader));
        assert_eq!(fence.extend(Instant::now() + SECOND), Err(NotLeader), "too late");
        assert_eq!(fence.check(), Err(NotLeader));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fence_that_fell_holds_for_all_who_ask_it() {
        let fence = Fence::closed();
        let asked = fence.clone();
        fence.extend(Instant::now() + SECOND).unwrap();
        assert_eq!(asked.check(), Ok(()));
        fence.fall();
        assert_eq!(asked.check(), Err(NotLeader));
    }

    #[test]
    fn an_operator_that_is_alone_may_always_write() {
        let fence = Fence::default();
        fence.fall();
        assert_eq!(fence.within(SECOND), Ok(SECOND));
    }
}
