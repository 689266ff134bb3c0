//! How many workers a consumer group should have, decided with plain data: nothing here does I/O or asks for the time.
//!
//! Each [`Look`] at a group goes into its [`History`], and [`decide`] says what follows from both under a [`Policy`]:
//!
//! 1. how fast records arrive and are worked on: slopes of the offsets ([`samples`]);
//! 2. how much one replica can do: measured while the group works flat out ([`capacity`]);
//! 3. how many replicas that takes, so that the busiest of them keeps up ([`demand`], [`align`]);
//! 4. whether now is the time ([`guard`]): out when lag would grow beyond what is allowed, in after a window in which
//!    fewer would always have been enough, neither while the group is being rearranged or cannot be seen.
//!
//! Beside it stand [`stalled`] (which partitions nobody works on) and [`alarm`] (are producers near what a cluster can
//! take).

pub mod alarm;
pub mod align;
pub mod capacity;
pub mod decision;
pub mod demand;
pub mod guard;
pub mod history;
pub mod look;
pub mod policy;
pub mod rate;
pub mod samples;
pub mod schedule;
pub mod stalled;
mod window;

pub use self::{
    decision::{Decision, Figures, Verdict, Why, decide},
    guard::Guard,
    history::History,
    look::{Look, Obstacle, Partition},
    policy::{Basis, Mode, Policy},
    schedule::{Recurring, Schedule},
};
