//! One producer, one transaction at a time.
//!
//! A transaction is begun only when all that belongs in it is at hand, so it is open for milliseconds and an
//! abort costs nothing but the attempt: the caller takes a new snapshot of its state and tries again.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use naru_contract::Kafka;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{ClientConfig, TopicPartitionList};
use snafu::Snafu;
use tracing::debug;

pub use super::produce::Record;
use super::produce::{Deliveries, Failure, deliver};
use super::{config, topic};
use crate::drain::{ABORT, COMMIT, Deadline, Drain, OPEN};

/// Bound on one call to librdkafka.
const CALL: Duration = Duration::from_secs(10);
/// The same for one that only waits: between two such calls it is seen that the process is to end.
const WAIT: Duration = Duration::from_secs(1);
/// How often the deadline of a call that is under way is looked at, and how much later it may return.
const LOOK: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_secs(1);
/// A commit slower than this had trouble with its coordinator.
const SUSPICIOUS: Duration = Duration::from_secs(2);

/// Why nothing was committed, as far as is known.
#[derive(Debug, Snafu)]
pub enum Error {
    /// Nothing of the transaction is or will be visible. Take a new snapshot and try again.
    #[snafu(display("the transaction was aborted: {reason}"))]
    Aborted { reason: String },
    /// Another producer has taken over the transactional id: this one is of no more use.
    #[snafu(display("a newer instance has taken over transactional id {transactional_id:?}"))]
    Fenced { transactional_id: String },
    /// The producer is of no more use, and whether its last transaction was committed is known only from what
    /// Kafka holds. Open a new one, which settles that transaction, and read offsets and state from Kafka.
    #[snafu(display("the producer must be opened anew: {reason}"))]
    Fatal { reason: String },
}

/// The offsets that a transaction commits, and the membership in whose name it does.
/// Both are to be taken on the thread that owns the consumer, between two polls and right before the commit.
pub struct Position {
    pub offsets: TopicPartitionList,
    pub member: ConsumerGroupMetadata,
}

/// A producer that does nothing outside transactions.
pub struct TransactionalProducer {
    producer: Arc<BaseProducer<Deliveries>>,
    config: ClientConfig,
    transactional_id: String,
    /// Its last commit had trouble: a late answer to it might complete a later transaction of the same epoch.
    suspect: bool,
    drain: Drain,
}

impl TransactionalProducer {
    /// Fences every predecessor with this id; its open transaction, if any, is completed or aborted before this
    /// returns. What a predecessor wrote is to be read only afterwards.
    pub fn open(kafka: &Kafka, transactional_id: &str) -> Result<Self, Error> {
        Self::open_until(kafka, transactional_id, &Drain::default())
    }

    /// The same, which takes no longer than the end of the process allows, and neither does what is done with it.
    pub fn open_until(kafka: &Kafka, transactional_id: &str, drain: &Drain) -> Result<Self, Error> {
        #[cfg(feature = "broken")]
        let transactional_id = &match super::broken::is("unfenced") {
            true => format!("{transactional_id}.{}", std::process::id()),
            false => transactional_id.to_owned(),
        };
        let config = config::transactional(kafka, transactional_id);
        let producer = open(&config, transactional_id, &drain.deadline(OPEN))?;
        Ok(Self {
            producer,
            config,
            transactional_id: transactional_id.to_owned(),
            suspect: false,
            drain: drain.clone(),
        })
    }

    /// The same, which from now on takes no longer than the end of the process allows.
    pub fn until(mut self, drain: &Drain) -> Self {
        self.drain = drain.clone();
        self
    }

    /// How many partitions `topic` has. From now on records can be produced to all of them: by itself the producer
    /// learns of new ones only after a while.
    pub fn partition_count(&self, topic: &str) -> Result<i32, topic::Error> {
        topic::count(self.producer.client(), topic)
    }

    /// Makes `records` and `position` visible together, or neither.
    pub fn commit<'a>(
        &mut self,
        records: impl IntoIterator<Item = Record<'a>>,
        position: Option<Position>,
    ) -> Result<(), Error> {
        if self.suspect {
            self.producer = open(&self.config, &self.transactional_id, &self.drain.deadline(COMMIT))?;
            self.suspect = false;
        }
        let started = Instant::now();
        let result = self.attempt(records, position, &self.drain.deadline(COMMIT));
        if started.elapsed() > SUSPICIOUS {
            self.suspect = true;
        }
        result
    }

    fn attempt<'a>(
        &mut self,
        records: impl IntoIterator<Item = Record<'a>>,
        position: Option<Position>,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        self.call(deadline, "begin", |producer, _| producer.begin_transaction())
            .map_err(|failure| self.judge(failure))?;
        let prepared = deliver(&self.producer, records, deadline).and_then(|()| match position {
            None => Ok(()),
            Some(position) => self.send_offsets(position, deadline),
        });
        match prepared {
            Ok(()) => {}
            Err(Failure::Abort(reason)) | Err(Failure::OutOfTime(reason)) => return Err(self.abort(reason)),
            Err(failure) => return Err(self.judge(failure)),
        }
        // All messages are delivered, so the flush within this call returns at once.
        match self.call(deadline, "commit", |producer, timeout| {
            producer.commit_transaction(timeout)
        }) {
            Ok(()) => Ok(()),
            Err(Failure::Abort(reason)) => Err(self.abort(reason)),
            Err(failure) => Err(self.judge(failure)),
        }
    }

    /// Calls until it succeeds, as long as librdkafka says that the same call may be repeated.
    fn call(
        &self,
        deadline: &Deadline,
        what: &str,
        call: impl Fn(&BaseProducer<Deliveries>, Duration) -> KafkaResult<()>,
    ) -> Result<(), Failure> {
        repeat(deadline, what, CALL, |timeout| call(&self.producer, timeout))
    }

    /// Librdkafka does not keep to the timeout of this one call: while it looks for a coordinator that has moved it waits
    /// for the state of some broker to change, which may never happen. A call that is given up keeps its producer, which
    /// the next one fences.
    fn send_offsets(&self, position: Position, deadline: &Deadline) -> Result<(), Failure> {
        let producer = Arc::clone(&self.producer);
        bounded(deadline, move |deadline| {
            repeat(deadline, "send offsets", CALL, |timeout| {
                producer.send_offsets_to_transaction(&position.offsets, &position.member, timeout)
            })
        })
    }

    fn abort(&mut self, reason: String) -> Error {
        debug!(%reason, "aborting the transaction");
        let deadline = self.drain.deadline(ABORT);
        // Aborting waits until the delivery reports of dropped messages are served, so somebody must.
        let aborted = std::thread::scope(|scope| {
            let abort = scope.spawn(|| {
                repeat(&deadline, "abort", CALL, |timeout| {
                    self.producer.abort_transaction(timeout)
                })
            });
            while !abort.is_finished() {
                self.producer.poll(Duration::from_millis(1));
            }
            abort.join()
        });
        match aborted {
            Ok(Ok(())) => Error::Aborted { reason },
            Ok(Err(failure)) => self.judge(failure),
            Err(_) => Error::Fatal {
                reason: "the abort panicked".to_owned(),
            },
        }
    }

    fn judge(&self, failure: Failure) -> Error {
        let (Failure::Abort(reason) | Failure::OutOfTime(reason) | Failure::Fatal(reason)) = failure;
        verdict(&self.producer, &self.transactional_id, reason)
    }
}

/// Waits for `call` to return, and somewhat longer than until the deadline, to which it is to keep by itself.
fn bounded(
    deadline: &Deadline,
    call: impl FnOnce(&Deadline) -> Result<(), Failure> + Send + 'static,
) -> Result<(), Failure> {
    let (done, result) = mpsc::channel();
    let theirs = deadline.clone();
    let call = move || {
        // Nobody listens any more once the call was given up.
        let _ = done.send(call(&theirs));
    };
    let spawned = std::thread::Builder::new()
        .name("send-offsets".to_owned())
        .spawn(call);
    if let Err(error) = spawned {
        return Err(Failure::Abort(format!("unable to start a thread: {error}")));
    }
    while !deadline.is_over() {
        // The deadline becomes earlier when the process is told to end.
        match result.recv_timeout(LOOK) {
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Ok(result) => return result,
        }
    }
    result.recv_timeout(LATE).unwrap_or_else(|_| {
        let reason = "a call to send offsets has not returned in time";
        Err(Failure::Fatal(reason.to_owned()))
    })
}

fn open(
    config: &ClientConfig,
    transactional_id: &str,
    deadline: &Deadline,
) -> Result<Arc<BaseProducer<Deliveries>>, Error> {
    let producer: BaseProducer<Deliveries> =
        config
            .create_with_context(Deliveries::default())
            .map_err(|error| Error::Fatal {
                reason: format!("unable to create a producer: {error}"),
            })?;
    match repeat(deadline, "initialise transactions", WAIT, |timeout| {
        producer.init_transactions(timeout)
    }) {
        Ok(()) => Ok(Arc::new(producer)),
        Err(Failure::Abort(reason) | Failure::OutOfTime(reason) | Failure::Fatal(reason)) => {
            Err(verdict(&producer, transactional_id, reason))
        }
    }
}

fn repeat(
    deadline: &Deadline,
    what: &str,
    longest: Duration,
    mut call: impl FnMut(Duration) -> KafkaResult<()>,
) -> Result<(), Failure> {
    loop {
        let error = match call(deadline.left().clamp(Duration::from_millis(100), longest)) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let reason = format!("unable to {what}: {error}");
        let KafkaError::Transaction(error) = error else {
            return Err(Failure::Fatal(reason));
        };
        if error.is_fatal() {
            return Err(Failure::Fatal(reason));
        }
        if error.txn_requires_abort() {
            return Err(Failure::Abort(reason));
        }
        if !error.is_retriable() {
            return Err(Failure::Fatal(reason));
        }
        if deadline.is_over() {
            return Err(Failure::OutOfTime(reason));
        }
        debug!(%reason, "trying again");
    }
}

fn verdict(producer: &BaseProducer<Deliveries>, transactional_id: &str, reason: String) -> Error {
    match producer.client().fatal_error() {
        Some((RDKafkaErrorCode::Fenced | RDKafkaErrorCode::InvalidProducerEpoch, _)) => Error::Fenced {
            transactional_id: transactional_id.to_owned(),
        },
        Some((_, fatal)) => Error::Fatal {
            reason: format!("{reason} ({fatal})"),
        },
        None => Error::Fatal { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Step;

    #[test]
    fn a_call_that_never_returns_is_given_up() {
        let deadline = Drain::default().deadline(Step {
            longest: Duration::from_millis(50),
            leaves: Duration::ZERO,
        });
        let (returns, never) = mpsc::channel::<()>();
        let started = Instant::now();
        let given_up = bounded(&deadline, move |_| {
            let _ = never.recv();
            Ok(())
        });
        assert!(matches!(given_up, Err(Failure::Fatal(_))));
        assert!(started.elapsed() < Duration::from_secs(20));
        drop(returns);
    }

    #[test]
    fn opening_a_producer_ends_soon_after_the_process_is_told_to_end() {
        let kafka = Kafka {
            bootstrap_servers: "127.0.0.1:9".to_owned(),
            properties: Default::default(),
        };
        let drain = Drain::default();
        let opening = std::thread::spawn({
            let drain = drain.clone();
            move || TransactionalProducer::open_until(&kafka, "planner", &drain).err()
        });
        drain.begin(crate::drain::WITHIN);
        let told = Instant::now();
        let error = opening.join().unwrap();
        assert!(matches!(error, Some(Error::Fatal { .. })), "{error:?}");
        assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    }

    #[test]
    fn the_result_of_a_call_that_returns_is_passed_on() {
        let deadline = Drain::default().deadline(COMMIT);
        assert!(bounded(&deadline, |_| Ok(())).is_ok());
        let aborts = bounded(&deadline, |_| Err(Failure::Abort("because".to_owned())));
        assert!(matches!(aborts, Err(Failure::Abort(reason)) if reason == "because"));
        let panics = bounded(&deadline, |_| unreachable!());
        assert!(matches!(panics, Err(Failure::Fatal(_))));
    }
}
