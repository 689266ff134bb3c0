//! Handing records to a producer and waiting until the brokers have them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use tracing::debug;

use crate::drain::Deadline;

/// A record to be produced. Without a partition its key decides, as with Java's default partitioner.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    pub topic: &'a str,
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

/// What a call's error asks for.
pub(super) enum Failure {
    Abort(String),
    OutOfTime(String),
    Fatal(String),
}

/// Produces `records` and waits until every one of them is acknowledged.
pub(super) fn deliver<'a>(
    producer: &BaseProducer<Deliveries>,
    records: impl IntoIterator<Item = Record<'a>>,
    deadline: &Deadline,
) -> Result<(), Failure> {
    producer.context().forget();
    let produced = produce(producer, records, deadline);
    // Also after an error, so that nothing is under way after this.
    let drained = drain(producer, deadline);
    match drained {
        // What is still under way counts more than what was refused.
        Err(Failure::OutOfTime(reason)) => Err(Failure::OutOfTime(reason)),
        drained => produced.and(drained),
    }
}

fn produce<'a>(
    producer: &BaseProducer<Deliveries>,
    records: impl IntoIterator<Item = Record<'a>>,
    deadline: &Deadline,
) -> Result<(), Failure> {
    for record in records {
        let mut message = BaseRecord::<[u8], [u8]>::to(record.topic);
        message.partition = record.partition;
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            let insert = |headers: OwnedHeaders, (key, value): &(&str, Vec<u8>)| {
                headers.insert(Header {
                    key,
                    value: Some(value),
                })
            };
            message.headers = Some(record.headers.iter().fold(headers, insert));
        }
        while let Err((error, refused)) = producer.send(message) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) || deadline.is_over() {
                return Err(Failure::Abort(format!(
                    "unable to produce to {:?}: {error}",
                    record.topic
                )));
            }
            message = refused;
            producer.poll(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// Waits for the delivery of every record. rust-rdkafka's own flush, also that within its commit, takes at
/// least 100 ms when there is anything left to wait for.
fn drain(producer: &BaseProducer<Deliveries>, deadline: &Deadline) -> Result<(), Failure> {
    while producer.in_flight_count() > 0 {
        if deadline.is_over() {
            return Err(Failure::OutOfTime(
                "records were not acknowledged in time".to_owned(),
            ));
        }
        producer.poll(Duration::from_millis(1));
    }
    match producer.context().failure() {
        Some(reason) => Err(Failure::Abort(reason)),
        None => Ok(()),
    }
}

/// Remembers the first record since the last [`deliver`] began that was not delivered.
#[derive(Default)]
pub(super) struct Deliveries {
    failure: Mutex<Option<String>>,
}

impl Deliveries {
    fn forget(&self) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // They queue up while nobody polls, and librdkafka's log has said the same.
        debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, message)) = result {
            self.failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| {
                    format!("a record was not delivered to {:?}: {error}", message.topic())
                });
        }
    }
}
