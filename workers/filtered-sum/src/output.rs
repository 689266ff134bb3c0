//! Reading the output topic: once to its end to restore partitions, or all the time for the overall total.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use naru_contract::{Delivery, Kafka};
use naru_worker_core::avro::registry::{self, Registry};
use naru_worker_core::avro::wire;
use naru_worker_core::kafka::consumer::Assigned;
use naru_worker_core::kafka::{Quiet, topic};
use naru_worker_core::run::Context;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tracing::debug;

use crate::computation::{Computation, Relation};
use crate::identity::{self, Identity};
use crate::overall::Overall;
use crate::restore::Found;
use crate::total::{Removed, Scope, Total, TotalError};

/// Header of a record that was written without a transaction.
pub const DELIVERY: &str = "delivery";
/// Its value: what the resource says too.
pub const IDEMPOTENT_UPSERT: &[u8] = b"idempotentUpsert";

/// Bound on reading the totals of the partitions that were assigned, on the polling thread.
const RESTORE: Duration = Duration::from_secs(40);
/// How long committed totals that are not there yet are waited for: the transaction of a killed worker is over
/// by then, 10 s for its timeout and as long again until the broker looks.
const SETTLE: Duration = Duration::from_secs(25);

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(transparent)]
    Topic { source: topic::Error },
    #[snafu(display("unable to read topic {topic:?}"))]
    Read { source: KafkaError, topic: String },
    #[snafu(display(
        "the record at offset {offset} of partition {partition} of topic {topic:?} is not a total: {reason}; the output \
         topic must hold nothing else"
    ))]
    Foreign {
        topic: String,
        partition: i32,
        offset: i64,
        reason: String,
    },
    #[snafu(transparent)]
    Registry { source: registry::Error },
    #[snafu(display(
        "output topic {topic:?} has {found} partitions, expected one for each of the input topic's, which has partition \
         {needed}"
    ))]
    TooFewPartitions { topic: String, found: i32, needed: i32 },
    #[snafu(display("the totals in topic {topic:?} were not read within {} s", RESTORE.as_secs()))]
    TooSlow { topic: String },
    #[snafu(display("the worker is to stop"))]
    Stopping,
}

/// What is needed to read the output topic.
#[derive(Clone)]
pub struct Output {
    pub kafka: Kafka,
    pub topic: String,
    pub registry: Arc<Registry>,
    pub context: Context,
}

/// A reader of some partitions from their beginning on.
struct Reader {
    consumer: BaseConsumer<Quiet>,
    output: Output,
    /// Partitions that had something to read when this was opened. The end of an empty one is known without a fetch, which
    /// the broker answers only after a while.
    filled: BTreeSet<i32>,
}

enum Read {
    Total {
        partition: i32,
        /// ms since the epoch
        written: i64,
        total: Box<Total>,
        identity: Option<Box<Identity>>,
        delivery: Delivery,
    },
    Removed {
        partition: i32,
        removed: Removed,
    },
    End {
        partition: i32,
    },
    Nothing,
}

impl Output {
    /// The newest totals of each of `assigned`, which the output partition of the same number holds.
    pub fn restore(&self, assigned: &[Assigned]) -> Result<BTreeMap<i32, Found>, Error> {
        let started = Instant::now();
        let mut found = assigned
            .iter()
            .map(|one| (one.partition, Found::default()))
            .collect::<BTreeMap<_, _>>();
        let Some(needed) = found.keys().next_back().copied() else {
            return Ok(found);
        };
        let reader = Reader::open(self, |count| {
            ensure!(
                needed < count,
                TooFewPartitionsSnafu {
                    topic: &self.topic,
                    found: count,
                    needed
                }
            );
            Ok(found.keys().copied().collect())
        })?;
        let mut unread = reader.filled.clone();
        loop {
            let behind = assigned.iter().any(|one| {
                found
                    .get(&one.partition)
                    .is_some_and(|found| found.is_behind(one))
            });
            if unread.is_empty() && (!behind || started.elapsed() > SETTLE) {
                return Ok(found);
            }
            ensure!(started.elapsed() < RESTORE, TooSlowSnafu { topic: &self.topic });
            ensure!(!self.context.stop.is_cancelled(), StoppingSnafu);
            self.context.health.beat();
            match reader.poll(Duration::from_millis(100))? {
                Read::Total {
                    partition,
                    written,
                    total,
                    identity,
                    delivery,
                } => found.entry(partition).or_default().observe(
                    *total,
                    written,
                    identity.map(|identity| *identity),
                    delivery,
                ),
                Read::Removed { partition, removed } => {
                    if removed.partition == Some(partition) {
                        found.entry(partition).or_default().removed(&removed.group);
                    }
                }
                Read::End { partition } => {
                    unread.remove(&partition);
                }
                Read::Nothing => {}
            }
        }
    }
}

impl Reader {
    fn open(output: &Output, choose: impl FnOnce(i32) -> Result<Vec<i32>, Error>) -> Result<Self, Error> {
        let topic = &output.topic;
        let consumer = topic::reader(&output.kafka)?;
        let partitions = choose(topic::partition_count(&consumer, topic)?)?;
        // `Offset::Beginning` would cost half a second until the leader is known.
        let starts = topic::log_starts(&consumer, topic, &partitions)?;
        let ends = topic::stable_ends(&consumer, topic, &partitions)?;
        let mut assignment = TopicPartitionList::new();
        let mut filled = BTreeSet::new();
        for ((partition, start), end) in partitions.iter().zip(starts).zip(ends) {
            assignment
                .add_partition_offset(topic, *partition, Offset::Offset(start))
                .context(ReadSnafu { topic })?;
            if end > start {
                filled.insert(*partition);
            }
        }
        consumer.assign(&assignment).context(ReadSnafu { topic })?;
        Ok(Self {
            consumer,
            output: output.clone(),
            filled,
        })
    }

    fn poll(&self, timeout: Duration) -> Result<Read, Error> {
        let topic = &self.output.topic;
        let message = match self.consumer.poll(timeout) {
            None => return Ok(Read::Nothing),
            // The end of a partition is its last stable offset, since the consumer is read_committed.
            Some(Err(KafkaError::PartitionEOF(partition))) => return Ok(Read::End { partition }),
            Some(Err(source @ KafkaError::MessageConsumptionFatal(_))) => {
                return Err(source).context(ReadSnafu { topic });
            }
            Some(Err(error)) => {
                debug!(%topic, %error, "waiting for Kafka");
                return Ok(Read::Nothing);
            }
            Some(Ok(message)) => message,
        };
        let (partition, offset) = (message.partition(), message.offset());
        let foreign = |reason: String| Error::Foreign {
            topic: topic.clone(),
            partition,
            offset,
            reason,
        };
        let Some(value) = message.payload() else {
            let removed = message.key().and_then(Removed::parse);
            let removed = removed.ok_or_else(|| foreign("it is a tombstone of no group".to_owned()))?;
            return Ok(Read::Removed { partition, removed });
        };
        let (schema_id, datum) = wire::decode(value).map_err(|error| foreign(error.to_string()))?;
        let asked = self
            .output
            .context
            .wait_for(self.output.registry.schema(schema_id));
        let schema = match asked.context(StoppingSnafu)? {
            Err(error @ (registry::Error::UnknownId { .. } | registry::Error::Parse { .. })) => {
                return Err(foreign(error.to_string()));
            }
            schema => schema?,
        };
        let total = Total::decode(&schema, datum).map_err(|error: TotalError| foreign(error.to_string()))?;
        let identity = header(&message, identity::HEADER)
            .map(|header| {
                Identity::parse(header).ok_or_else(|| foreign("it does not say what sum it is of".to_owned()))
            })
            .transpose()?;
        Ok(Read::Total {
            partition,
            written: message.timestamp().to_millis().unwrap_or_default(),
            total: Box::new(total),
            identity: identity.map(Box::new),
            delivery: match header(&message, DELIVERY) {
                Some(IDEMPOTENT_UPSERT) => Delivery::IdempotentUpsert,
                _ => Delivery::ExactlyOnce,
            },
        })
    }
}

fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a [u8]> {
    let mut headers = message.headers()?.iter();
    headers.find(|header| header.key == name)?.value
}

/// Follows the whole output topic for the overall total.
pub struct Tail {
    reader: Reader,
    ours: Computation,
    /// That another resource writes to the topic too, as a sentence.
    foreign: Option<String>,
    /// The same about partitions whose newest totals are of another computation of this sum, which they should not be.
    barred: BTreeMap<i32, String>,
    /// Of which computation the newest totals of each partition are.
    computations: BTreeMap<i32, i64>,
    /// Partitions whose newest totals other rules had a part in.
    mixed: BTreeSet<i32>,
    overall: Overall,
    /// Partitions that were not read to their end yet.
    unread: BTreeSet<i32>,
    /// That nothing was left to read and to wait for once: what is taken in since then is no less than what was there.
    is_whole: bool,
    partition_count: i32,
    looked: Instant,
}

impl Tail {
    /// How often the number of partitions is looked at.
    const LOOK: Duration = Duration::from_secs(30);
    /// Longest time that [`Self::follow`] takes in what is there, so that the input does not wait.
    const BURST: Duration = Duration::from_millis(200);

    pub fn open(output: &Output, ours: &Computation) -> Result<Self, Error> {
        let mut partition_count = 0;
        let reader = Reader::open(output, |count| {
            partition_count = count;
            Ok((0..count).collect())
        })?;
        Ok(Self {
            unread: reader.filled.clone(),
            reader,
            ours: ours.clone(),
            foreign: None,
            barred: BTreeMap::new(),
            computations: BTreeMap::new(),
            mixed: BTreeSet::new(),
            overall: Overall::of(ours.identity.windows()),
            is_whole: false,
            partition_count,
            looked: Instant::now(),
        })
    }

    /// Takes in what has arrived, without waiting for more. The overall total, once every partition was read to its
    /// end and all groups there belonged to a total of their partition: before that it would be less than what an earlier
    /// owner has written. None as well once [`Self::other`] says
    /// that there is another sum.
    pub fn follow(&mut self) -> Result<Option<&Overall>, Error> {
        if self.looked.elapsed() > Self::LOOK {
            self.looked = Instant::now();
            let output = &self.reader.output;
            if topic::partition_count(&self.reader.consumer, &output.topic)? != self.partition_count {
                *self = Self::open(&output.clone(), &self.ours.clone())?;
            }
        }
        let started = Instant::now();
        while started.elapsed() < Self::BURST {
            match self.reader.poll(Duration::ZERO)? {
                Read::Total {
                    partition,
                    total,
                    identity,
                    delivery,
                    ..
                } => {
                    let is_late = delivery == Delivery::IdempotentUpsert
                        && (self.overall.knows_better(&total)
                            || self.is_earlier(partition, identity.as_deref()));
                    if !is_late {
                        self.observe(partition, *total, identity.as_deref());
                    }
                }
                Read::Removed { removed, .. } => self.overall.remove(removed),
                Read::End { partition } => {
                    self.unread.remove(&partition);
                }
                Read::Nothing => break,
            }
        }
        self.is_whole |= self.unread.is_empty() && self.overall.is_settled();
        Ok((self.is_whole && self.other().is_none()).then_some(&self.overall))
    }

    /// Lets all overall totals be written again.
    pub fn write_again(&mut self) {
        self.overall.write_again();
    }

    /// Whether something newer than a total with this `identity` was taken in of `partition`: it is of somebody who has
    /// lost the partition, and without transactions could still write.
    fn is_earlier(&self, partition: i32, identity: Option<&Identity>) -> bool {
        let newest = self.computations.get(&partition);
        identity.is_some_and(|found| newest.is_some_and(|newest| found.origin.computation < *newest))
    }

    fn observe(&mut self, partition: i32, total: Total, identity: Option<&Identity>) {
        let relation = identity.map(|found| self.ours.relation(found));
        // The first versions did not say what sum the totals of a partition are of, and no version before this one did of
        // the overall total. What restores a partition takes the former for ours where rules cannot have changed.
        let is_of_partition = matches!(total.scope, Scope::Partition { .. });
        let is_ours = match &relation {
            Some(relation) => *relation == Relation::Same,
            None => is_of_partition && self.ours.reset.is_none(),
        };
        let is_newest = is_of_partition && total.group.is_none();
        if is_newest {
            self.barred.remove(&partition);
            let computation = identity.map_or(0, |found| found.origin.computation);
            self.computations.insert(partition, computation);
            match identity.is_some_and(|found| found.origin.mixed) {
                true => self.mixed.insert(partition),
                false => self.mixed.remove(&partition),
            };
        }
        if let Some(Relation::Other(other)) = relation {
            let sentence = |advice| {
                format!(
                    "partition {partition} of the output topic has totals of another sum, so that there is no overall total: \
                     {}; {advice}",
                    other.differences
                )
            };
            if other.is_foreign {
                self.foreign = Some(sentence("give one of the two another output topic"));
            } else if is_newest {
                self.barred.insert(partition, sentence(other.advice));
            }
        }
        self.overall.observe(total, is_ours);
    }

    /// What is wrong with the output topic, if another sum writes to it too.
    pub fn other(&self) -> Option<&str> {
        let barred = || self.barred.values().next();
        self.foreign.as_ref().or_else(barred).map(String::as_str)
    }

    /// Whether other rules had a part in what the overall total adds up.
    pub fn is_mixed(&self) -> bool {
        !self.mixed.is_empty()
    }

    /// An overall total has been written: it need not come back before the next one is written.
    pub fn written(&mut self, total: Total) {
        let is_last = total.group.is_none();
        self.overall.observe(total, true);
        if is_last {
            self.overall.committed();
        }
    }

    /// The same of the overall total of a group that is gone.
    pub fn removed(&mut self, group: String) {
        let partition = None;
        self.overall.remove(Removed { partition, group });
    }
}
