//! Avro records as they travel: Confluent's framing, and the registry that knows their schemas.

pub mod registry;
pub mod wire;
