//! The naru operator: custom resources in, worker Deployments, Kafka topics and connectors out.
//!
//! Reading order: [`run`] starts a controller per kind and the autoscaler. A controller's `reconcile` is a list of
//! phases, of which only some do I/O:
//!
//! ```text
//! validate     pure    what only a mistake in the spec can fail
//! build        pure    what should be; cannot fail
//! dereference  I/O     what the spec refers to: topics, Secrets, the registry, Connect
//! apply        I/O     topics, then ConfigMaps and Deployments where they are not as they should be
//! status       I/O     conditions, from what there is and from what failed; events, from their changes
//! ```
//!
//! A phase that fails ends the pass before anything is changed: what ran before goes on running.

pub mod admin;
pub mod autoscale;
pub mod check;
pub mod client;
pub mod connect;
pub mod controller;
pub mod deletion;
pub mod endpoint;
pub mod filtered_sum;
#[cfg(test)]
mod histories;
pub mod kafka;
pub mod leader;
pub mod logs;
pub mod metrics;
pub mod names;
mod native;
pub mod registry;
pub mod run;
pub mod scrape_job;
pub mod settings;
pub mod sink_connector;
pub mod targets;
pub mod worker;
