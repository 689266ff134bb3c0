//! A producer for records that may be written twice: each is an upsert, whose key and value say all.
//!
//! There is no transaction: a record can be read as soon as it is acknowledged, and one whose acknowledgement did not
//! arrive may be there or not. What one producer writes to a partition stays in its order and is never doubled by the
//! producer itself (`enable.idempotence`), but nobody fences it: see [`UpsertProducer::flush`].

use naru_contract::Kafka;
use rdkafka::producer::{BaseProducer, Producer};
use snafu::Snafu;

use super::config;
use super::produce::{Deliveries, Failure, Record, deliver};
use crate::drain::{COMMIT, Drain};

/// Why not every record is known to be written.
#[derive(Debug, Snafu)]
pub enum Error {
    /// Some of the records may be there. Write them, or newer ones, again.
    #[snafu(display("not all records were written: {reason}"))]
    Unwritten { reason: String },
    /// The producer is of no more use. Open a new one, and read from Kafka what there is.
    #[snafu(display("the producer must be opened anew: {reason}"))]
    Fatal { reason: String },
}

/// An idempotent producer without transactions.
pub struct UpsertProducer {
    producer: BaseProducer<Deliveries>,
    drain: Drain,
}

impl UpsertProducer {
    pub fn open(kafka: &Kafka, client_id: &str) -> Result<Self, Error> {
        let producer = config::upserting(kafka, client_id)
            .create_with_context(Deliveries::default())
            .map_err(|error| Error::Fatal {
                reason: format!("unable to create a producer: {error}"),
            })?;
        Ok(Self {
            producer,
            drain: Drain::default(),
        })
    }

    /// The same, which takes no longer than the end of the process allows.
    pub fn until(mut self, drain: &Drain) -> Self {
        self.drain = drain.clone();
        self
    }

    /// Writes `records` and waits until all of them are acknowledged by all replicas in sync. When this returns nothing
    /// is under way any more, or, after [`Error::Fatal`], once this producer is dropped. So who calls this on the thread
    /// that owns the consumer writes nothing after its partitions have gone to somebody else, unless the process stands
    /// still within the call until they have.
    pub fn flush<'a>(&self, records: impl IntoIterator<Item = Record<'a>>) -> Result<(), Error> {
        let failed = match deliver(&self.producer, records, &self.drain.deadline(COMMIT)) {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        match (failed, self.producer.client().fatal_error()) {
            (Failure::Abort(reason), None) => Err(Error::Unwritten { reason }),
            (Failure::OutOfTime(reason) | Failure::Fatal(reason), None) => Err(Error::Fatal { reason }),
            (
                Failure::Abort(reason) | Failure::OutOfTime(reason) | Failure::Fatal(reason),
                Some((_, fatal)),
            ) => Err(Error::Fatal {
                reason: format!("{reason} ({fatal})"),
            }),
        }
    }
}
