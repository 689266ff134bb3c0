//! The scraping worker: a planner that finds new product ids and fetchers that turn them into records.
//!
//! The planner looks for the newest id and cuts what is new into ranges, which it publishes to the frontier topic
//! together with where it stands, in one transaction. Fetchers share the frontier's partitions as a consumer group;
//! each takes one range per partition at a time, asks the site for its pages and publishes what became of them
//! together with how far it has come, in one transaction.
//!
//! Each id ends in exactly one of: a record, a dead letter, or nothing because its page is gone.
//!
//! Reading order: [`frontier`], [`plan`], [`fetch`].

mod body;
mod error;
#[cfg(test)]
mod fake_site;
pub mod fetch;
pub mod frontier;
mod head_topic;
pub mod job;
pub mod plan;
mod polite;
mod retry;

pub use error::Error;
