//! Workers that are broken on purpose: what the verifier must find. Only with the feature `broken`.
//!
//! `NARU_BROKEN` says how: `outside` commits offsets after the transaction, `unfenced` lets a worker that was replaced
//! commit, `processed` commits the offset of the last record instead of the next one.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};

/// Whether this is what is broken.
pub fn is(name: &str) -> bool {
    std::env::var("NARU_BROKEN").is_ok_and(|broken| broken == name)
}

/// A membership by which nobody can be fenced: no generation, no member, no instance.
pub(super) fn nobody(group: &str) -> Option<ConsumerGroupMetadata> {
    let mut config = ClientConfig::new();
    let consumer: BaseConsumer = config.set("group.id", group).create().ok()?;
    consumer.group_metadata()
}
