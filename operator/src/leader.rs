//! Which of several operators does the work: the one that holds a Lease, and only as long as it surely does.
//!
//! * `election` decides, without any I/O, from what was read of the Lease and when.
//! * `elector` reads and writes the Lease as decided.
//! * `fence` is asked before each change of anything outside this process.
//!
//! Why no two operators change things at once: a leader's fence falls a fixed time after it *began* the last renewal
//! that succeeded; others take a Lease over only when, since they *saw* its last renewal, its whole duration has
//! passed, and only if it has not been written to since (`resourceVersion`). Both measure on their own monotonic clock;
//! no two machines' clocks are compared. The fence falls earlier than the Lease ends by a margin, which clocks of
//! different speed and requests that were on their way may use up.

mod election;
mod elector;
#[cfg(test)]
mod fake;
mod fence;

pub use self::{
    election::Timing,
    elector::{Elector, Ended, Lost, Standing},
    fence::{Fence, NotLeader},
};
