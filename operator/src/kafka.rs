//! Topics: what there is, and what must be there.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use naru_api::condition::reason;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode,
};
use snafu::{ResultExt, Snafu};

use crate::controller::Error as ReconcileError;

/// Deadline of one request.
const DEADLINE: Duration = Duration::from_secs(5);

/// Why Kafka did not do what it was asked for.
#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("kafka at {bootstrap_servers:?} does not answer: {source}"))]
    Unreachable {
        bootstrap_servers: String,
        source: KafkaError,
    },

    #[snafu(display("kafka at {bootstrap_servers:?} refused to {doing}: {code}"))]
    Refused {
        bootstrap_servers: String,
        doing: String,
        code: RDKafkaErrorCode,
    },
}

impl From<Error> for ReconcileError {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable { .. } => Self::dependency(reason::KAFKA_UNREACHABLE, error.to_string()),
            Error::Refused { .. } => Self::dependency(reason::KAFKA_REFUSED, error.to_string()),
        }
    }
}

/// A topic that a resource needs and may create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    /// Configuration that the topic is created with.
    pub config: BTreeMap<&'static str, &'static str>,
    /// Whether partitions are added to a topic that has fewer. Only for topics whose keys do not matter.
    pub grow: bool,
}

/// One client per Kafka cluster, made when it is first needed.
#[derive(Default)]
pub struct Clusters(Mutex<HashMap<String, Arc<Cluster>>>);

impl Clusters {
    /// The cluster behind these brokers. Does no I/O: an unreachable one shows at the first request.
    pub fn get(&self, bootstrap_servers: &str) -> Result<Arc<Cluster>, Error> {
        // A panic elsewhere cannot leave a half-made client behind.
        let mut clusters = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(cluster) = clusters.get(bootstrap_servers) {
            return Ok(Arc::clone(cluster));
        }
        let cluster =
            Arc::new(Cluster::new(bootstrap_servers).context(UnreachableSnafu { bootstrap_servers })?);
        clusters.insert(bootstrap_servers.to_owned(), Arc::clone(&cluster));
        Ok(cluster)
    }
}

/// A Kafka cluster.
pub struct Cluster {
    bootstrap_servers: String,
    admin: Arc<AdminClient<DefaultClientContext>>,
}

impl Cluster {
    fn new(bootstrap_servers: &str) -> KafkaResult<Self> {
        let admin = ClientConfig::new()
            .set("bootstrap.servers", bootstrap_servers)
            .set("client.id", "naru-operator")
            // Or the question whether there is a topic would make one, with the broker's defaults.
            .set("allow.auto.create.topics", "false")
            .set("socket.timeout.ms", "5000")
            .set("reconnect.backoff.max.ms", "2000")
            .create()?;
        Ok(Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            admin: Arc::new(admin),
        })
    }

    /// How many partitions the topic has; none if there is no such topic.
    pub async fn partitions(&self, topic: &str) -> Result<Option<i32>, Error> {
        let bootstrap_servers = &self.bootstrap_servers;
        let (admin, name) = (Arc::clone(&self.admin), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = admin.inner().fetch_metadata(Some(&name), DEADLINE)?;
            let found = metadata.topics().iter().find(|t| t.name() == name);
            Ok(found.map(|t| (t.error().map(RDKafkaErrorCode::from), t.partitions().len())))
        });
        let found = asked
            .await
            .expect("the closure does not panic")
            .context(UnreachableSnafu { bootstrap_servers })?;
        match found {
            None | Some((Some(RDKafkaErrorCode::UnknownTopicOrPartition), _)) => Ok(None),
            Some((Some(code), _)) => RefusedSnafu {
                bootstrap_servers,
                doing: format!("describe topic {topic:?}"),
                code,
            }
            .fail(),
            Some((None, partitions)) => Ok(Some(i32::try_from(partitions).unwrap_or(i32::MAX))),
        }
    }

    /// Creates the topic if there is none, and adds partitions where the spec allows it. Returns how many
    /// partitions it has.
    pub async fn ensure(&self, topic: &TopicSpec) -> Result<i32, Error> {
        match self.partitions(&topic.name).await? {
            None => {
                // -1: as many replicas as the cluster's own default says.
                let mut new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(-1));
                for (key, value) in &topic.config {
                    new = new.set(key, value);
                }
                let answer = self.admin.create_topics([&new], &options()).await;
                self.check(answer, || format!("create topic {:?}", topic.name))?;
                Ok(topic.partitions)
            }
            Some(found) if found < topic.partitions && topic.grow => {
                let count = usize::try_from(topic.partitions).unwrap_or(1);
                let answer = self
                    .admin
                    .create_partitions([&NewPartitions::new(&topic.name, count)], &options())
                    .await;
                self.check(answer, || format!("add partitions to topic {:?}", topic.name))?;
                Ok(topic.partitions)
            }
            Some(found) => Ok(found),
        }
    }

    fn check(
        &self,
        answer: KafkaResult<Vec<Result<String, (String, RDKafkaErrorCode)>>>,
        doing: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        let bootstrap_servers = &self.bootstrap_servers;
        for result in answer.context(UnreachableSnafu { bootstrap_servers })? {
            match result {
                // Another pass, or a person, was faster.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => {
                    return RefusedSnafu {
                        bootstrap_servers,
                        doing: doing(),
                        code,
                    }
                    .fail();
                }
            }
        }
        Ok(())
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(DEADLINE))
        .operation_timeout(Some(DEADLINE))
}
