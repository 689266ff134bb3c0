//! Replays loads against rules of scaling, without a cluster and without a clock: seconds of it are hours of theirs.
//!
//! A [`world::World`] is a consumer group on a topic: pods that take time to start, partitions that come to a halt while they
//! are shared out, offsets that are committed now and then. A [`shape::Shape`] says what arrives in it, and a
//! [`rules::Rule`] sees of it what it would see in a cluster.

pub mod chart;
pub mod flink;
pub mod keda;
pub mod naru;
pub mod report;
pub mod rules;
pub mod run;
pub mod shape;
pub mod world;
