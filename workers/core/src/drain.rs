//! The end of a worker: one deadline for all that remains to be done once it is told to end.
//!
//! Each step has a bound of its own and takes no more than what is left, so that a step that hangs does not keep the
//! next ones from being tried, and the process ends before it is killed.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Time in which a worker ends. Less than what the process waits for it, which is less than what Kubernetes waits for
/// the process.
pub(crate) const WITHIN: Duration = Duration::from_secs(22);

/// Something that takes its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Its bound at all times.
    pub(crate) longest: Duration,
    /// What it leaves of the drain to the steps after it.
    pub(crate) leaves: Duration,
}

/// What has not begun to work has nothing to finish: it is given up soon.
pub(crate) const OPEN: Step = step(20, 19);
/// Shorter than `max.poll.interval.ms`, because it runs on the polling thread.
pub(crate) const COMMIT: Step = step(20, 10);
pub(crate) const ABORT: Step = step(10, 7);
pub(crate) const LEAVE: Step = step(5, 4);
pub(crate) const CLOSE: Step = step(10, 0);

const fn step(longest: u64, leaves: u64) -> Step {
    Step {
        longest: Duration::from_secs(longest),
        leaves: Duration::from_secs(leaves),
    }
}

/// Whether the process is to end, and when it must have. Clones share one state; the default one never begins.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<OnceLock<Instant>>);

impl Drain {
    /// From now on all must be over `within` that time. Counts once.
    pub fn begin(&self, within: Duration) {
        self.0.get_or_init(|| Instant::now() + within);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.get().is_some()
    }

    /// The deadline of a step that begins now.
    pub(crate) fn deadline(&self, step: Step) -> Deadline {
        Deadline {
            own: Instant::now() + step.longest,
            leaves: step.leaves,
            drain: self.clone(),
        }
    }
}

/// When a step must be over, which becomes earlier when the process is told to end meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    own: Instant,
    leaves: Duration,
    drain: Drain,
}

impl Deadline {
    pub(crate) fn left(&self) -> Duration {
        let now = Instant::now();
        let own = self.own.saturating_duration_since(now);
        match self.drain.0.get() {
            None => own,
            Some(end) => own.min(end.saturating_duration_since(now).saturating_sub(self.leaves)),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_its_own_bound_until_the_process_is_to_end() {
        let drain = Drain::default();
        let commit = drain.deadline(COMMIT);
        assert!(commit.left() > Duration::from_secs(19));
        drain.begin(Duration::from_secs(11));
        assert!(commit.left() <= Duration::from_secs(1) && !commit.is_over());
        drain.begin(Duration::from_secs(60));
        assert!(
            drain.deadline(COMMIT).left() <= Duration::from_secs(1),
            "it counts once"
        );
    }

    #[test]
    fn a_step_that_takes_all_it_may_leaves_something_to_each_one_after_it() {
        let steps = [COMMIT, ABORT, LEAVE, CLOSE];
        let mut left = WITHIN;
        for step in steps {
            let takes = step.longest.min(left.saturating_sub(step.leaves));
            assert!(takes >= Duration::from_secs(3), "{step:?} has {takes:?}");
            left -= takes;
        }
        // What is begun before ends within the bound of one call.
        assert!(WITHIN - COMMIT.leaves > Duration::from_secs(10));
    }
}
