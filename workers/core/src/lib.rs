//! What all workers share: Kafka with transactions, Avro with a registry, and the life of a process.
//!
//! The delivery guarantee, stated once. A worker owns its partitions through a consumer group and publishes
//! everything (records, dead letters and the offsets that its input has reached) in one transaction. Its state
//! is either in the offsets' metadata or can be computed again from the input after them, so whoever owns a
//! partition next starts exactly where the last committed transaction ended. A transaction is begun only when
//! there is something to commit, it is spoken for with the group's generation of that moment, and the broker
//! refuses it when the partitions have moved on.
//!
//! A worker is a plain process: it reads one JSON document, serves `/livez`, `/readyz` and `/metrics`, and ends
//! on SIGTERM. Its work runs on one thread that owns the consumer ([`kafka::consumer`]); what takes long
//! (fetching pages, asking a registry) runs on the tokio runtime beside it.
//!
//! Reading order: [`run`], [`kafka::consumer`], [`kafka::transaction`], [`avro`].

pub mod avro;
pub mod backoff;
pub mod drain;
pub mod kafka;
mod native;
pub mod run;
