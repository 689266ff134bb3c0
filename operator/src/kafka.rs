//! Topics: what there is, and what must be there.

mod config;
mod create;
mod delete;
pub(crate) mod renewed;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use kube::Resource;
use naru_api::condition::reason;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions, TopicResult},
    client::DefaultClientContext,
    error::{KafkaError, KafkaResult},
    metadata::MetadataTopic,
    types::RDKafkaErrorCode,
};
use snafu::{ResultExt, Snafu};

use self::{
    create::{Creation, Made},
    renewed::Renewed,
};
use crate::{
    controller::Error as ReconcileError,
    endpoint::{Answers, Cache, Endpoint, Freshness, NoAnswer, Pool, Silence, Turn, Unanswered},
    leader::{Fence, NotLeader},
    metrics::External,
};

/// Deadline of one request.
const DEADLINE: Duration = Duration::from_secs(5);

/// More topics than this are not looked at all at once.
const MANY: usize = 4000;

/// How many partitions a topic has, or why Kafka does not say.
type Described = Result<i32, RDKafkaErrorCode>;

/// Why Kafka did not do what it was asked for.
#[derive(Clone, Debug, Snafu)]
pub enum Error {
    #[snafu(display("no client can be made for kafka at {bootstrap_servers:?}"))]
    Client {
        bootstrap_servers: String,
        source: KafkaError,
    },

    #[snafu(display("kafka at {bootstrap_servers:?} does not answer{silence}"))]
    Unreachable {
        bootstrap_servers: String,
        silence: Silence,
    },

    /// It was not asked: others of our requests came first.
    #[snafu(display("kafka at {bootstrap_servers:?} is busy with other requests of this operator"))]
    Busy { bootstrap_servers: String },

    #[snafu(display("kafka at {bootstrap_servers:?} refused to {doing}: {code}"))]
    Refused {
        bootstrap_servers: String,
        doing: String,
        code: RDKafkaErrorCode,
    },

    #[snafu(display(
        "topic {topic:?} has {key}={found}, with which it loses what the workers need: set it to {expected}"
    ))]
    Misconfigured {
        topic: String,
        key: &'static str,
        found: String,
        expected: &'static str,
    },

    #[snafu(display("{source}"), context(false))]
    Fenced { source: NotLeader },
}

fn described(topic: &MetadataTopic) -> Described {
    match topic.error().map(RDKafkaErrorCode::from) {
        None => Ok(i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX)),
        Some(code) => Err(code),
    }
}

impl From<Error> for ReconcileError {
    fn from(error: Error) -> Self {
        match error {
            // The message of the client says what is wrong with the addresses.
            Error::Client { ref source, .. } => {
                Self::dependency(reason::KAFKA_UNREACHABLE, format!("{error}: {source}"))
            }
            Error::Unreachable { .. } => Self::dependency(reason::KAFKA_UNREACHABLE, error.to_string()),
            Error::Busy { bootstrap_servers } => Self::busy(format_args!("kafka at {bootstrap_servers:?}")),
            Error::Refused { .. } => Self::dependency(reason::KAFKA_REFUSED, error.to_string()),
            Error::Misconfigured { .. } => Self::dependency(reason::TOPIC_MISCONFIGURED, error.to_string()),
            Error::Fenced { source } => source.into(),
        }
    }
}

/// A topic that a resource needs and may create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    /// Configuration that the topic is created with. What decides which records are deleted must be so in a topic that
    /// was there, too.
    pub config: BTreeMap<&'static str, &'static str>,
    /// Whether partitions are added to a topic that has fewer. Only for topics whose keys do not matter.
    pub grow: bool,
}

/// One client per Kafka cluster that is in use.
#[derive(Default)]
pub struct Clusters {
    pool: Pool<String, Cluster>,
    external: External,
    fence: Fence,
}

impl Clusters {
    /// Counts the requests there.
    pub fn counted(mut self, external: External) -> Self {
        self.external = external;
        self
    }

    /// The same, which change nothing without the lead.
    pub fn behind(mut self, fence: Fence) -> Self {
        self.fence = fence;
        self
    }

    /// The cluster behind these brokers. Does no I/O: an unreachable one shows at the first request.
    pub fn get(&self, bootstrap_servers: &str) -> Result<Arc<Cluster>, Error> {
        self.pool.get(&bootstrap_servers.to_owned(), || {
            Cluster::new(bootstrap_servers, self.external.clone(), self.fence.clone())
                .context(ClientSnafu { bootstrap_servers })
        })
    }

    /// Drops the clients of clusters that no resource uses any more. Needs a runtime: to close one blocks.
    pub fn prune(&self, now: Instant) {
        let unused = self.pool.prune(now);
        if !unused.is_empty() {
            tokio::task::spawn_blocking(move || drop(unused));
        }
    }
}

/// A Kafka cluster.
pub struct Cluster {
    bootstrap_servers: String,
    admin: Renewed<AdminClient<DefaultClientContext>>,
    endpoint: Endpoint,
    external: External,
    /// Partitions by topic.
    topics: Cache<String, i32>,
    /// Why topics that were not among all of them are not, where there is a reason other than that they are missing.
    denied: Cache<String, Option<RDKafkaErrorCode>>,
    /// When all topics were asked for last: one that was not among them was missing then.
    looked: Mutex<Option<Instant>>,
    /// There are more topics than can be looked at all at once.
    has_many: AtomicBool,
    /// When the configuration of a topic was seen to be right.
    checked: Mutex<HashMap<String, Instant>>,
    fence: Fence,
    /// For which resource, by its uid, a topic was created, or may have been: the answer was lost. A pass may see the
    /// resource as it was before that was written down.
    created: Mutex<HashMap<String, Made>>,
    creation: Creation,
    /// Held by the one that looks at all topics, for all who wait behind it.
    looking: tokio::sync::Mutex<()>,
}

impl Cluster {
    fn new(bootstrap_servers: &str, external: External, fence: Fence) -> KafkaResult<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap_servers)
            .set("client.id", "naru-operator")
            // Or the question whether there is a topic would make one, with the broker's defaults.
            .set("allow.auto.create.topics", "false")
            .set("socket.timeout.ms", "5000")
            .set("socket.connection.setup.timeout.ms", "2000")
            .set("reconnect.backoff.max.ms", "2000");
        Ok(Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            admin: Renewed::new(move || config.create())?,
            endpoint: Endpoint::default(),
            external,
            topics: Cache::default(),
            denied: Cache::default(),
            looked: Mutex::default(),
            has_many: AtomicBool::default(),
            checked: Mutex::default(),
            fence,
            created: Mutex::default(),
            creation: Creation::default(),
            looking: tokio::sync::Mutex::default(),
        })
    }

    /// As if what is remembered of a topic were too old.
    #[cfg(test)]
    pub(crate) fn forget(&self, topic: &str) {
        self.topics.forget(&topic.to_owned());
    }

    /// The same as [`Self::partitions`] for a topic that is to be there. What this client may not see is not in the list of
    /// all topics, as if it was missing: only who asks for it by its name is told.
    pub async fn sought(&self, topic: &str, freshness: Freshness) -> Result<Option<i32>, Error> {
        let found = self.partitions(topic, freshness).await?;
        // Where there are very many it was asked for by its name.
        if found.is_some() || self.has_many.load(Ordering::Relaxed) {
            return Ok(found);
        }
        let (topic, wanted) = (topic.to_owned(), Instant::now());
        if let Some(denied) = self.denied.get(&topic, freshness, wanted) {
            return self.understood(&topic, denied.map(Err));
        }
        let described = self.look(&topic, true).await?;
        let code = described.and_then(Result::err);
        self.denied.put(topic.clone(), code, wanted);
        self.understood(&topic, described)
    }

    fn understood(&self, topic: &str, described: Option<Described>) -> Result<Option<i32>, Error> {
        match described {
            Some(Ok(partitions)) => Ok(Some(partitions)),
            None | Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition)) => Ok(None),
            Some(Err(code)) => RefusedSnafu {
                bootstrap_servers: &self.bootstrap_servers,
                doing: format!("describe topic {topic:?}"),
                code,
            }
            .fail(),
        }
    }

    /// How many partitions the topic has; none if there is no such topic, or if it may not be seen.
    pub async fn partitions(&self, topic: &str, freshness: Freshness) -> Result<Option<i32>, Error> {
        let (topic, wanted) = (topic.to_owned(), Instant::now());
        if let Some(partitions) = self.topics.get(&topic, freshness, wanted) {
            return Ok(Some(partitions));
        }
        let looking = self.endpoint.alone(&self.looking).await;
        let looking = looking.and_then(|looking| looking.ok_or(NoAnswer::Busy));
        let _looking = looking.map_err(|no_answer| self.unanswered(no_answer))?;
        // Another pass may have looked while this one waited.
        if let Some(partitions) = self.topics.get(&topic, freshness, wanted) {
            return Ok(Some(partitions));
        }
        if self
            .looked()
            .is_some_and(|asked| freshness.allows_missing(asked, wanted))
        {
            return Ok(None);
        }
        let described = self.look(&topic, self.has_many.load(Ordering::Relaxed)).await?;
        self.understood(&topic, described)
    }

    /// Looks at all topics at once, since passes come in crowds, and since librdkafka keeps a handle with a queue for
    /// each partition of a topic that is asked for by its name. Where there are very many, at this one alone. What this
    /// client may not see is not among all topics.
    async fn look(&self, topic: &str, only_one: bool) -> Result<Option<Described>, Error> {
        let turn = self.turn().await?;
        let asked = Instant::now();
        let (admin, name) = (self.admin.get(), topic.to_owned());
        let look = tokio::task::spawn_blocking(move || {
            let only = only_one.then_some(name.as_str());
            let metadata = admin.inner().fetch_metadata(only, DEADLINE)?;
            let topics = metadata.topics().iter();
            let described = topics.map(|topic| (topic.name().to_owned(), described(topic)));
            Ok::<_, KafkaError>(described.collect::<HashMap<_, _>>())
        });
        let look = async { look.await.expect("the closure does not panic") };
        let mut found = self.ask(turn, look).await?;
        let answer = found.remove(topic);
        if let Some(Ok(partitions)) = answer {
            self.topics.put(topic.to_owned(), partitions, asked);
        }
        if found.len() > MANY {
            self.has_many.store(true, Ordering::Relaxed);
        } else if !only_one {
            for (topic, described) in found {
                if let Ok(partitions) = described {
                    self.topics.put(topic, partitions, asked);
                }
            }
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            *looked = looked.max(Some(asked));
        }
        Ok(answer)
    }

    /// When all topics were asked for last.
    fn looked(&self) -> Option<Instant> {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates the topic if there is none, for the resource with this uid, and adds partitions where the spec allows it.
    /// Returns how many there are.
    async fn ensure(&self, topic: &TopicSpec, owner: &str, freshness: Freshness) -> Result<i32, Error> {
        let mut found = self.partitions(&topic.name, freshness).await?;
        if found.is_some() {
            self.check_config(topic).await?;
        }
        if found.is_some_and(|known| known < topic.partitions) {
            // They may have been added since.
            found = self.partitions(&topic.name, Freshness::now()).await?;
        }
        match found {
            None => {
                self.checked().remove(&topic.name);
                if !self.create(topic, owner).await? {
                    // Another pass, or a person, was faster, perhaps with other partitions.
                    let partitions = self.sought(&topic.name, Freshness::now()).await?;
                    self.check_config(topic).await?;
                    return Ok(partitions.unwrap_or(topic.partitions));
                }
            }
            Some(found) if found < topic.partitions && topic.grow => {
                let count = usize::try_from(topic.partitions).unwrap_or(1);
                let new = NewPartitions::new(&topic.name, count);
                let (turn, options) = self.change().await?;
                let admin = self.admin.get();
                let answers = self.ask(turn, admin.create_partitions([&new], &options));
                self.check(&answers.await?, || {
                    format!("add partitions to topic {:?}", topic.name)
                })?;
            }
            Some(partitions) => return Ok(partitions),
        }
        self.topics
            .put(topic.name.clone(), topic.partitions, Instant::now());
        Ok(topic.partitions)
    }

    fn created(&self) -> MutexGuard<'_, HashMap<String, Made>> {
        // A panic elsewhere cannot leave a half-made entry behind.
        self.created.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checked(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a change may be asked for.
    async fn change(&self) -> Result<(Turn<'_>, AdminOptions), Error> {
        self.fence.check()?;
        let turn = self.turn().await?;
        // Not before its turn: the wait for that is none of the request's time.
        Ok((turn, self.options()?))
    }

    /// For a change: none without the lead, and none that lasts longer than it.
    fn options(&self) -> Result<AdminOptions, NotLeader> {
        let deadline = Some(self.fence.within(DEADLINE)?);
        Ok(AdminOptions::new()
            .request_timeout(deadline)
            .operation_timeout(deadline))
    }

    /// Makes sure of a topic for a resource, and adds it to the ones that were created for it. Returns how many
    /// partitions it has.
    pub async fn ensure_for<K: Resource>(
        &self,
        owner: &K,
        topic: &TopicSpec,
        freshness: Freshness,
        created: &mut Vec<String>,
    ) -> Result<i32, Error> {
        let owner = owner.meta().uid.clone().unwrap_or_default();
        let partitions = self.ensure(topic, &owner, freshness).await?;
        let ours = self
            .created()
            .get(&topic.name)
            .is_some_and(|made| made.is_of(&owner, Instant::now()));
        if ours && !created.contains(&topic.name) {
            created.push(topic.name.clone());
        }
        Ok(partitions)
    }

    /// As if a topic had been created for this resource.
    #[cfg(test)]
    pub(crate) fn has_created(&self, topic: &str, owner: &str) {
        self.created().insert(topic.to_owned(), Made::of(owner));
    }

    /// Waits until it is the next request's turn. A request must not be made before: rdkafka sends it at once, and not
    /// when its future is first polled.
    async fn turn(&self) -> Result<Turn<'_>, Error> {
        let turn = self.endpoint.turn(Answers::Soon).await;
        turn.map_err(|no_answer| self.unanswered(no_answer))
    }

    /// Waits for the answer. Any error of the client's means that nobody answered.
    async fn ask<T, E: Display>(
        &self,
        turn: Turn<'_>,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        let start = Instant::now();
        let answer = request.await;
        let code = if answer.is_ok() { "ok" } else { "unanswered" };
        let (external, endpoint) = (&self.external, &self.bootstrap_servers);
        external.observe("kafka", endpoint, code, start.elapsed());
        self.heard(answer.is_ok());
        let answer = answer.map_err(|error| Unanswered {
            cause: error.to_string(),
            telling: true,
        });
        turn.end(answer).map_err(|no_answer| self.unanswered(no_answer))
    }

    fn heard(&self, answered: bool) {
        if answered {
            return self.admin.answered();
        }
        if let Some(lost) = self.admin.unanswered(Instant::now()) {
            let bootstrap_servers = &self.bootstrap_servers;
            tracing::warn!(
                bootstrap_servers,
                "another client of kafka, since this one reaches nobody"
            );
            tokio::task::spawn_blocking(move || drop(lost));
        }
    }

    fn unanswered(&self, no_answer: NoAnswer) -> Error {
        let bootstrap_servers = self.bootstrap_servers.clone();
        match no_answer {
            NoAnswer::Busy => Error::Busy { bootstrap_servers },
            NoAnswer::Silent(silence) => Error::Unreachable {
                bootstrap_servers,
                silence,
            },
        }
    }

    /// Whether everything was done that was asked for. False: there was nothing left to do.
    fn check(&self, answers: &[TopicResult], doing: impl FnOnce() -> String) -> Result<bool, Error> {
        let mut done = true;
        for answer in answers {
            match answer {
                Ok(_) => {}
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => done = false,
                Err((_, code)) => {
                    return RefusedSnafu {
                        bootstrap_servers: &self.bootstrap_servers,
                        doing: doing(),
                        code: *code,
                    }
                    .fail();
                }
            }
        }
        Ok(done)
    }
}
