//! The lag of a consumer group: committed records of a topic that the group has yet to work on. Blocking.
//!
//! From the committed offset (the start of the log for a partition that the group never committed) to the last stable
//! offset, which is where a `read_committed` reader ends. What lies between need not be records: each transaction
//! leaves a marker behind its records, and an aborted one leaves those as well. Workers commit the offset behind the
//! last record that they read, so that a group with nothing to do would seem to lag by a few for ever, and never be
//! scaled to its minimum. Short tails are therefore read and counted.
//!
//! One client asks for all groups of a Kafka cluster: each has several threads and wakes up all the time. Of a group that
//! has nothing to do only the end of its topic is asked for, until that grows.

mod reader;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use naru_api::condition::reason;
use naru_contract::Progress;
use rdkafka::{
    ClientConfig, ClientContext, Offset,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use snafu::Snafu;

pub use self::reader::Reader;
use super::{Lag, Partition};
use crate::native::Committed;

/// Deadline of one look.
const DEADLINE: Duration = Duration::from_secs(5);
/// A partition with fewer offsets than this before the group has them read and counted. In a longer tail a few
/// markers make no difference.
const COUNTED: u64 = 100;
/// A group that had nothing to do is asked again after this although its topic did not grow: somebody may have set its
/// offsets back.
const TRUSTED: Duration = Duration::from_secs(600);

/// Why the lag is not known.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(self)))]
pub enum Error {
    #[snafu(display("unable to make a client for kafka at {bootstrap_servers:?}: {source}"))]
    Client {
        bootstrap_servers: String,
        #[snafu(source(from(KafkaError, Box::new)))]
        source: Box<KafkaError>,
    },

    #[snafu(display(
        "unable to read {what} of topic {topic:?} from kafka at {bootstrap_servers:?}: {source}"
    ))]
    Ask {
        what: &'static str,
        topic: String,
        bootstrap_servers: String,
        #[snafu(source(from(KafkaError, Box::new)))]
        source: Box<KafkaError>,
    },

    #[snafu(display("kafka at {bootstrap_servers:?} does not answer: {source}"))]
    Silent {
        bootstrap_servers: String,
        #[snafu(source(from(KafkaError, Box::new)))]
        source: Box<KafkaError>,
    },

    #[snafu(display("there is no topic {topic:?} in kafka at {bootstrap_servers:?}"))]
    NoTopic {
        topic: String,
        bootstrap_servers: String,
    },

    #[snafu(display("kafka at {bootstrap_servers:?} answered without {what} of topic {topic:?}"))]
    NoAnswer {
        what: &'static str,
        topic: String,
        bootstrap_servers: String,
    },

    #[snafu(display("reading the end of topic {topic:?} from kafka at {bootstrap_servers:?} took too long"))]
    TooSlow {
        topic: String,
        bootstrap_servers: String,
    },
}

impl Error {
    /// Whether the cluster as a whole does not answer, and not only the broker that leads a partition.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Silent { .. })
    }
}

/// Why the lag is not known, for conditions and metrics. The same failure has the same words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The condition's reason.
    pub reason: &'static str,
    /// The condition's message.
    pub message: String,
    /// One word for metrics.
    pub code: &'static str,
    /// All there is to say, for logs. May be in other words at each look.
    pub detail: String,
}

impl Unknown {
    /// Kafka does not say.
    pub(super) fn unreachable(bootstrap_servers: &str, detail: String) -> Self {
        Self {
            reason: reason::KAFKA_UNREACHABLE,
            message: format!("kafka at {bootstrap_servers:?} does not say how far the workers are"),
            code: "unanswered",
            detail,
        }
    }

    /// A defect of the operator.
    pub fn panicked(panic: &tokio::task::JoinError) -> Self {
        Self {
            reason: reason::LAG_UNKNOWN,
            message: "the operator failed to read the lag; its log says more".to_owned(),
            code: "panic",
            detail: panic.to_string(),
        }
    }
}

impl From<&Error> for Unknown {
    fn from(error: &Error) -> Self {
        let (reason, message, code) = match error {
            Error::NoTopic { .. } => (reason::TOPIC_MISSING, error.to_string(), "ok"),
            Error::Ask {
                what,
                topic,
                bootstrap_servers,
                source,
            } if refusal(source).is_some() => (
                reason::KAFKA_REFUSED,
                format!(
                    "kafka at {bootstrap_servers:?} refused to show {what} of topic {topic:?}: {}",
                    refusal(source).unwrap_or(RDKafkaErrorCode::Unknown)
                ),
                "refused",
            ),
            Error::Client {
                bootstrap_servers, ..
            }
            | Error::Ask {
                bootstrap_servers, ..
            }
            | Error::Silent {
                bootstrap_servers, ..
            }
            | Error::NoAnswer {
                bootstrap_servers, ..
            }
            | Error::TooSlow {
                bootstrap_servers, ..
            } => return Self::unreachable(bootstrap_servers, error.to_string()),
        };
        Self {
            reason,
            message,
            code,
            detail: error.to_string(),
        }
    }
}

/// The code of an error that Kafka itself answered with. Others are of the client: librdkafka's are negative.
fn refusal(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    error.rdkafka_error_code().filter(|code| *code as i32 > 0)
}

/// Sees one group on one topic.
pub struct Observer {
    reader: Arc<Reader>,
    group: String,
    topic: String,
    idle: Mutex<Option<Idle>>,
    /// Records in the offsets that were counted by the last look.
    counted: Mutex<BTreeMap<i32, (Range<i64>, u64)>>,
    /// What the group had committed at the last look.
    committed: Mutex<BTreeMap<i32, i64>>,
    /// What lay before the group then.
    ahead: Mutex<BTreeMap<i32, Range<i64>>>,
}

/// A group that had nothing to do when its topic ended here.
struct Idle {
    ends: BTreeMap<i32, i64>,
    lag: Lag,
    until: Instant,
}

impl Idle {
    /// Was that not too long ago?
    fn holds(&self) -> bool {
        self.until > Instant::now()
    }
}

impl Observer {
    /// Does no I/O: an unreachable cluster shows at the first look.
    pub fn new(reader: Arc<Reader>, group: &str, topic: &str) -> Self {
        Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            idle: Mutex::default(),
            counted: Mutex::default(),
            committed: Mutex::default(),
            ahead: Mutex::default(),
            reader,
        }
    }

    /// The lag, if it is known without asking Kafka: the group had nothing to do, and another one that reads the same
    /// topic has just seen that it did not grow.
    pub fn known(&self) -> Option<Lag> {
        let idle = self.idle();
        let idle = idle.as_ref().filter(|idle| idle.holds())?;
        let ends = self.reader.remembered_ends(&self.topic, Instant::now())?;
        (*ends == idle.ends).then(|| idle.lag.clone())
    }

    /// The lag now. Up to `negligible` records in all the exact number makes no difference to the caller, and may be
    /// a few too many while the group or its topic moves.
    pub fn lag(&self, negligible: u64) -> Result<Lag, Error> {
        let seen = self.lag_by(Instant::now() + DEADLINE, negligible);
        self.reader.heard(!seen.as_ref().is_err_and(Error::is_silence));
        seen
    }

    /// Where another topic ends for a `read_committed` reader, over all partitions.
    pub fn end(&self, topic: &str) -> Result<u64, Error> {
        let ends = self.reader.recent_ends(topic, Instant::now() + DEADLINE)?;
        Ok(total(ends.values().map(|end| u64::try_from(*end).unwrap_or(0))))
    }

    fn lag_by(&self, deadline: Instant, negligible: u64) -> Result<Lag, Error> {
        // One look at a time. What is known outlives an outage.
        let mut kept = self.idle();
        if let Some(idle) = kept.as_ref().filter(|idle| idle.holds()) {
            let ends = self.reader.recent_ends(&self.topic, deadline)?;
            if *ends == idle.ends {
                return Ok(idle.lag.clone());
            }
        }
        let (lag, ends) = self.look(negligible, deadline)?;
        *kept = (lag.records == 0).then(|| Idle {
            ends,
            lag: lag.clone(),
            // Spread, so that groups that were first seen together are not asked together for ever.
            until: Instant::now() + TRUSTED.mul_f64(rand::random_range(0.8..1.2)),
        });
        Ok(lag)
    }

    fn idle(&self) -> MutexGuard<'_, Option<Idle>> {
        // A panic elsewhere cannot leave a half-made entry behind.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for everything. Returns the lag, and where the topic ended.
    fn look(&self, negligible: u64, deadline: Instant) -> Result<(Lag, BTreeMap<i32, i64>), Error> {
        let (reader, topic) = (&self.reader, &self.topic);
        let partitions = reader.partitions(topic, left(deadline))?;
        let starts = reader.offsets(topic, &partitions, Offset::Beginning, left(deadline))?;
        // Committed before ends: a group that works meanwhile must not seem to be ahead of the topic.
        let committed = reader.committed(&self.group, topic, &partitions, left(deadline))?;
        let ends = reader.offsets(topic, &partitions, Offset::End, left(deadline))?;
        let busy = {
            // A panic elsewhere cannot leave a half-made map behind.
            let mut before = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
            busy(
                &std::mem::replace(&mut *before, committed.offsets.clone()),
                &committed,
            )
        };
        let ahead = ahead(&starts, &committed.offsets, &ends);
        let apparent = total(ahead.values().map(length));
        // What moves is other records at the next look.
        let moves = {
            // A panic elsewhere cannot leave a half-made map behind.
            let mut before = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *before, ahead.clone()) != ahead
        };
        let counted = if apparent <= negligible && moves {
            BTreeMap::new()
        } else {
            self.counted(&ahead, deadline)?
        };
        let lag = lag(&ahead, &counted);
        Ok((Lag { busy, ..lag }, ends))
    }

    /// How many records the partitions with few offsets before the group hold.
    fn counted(
        &self,
        ahead: &BTreeMap<i32, Range<i64>>,
        deadline: Instant,
    ) -> Result<BTreeMap<i32, u64>, Error> {
        let is_short = |offsets: &Range<i64>| length(offsets) <= COUNTED;
        // A panic elsewhere cannot leave a half-made count behind.
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.retain(|partition, (offsets, _)| ahead.get(partition) == Some(offsets));
        let new: BTreeMap<_, _> = ahead
            .iter()
            .filter(|(_, offsets)| is_short(offsets) && !offsets.is_empty())
            .filter(|(partition, _)| !counted.contains_key(partition))
            .map(|(partition, offsets)| (*partition, offsets.clone()))
            .collect();
        if !new.is_empty() {
            let mut counts = self.reader.count(&self.topic, &new, deadline)?;
            let found = new
                .into_iter()
                .map(|(partition, offsets)| (partition, (offsets, counts.remove(&partition).unwrap_or(0))));
            counted.extend(found);
        }
        Ok(counted
            .iter()
            .map(|(partition, (_, records))| (*partition, *records))
            .collect())
    }
}

/// The offsets before the group, by partition. Pure.
fn ahead(
    starts: &BTreeMap<i32, i64>,
    committed: &BTreeMap<i32, i64>,
    ends: &BTreeMap<i32, i64>,
) -> BTreeMap<i32, Range<i64>> {
    let of = |(partition, end): (&i32, &i64)| {
        let start = starts.get(partition).copied().unwrap_or(0);
        // What was deleted before the group came to it can no longer be worked on.
        let from = committed
            .get(partition)
            .map_or(start, |committed| start.max(*committed));
        // A topic that was made anew may end before what was once committed.
        (*partition, from.min(*end)..*end)
    };
    ends.iter().map(of).collect()
}

/// How much of their time members work, in the mean over the partitions in which something was done since `before`. None where
/// one of them does not say. Pure.
fn busy(before: &BTreeMap<i32, i64>, now: &Committed) -> Option<f64> {
    let moved = now
        .offsets
        .iter()
        .filter(|(partition, offset)| before.get(*partition).is_some_and(|before| before < *offset));
    let said = moved.map(|(partition, _)| Progress::of_metadata(now.metadata.get(partition)?)?.busy);
    let said = said.collect::<Option<Vec<f64>>>()?;
    let is_right = !said.is_empty() && said.iter().all(|busy| (0.0..=1.0).contains(busy));
    is_right.then(|| said.iter().sum::<f64>() / said.len() as f64)
}

/// The lag of each partition: as counted, or else as many records as there are offsets. Pure.
fn lag(ahead: &BTreeMap<i32, Range<i64>>, counted: &BTreeMap<i32, u64>) -> Lag {
    let of = |(partition, offsets): (&i32, &Range<i64>)| Partition {
        end: u64::try_from(offsets.end).unwrap_or(0),
        position: u64::try_from(offsets.start).unwrap_or(0),
        lag: counted.get(partition).copied().unwrap_or_else(|| length(offsets)),
    };
    Lag::of(ahead.iter().map(of).collect())
}

fn length(offsets: &Range<i64>) -> u64 {
    u64::try_from(offsets.end.saturating_sub(offsets.start)).unwrap_or(0)
}

fn total(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

fn left(deadline: Instant) -> Duration {
    // Not zero, which would be no request at all.
    deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

/// Takes what has piled up for a client that is otherwise never polled, such as connection errors.
fn drain(consumer: &BaseConsumer<Quiet>) {
    let most = 1000;
    for _ in 0..most {
        if consumer.poll(Duration::ZERO).is_none() {
            return;
        }
    }
}

fn client_config(bootstrap_servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap_servers)
        .set("client.id", "naru-operator")
        .set("enable.auto.commit", "false")
        .set("allow.auto.create.topics", "false")
        .set("socket.timeout.ms", "5000")
        .set("reconnect.backoff.max.ms", "2000")
        .set_log_level(RDKafkaLogLevel::Emerg);
    config
}

/// A client that says nothing of its own accord: each failure shows in a look, and is told once there.
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::trace!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::trace!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Quiet {}

/// Whether the topic is not there, which is no failure of Kafka's.
fn is_unknown(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic
    )
}
