//! What the operator tells a worker: one JSON document per worker, mounted as a file.
//!
//! Operator and workers are rolled out at different times, so either may be the older one. The rule: fields are
//! only added, always optional with a default that means "as before"; none is renamed, retyped or removed.
//! `tests/golden.rs` holds a document of each kind that must stay readable.

mod connection;
mod filtered_sum;
mod progress;
mod scrape;

pub use connection::{Kafka, Registry};
pub use filtered_sum::{Delivery, FilteredSumWorker, OnError, Reset, Window};
pub use progress::Progress;
pub use scrape::{Frontier, Head, Output, Politeness, Retry, ScrapeWorker, Source, Start};
