//! What the tests across crates share.

#![allow(clippy::panic, reason = "a helper of tests that cannot go on ends the test")]

pub mod cluster;
pub mod connect;
pub mod filtered_sum;
pub mod fragile_registry;
pub mod joongna;
pub mod loopback;
pub mod operator;
pub mod said;
pub mod workers;
