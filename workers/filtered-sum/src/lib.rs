//! A worker that filters the records of a topic and keeps running sums of one of their fields.

pub mod accumulator;
pub mod dead_letter;
pub mod decode;
pub mod group;
pub mod overall;
pub mod partition;
pub mod restore;
pub mod rules;
pub mod total;
