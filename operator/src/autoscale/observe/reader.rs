//! Topics of one Kafka cluster, as a `read_committed` reader sees them. Blocking.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    metadata::{MetadataPartition, MetadataTopic},
};
use snafu::ResultExt;

use super::{
    AskSnafu, ClientSnafu, Error, NoAnswerSnafu, NoTopicSnafu, Quiet, SilentSnafu, TooSlowSnafu,
    client_config, drain, is_unknown, left,
};
use crate::{
    kafka::renewed::Renewed,
    native::{Committed, committed},
};

/// How long an answer to where a topic ends serves all who ask: groups that read the same topic are looked at together.
const RECENT: Duration = Duration::from_secs(1);

/// Where a topic ended, by partition, and when that was.
type Ended = (Instant, Arc<BTreeMap<i32, i64>>);

/// A client for one Kafka cluster that all observers of the cluster share. It is in no group.
pub struct Reader {
    bootstrap_servers: String,
    consumer: Renewed<BaseConsumer<Quiet>>,
    /// The one who counts: a client has one assignment.
    counting: Mutex<()>,
    ended: Mutex<BTreeMap<String, Ended>>,
}

impl Reader {
    /// Does no I/O: an unreachable cluster shows at the first question.
    pub fn new(bootstrap_servers: &str) -> Result<Self, Error> {
        let mut config = client_config(bootstrap_servers);
        config
            // librdkafka's consumer queue needs one, though nobody ever joins or commits under it.
            .set("group.id", "naru-operator")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            // What was deleted between question and answer is no reason to count from elsewhere.
            .set("auto.offset.reset", "error")
            // Tails are short: the end must show soon, and not much be fetched ahead.
            .set("fetch.wait.max.ms", "20")
            .set("fetch.message.max.bytes", "262144")
            .set("queued.min.messages", "100")
            .set("queued.max.messages.kbytes", "4096");
        let consumer = Renewed::new(move || config.create_with_context(Quiet))
            .context(ClientSnafu { bootstrap_servers })?;
        Ok(Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            consumer,
            counting: Mutex::default(),
            ended: Mutex::default(),
        })
    }

    /// Whether somebody has answered.
    pub(super) fn heard(&self, answered: bool) {
        if answered {
            return self.consumer.answered();
        }
        if self.consumer.unanswered(Instant::now()).is_some() {
            let bootstrap_servers = &self.bootstrap_servers;
            tracing::warn!(
                bootstrap_servers,
                "another client of kafka, since this one reaches nobody"
            );
        }
    }

    /// The topic's partitions.
    pub(super) fn partitions(&self, topic: &str, timeout: Duration) -> Result<Vec<i32>, Error> {
        let bootstrap_servers = &self.bootstrap_servers;
        let ask = AskSnafu {
            what: "the partitions",
            topic,
            bootstrap_servers,
        };
        // Any broker can answer this.
        let metadata = self.consumer.get().fetch_metadata(Some(topic), timeout);
        let metadata = metadata.context(SilentSnafu { bootstrap_servers })?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let code = found.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from);
        match (found, code) {
            (Some(found), None) => Ok(found.partitions().iter().map(MetadataPartition::id).collect()),
            (Some(_), Some(code)) if !is_unknown(code) => Err(KafkaError::MetadataFetch(code)).context(ask),
            _ => NoTopicSnafu {
                topic,
                bootstrap_servers,
            }
            .fail(),
        }
    }

    /// The same as [`Self::recent_ends`], without asking.
    pub(super) fn remembered_ends(&self, topic: &str, now: Instant) -> Option<Arc<BTreeMap<i32, i64>>> {
        let ended = self.ended();
        let (at, ends) = ended.get(topic)?;
        (now.saturating_duration_since(*at) < RECENT).then(|| Arc::clone(ends))
    }

    fn ended(&self) -> MutexGuard<'_, BTreeMap<String, Ended>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As if all that is remembered were too old.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.ended().clear();
    }

    /// The last stable offsets of all partitions, as they were at most [`RECENT`] ago.
    pub(super) fn recent_ends(
        &self,
        topic: &str,
        deadline: Instant,
    ) -> Result<Arc<BTreeMap<i32, i64>>, Error> {
        let asked = Instant::now();
        if let Some(ends) = self.remembered_ends(topic, asked) {
            return Ok(ends);
        }
        let partitions = self.partitions(topic, left(deadline))?;
        let ends = Arc::new(self.offsets(topic, &partitions, Offset::End, left(deadline))?);
        let mut ended = self.ended();
        ended.retain(|_, (at, _)| asked.saturating_duration_since(*at) < RECENT);
        ended.insert(topic.to_owned(), (asked, Arc::clone(&ends)));
        Ok(ends)
    }

    /// What any group has committed.
    pub(super) fn committed(
        &self,
        group: &str,
        topic: &str,
        partitions: &[i32],
        timeout: Duration,
    ) -> Result<Committed, Error> {
        let bootstrap_servers = &self.bootstrap_servers;
        let what = "the committed offsets";
        let ask = AskSnafu {
            what,
            topic,
            bootstrap_servers,
        };
        let deadline = Instant::now() + timeout;
        let committed = |consumer: &BaseConsumer<Quiet>| {
            committed(consumer.client(), group, topic, partitions, left(deadline))
        };
        match committed(&self.consumer.get()) {
            // A client remembers the coordinator of a group for as long as it is asked about it, and does not learn that
            // it is another one now.
            Err(KafkaError::OffsetFetch(
                RDKafkaErrorCode::NotCoordinator | RDKafkaErrorCode::CoordinatorNotAvailable,
            )) => {
                let mut config = client_config(bootstrap_servers);
                config.set("group.id", "naru-operator");
                let other = config.create_with_context(Quiet);
                committed(&other.context(ClientSnafu { bootstrap_servers })?)
            }
            answer => answer,
        }
        .context(ask)
    }

    /// `Offset::Beginning`: the start of each partition's log. `Offset::End`: its last stable offset, the isolation
    /// level being `read_committed`. One request per leader.
    pub(super) fn offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        which: Offset,
        timeout: Duration,
    ) -> Result<BTreeMap<i32, i64>, Error> {
        let bootstrap_servers = &self.bootstrap_servers;
        let what = "the offsets";
        let ask = AskSnafu {
            what,
            topic,
            bootstrap_servers,
        };
        let mut asked = TopicPartitionList::new();
        for partition in partitions {
            asked
                .add_partition_offset(topic, *partition, which)
                .context(ask)?;
        }
        let answer = self
            .consumer
            .get()
            .offsets_for_times(asked, timeout)
            .context(ask)?;
        let mut offsets = BTreeMap::new();
        for element in answer.elements_for_topic(topic) {
            element.error().context(ask)?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.insert(element.partition(), offset);
            }
        }
        if offsets.len() < partitions.len() {
            return NoAnswerSnafu {
                what,
                topic,
                bootstrap_servers,
            }
            .fail();
        }
        Ok(offsets)
    }

    /// How many records of committed transactions, or of none, these offsets hold: by reading them.
    pub(super) fn count(
        &self,
        topic: &str,
        offsets: &BTreeMap<i32, Range<i64>>,
        deadline: Instant,
    ) -> Result<BTreeMap<i32, u64>, Error> {
        let _alone = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        let consumer = self.consumer.get();
        drain(&consumer);
        let counts = self.read(&consumer, topic, offsets, deadline);
        // A client without an assignment fetches nothing. There is none to take away if `read` failed early.
        let _ = consumer.unassign();
        counts
    }

    fn read(
        &self,
        consumer: &BaseConsumer<Quiet>,
        topic: &str,
        offsets: &BTreeMap<i32, Range<i64>>,
        deadline: Instant,
    ) -> Result<BTreeMap<i32, u64>, Error> {
        let bootstrap_servers = &self.bootstrap_servers;
        let ask = AskSnafu {
            what: "the last records",
            topic,
            bootstrap_servers,
        };
        let mut assignment = TopicPartitionList::new();
        for (partition, offsets) in offsets {
            assignment
                .add_partition_offset(topic, *partition, Offset::Offset(offsets.start))
                .context(ask)?;
        }
        consumer.assign(&assignment).context(ask)?;
        let mut unread = offsets.clone();
        let mut counts: BTreeMap<i32, u64> = offsets.keys().map(|partition| (*partition, 0)).collect();
        while !unread.is_empty() {
            if Instant::now() >= deadline {
                return TooSlowSnafu {
                    topic,
                    bootstrap_servers,
                }
                .fail();
            }
            match consumer.poll(left(deadline).min(Duration::from_millis(100))) {
                Some(Ok(record)) => {
                    let Some(offsets) = unread.get(&record.partition()) else {
                        continue;
                    };
                    if record.offset() < offsets.end {
                        *counts.entry(record.partition()).or_default() += 1;
                    }
                    if record.offset() + 1 >= offsets.end {
                        unread.remove(&record.partition());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    unread.remove(&partition);
                }
                // Either it passes, or the deadline does.
                Some(Err(error)) => tracing::debug!(topic, %error, "failed to read the end of a topic"),
                None => {}
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::{
        consumer::CommitMode,
        mocking::MockCluster,
        types::{RDKafkaApiKey, RDKafkaRespErr},
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn what_a_group_has_committed_is_asked_again_where_the_coordinator_is_another_one_now() {
        let brokers = MockCluster::new(1).unwrap();
        brokers.create_topic("items", 2, 1).unwrap();
        let mut config = client_config(&brokers.bootstrap_servers());
        let member: BaseConsumer = config.set("group.id", "sum").create().unwrap();
        let mut offsets = TopicPartitionList::new();
        offsets
            .add_partition_offset("items", 1, Offset::Offset(7))
            .unwrap();
        member.commit(&offsets, CommitMode::Sync).unwrap();

        let reader = Reader::new(&brokers.bootstrap_servers()).unwrap();
        // These brokers answer for each other's groups, so that the answer is made up.
        let moved = || {
            let answer = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
            brokers.request_errors(RDKafkaApiKey::OffsetFetch, &[answer]);
        };
        moved();
        let told = committed(reader.consumer.get().client(), "sum", "items", &[0, 1], SOON);
        assert!(
            matches!(
                told,
                Err(KafkaError::OffsetFetch(RDKafkaErrorCode::NotCoordinator))
            ),
            "one client does not look for another coordinator: {told:?}"
        );
        moved();
        let found = reader.committed("sum", "items", &[0, 1], SOON).unwrap();
        assert_eq!(found.offsets, BTreeMap::from([(1, 7)]));
    }
}
