//! How a snapshot of the totals gets to Kafka: the only place that knows of `delivery`.

use naru_contract::{Delivery, FilteredSumWorker, Progress};
use naru_worker_core::kafka::consumer::GroupConsumer;
use naru_worker_core::kafka::transaction::{
    Error as TransactionError, Position, Record, TransactionalProducer,
};
use naru_worker_core::kafka::upsert::{Error as UpsertError, UpsertProducer};
use naru_worker_core::run::Context;

use super::Error;
use crate::output::{DELIVERY, IDEMPOTENT_UPSERT};

/// What is known at one moment, between two messages.
pub(super) struct Snapshot<'a> {
    /// What must be there before a total says that its records are covered: dead letters, and totals of groups.
    pub(super) parts: Vec<Record<'a>>,
    pub(super) totals: Vec<Record<'a>>,
    /// Next offset of each partition in it.
    pub(super) offsets: Vec<(i32, i64)>,
    /// What the operator is told beside them.
    pub(super) progress: Progress,
}

/// What became of a snapshot.
pub(super) enum Written {
    All,
    /// Not all of it, for this reason. A newer snapshot makes up for it.
    NotAll(String),
    /// None of it, or not all: its partitions are somebody else's.
    Lost,
}

pub(super) enum Writer {
    /// All of a snapshot becomes visible at once, or nothing of it; a writer that has lost its partitions is refused.
    Transactions(TransactionalProducer),
    /// Each record is visible at once, the parts before the totals. The totals are the truth, and the offsets follow.
    Upserts(UpsertProducer),
}

impl Writer {
    /// To be opened before anything is read: it ends the transaction that a killed predecessor may have left open.
    pub(super) fn open(config: &FilteredSumWorker, context: &Context) -> Result<Self, Error> {
        let (kafka, name) = (&config.kafka, format!("{}.{}", config.group, context.instance));
        let transactional = TransactionalProducer::open_until(kafka, &name, &context.drain)?;
        Ok(match config.delivery {
            Delivery::ExactlyOnce => Self::Transactions(transactional),
            Delivery::IdempotentUpsert => {
                // It was opened for a predecessor with transactions.
                drop(transactional);
                Self::Upserts(UpsertProducer::open(kafka, &name)?.until(&context.drain))
            }
        })
    }

    /// Whether one who has lost its partitions is refused.
    pub(super) fn is_fenced(&self) -> bool {
        matches!(self, Self::Transactions(_))
    }

    /// The member for whose partitions it writes.
    pub(super) fn join(&self, config: &FilteredSumWorker, context: &Context) -> Result<GroupConsumer, Error> {
        let (kafka, group, topic) = (&config.kafka, &config.group, &config.input_topic);
        let consumer = match self {
            Self::Transactions(_) => GroupConsumer::join(kafka, group, &context.instance, topic)?,
            Self::Upserts(_) => GroupConsumer::join_following(kafka, group, &context.instance, topic)?,
        };
        Ok(consumer.until(&context.drain))
    }

    pub(super) fn write(
        &mut self,
        consumer: &GroupConsumer,
        snapshot: Snapshot<'_>,
    ) -> Result<Written, Error> {
        let metadata = snapshot.progress.to_metadata();
        let offsets = snapshot.offsets.iter();
        let offsets =
            consumer.offsets(offsets.map(|(partition, next)| (*partition, *next, metadata.as_str())));
        let records = [snapshot.parts, snapshot.totals];
        match self {
            Self::Transactions(producer) => {
                let Some(member) = consumer.member() else {
                    return Ok(Written::Lost);
                };
                let position = Position { offsets, member };
                match commit(producer, consumer, records.into_iter().flatten(), position) {
                    Ok(()) => Ok(Written::All),
                    Err(TransactionError::Aborted { reason }) => Ok(Written::NotAll(reason)),
                    Err(error) => Err(error.into()),
                }
            }
            Self::Upserts(producer) => {
                for records in records.into_iter().filter(|records| !records.is_empty()) {
                    if consumer.member().is_none() {
                        return Ok(Written::Lost);
                    }
                    match producer.flush(records.into_iter().map(marked)) {
                        Ok(()) => {}
                        Err(UpsertError::Unwritten { reason }) => return Ok(Written::NotAll(reason)),
                        Err(error) => return Err(error.into()),
                    }
                }
                consumer.follow(&offsets);
                Ok(Written::All)
            }
        }
    }
}

#[cfg(not(feature = "broken"))]
fn commit<'a>(
    producer: &mut TransactionalProducer,
    _: &GroupConsumer,
    records: impl Iterator<Item = Record<'a>>,
    position: Position,
) -> Result<(), TransactionError> {
    producer.commit(records, Some(position))
}

/// With the offsets outside the transaction, if that is what is broken.
#[cfg(feature = "broken")]
fn commit<'a>(
    producer: &mut TransactionalProducer,
    consumer: &GroupConsumer,
    records: impl Iterator<Item = Record<'a>>,
    position: Position,
) -> Result<(), TransactionError> {
    use rdkafka::consumer::{CommitMode, Consumer};
    if !naru_worker_core::kafka::broken::is("outside") {
        return producer.commit(records, Some(position));
    }
    producer.commit(records, None)?;
    let _ = consumer.inner().commit(&position.offsets, CommitMode::Sync);
    Ok(())
}

/// Whoever reads it knows that it may come again, and that no transaction holds it together with an offset.
fn marked(mut record: Record<'_>) -> Record<'_> {
    record.headers.push((DELIVERY, IDEMPOTENT_UPSERT.to_vec()));
    record
}
