//! What became of an id, and the Kafka records that say so.

use naru_contract::Output;
use naru_worker_core::kafka::transaction::Record;
use reqwest::Url;
use serde_json::json;

/// An id that needs no more work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) id: u64,
    pub(super) url: Url,
    /// Requests that were made for it.
    pub(super) attempts: u32,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Key and value as they are produced.
    Record {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    /// There is no such product, or not any more.
    Gone,
    DeadLetter {
        reason: String,
    },
}

impl Settled {
    /// The record that is to be produced, if any.
    pub(super) fn to_record<'a>(&self, output: &'a Output) -> Option<Record<'a>> {
        let url = ("url", self.url.as_str().as_bytes().to_vec());
        match &self.outcome {
            Outcome::Gone => None,
            Outcome::Record { key, value } => Some(Record {
                topic: &output.topic,
                partition: None,
                key: Some(key.clone()),
                value: Some(value.clone()),
                headers: vec![url],
            }),
            Outcome::DeadLetter { reason } => {
                let value = json!({
                    "id": self.id,
                    "url": self.url.as_str(),
                    "reason": reason,
                    "attempts": self.attempts,
                });
                Some(Record {
                    topic: &output.dead_letter_topic,
                    partition: None,
                    key: Some(self.id.to_string().into_bytes()),
                    value: Some(value.to_string().into_bytes()),
                    headers: Vec::new(),
                })
            }
        }
    }
}

/// The dead letter for a frontier record that is no range, with the record itself as its value.
pub(super) fn unreadable<'a>(output: &'a Output, value: Vec<u8>, reason: &str) -> Record<'a> {
    Record {
        topic: &output.dead_letter_topic,
        partition: None,
        key: None,
        value: Some(value),
        headers: vec![("reason", reason.as_bytes().to_vec())],
    }
}
