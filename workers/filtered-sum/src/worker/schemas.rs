//! Asking the registry for schemas while everything else goes on.
//!
//! A partition whose next record has a schema that is not known waits until the registry answers, however long that
//! takes: a record becomes a dead letter because of what it is, never because of an outage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apache_avro::Schema;
use naru_worker_core::avro::registry::{Error, Registry};
use naru_worker_core::run::chain;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::judge::Judge;

/// Pause after the registry did not answer; the client has tried for a while by then.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a schema that could not be used is not asked for again.
const UNREADABLE: Duration = Duration::from_secs(30);

type Answer = (u32, Result<Arc<Schema>, Error>);

pub(super) struct Schemas {
    pub(super) judge: Judge,
    registry: Arc<Registry>,
    runtime: Handle,
    /// What each waiting partition waits for. Never more than there are partitions, and as many questions at most.
    waiting: BTreeMap<i32, u32>,
    questions: JoinSet<Answer>,
    /// Why the registry did not answer, by schema.
    failures: BTreeMap<u32, String>,
    forgot_unreadable: Instant,
}

impl Schemas {
    pub(super) fn new(registry: Arc<Registry>, runtime: Handle, judge: Judge) -> Self {
        Self {
            judge,
            registry,
            runtime,
            waiting: BTreeMap::new(),
            questions: JoinSet::new(),
            failures: BTreeMap::new(),
            forgot_unreadable: Instant::now(),
        }
    }

    /// Asks for a schema that the next record of `partition` has.
    pub(super) fn ask(&mut self, partition: i32, schema_id: u32) {
        if self.forgot_unreadable.elapsed() > UNREADABLE {
            self.judge.decoder.forget_unreadable();
            self.forgot_unreadable = Instant::now();
        }
        if !self.waiting.values().any(|awaited| *awaited == schema_id) {
            self.question(schema_id, Duration::ZERO);
        }
        self.waiting.insert(partition, schema_id);
    }

    fn question(&mut self, schema_id: u32, pause: Duration) {
        let registry = Arc::clone(&self.registry);
        let ask = async move {
            tokio::time::sleep(pause).await;
            (schema_id, registry.schema(schema_id).await)
        };
        self.questions.spawn_on(ask, &self.runtime);
    }

    pub(super) fn is_awaited_by(&self, partition: i32) -> bool {
        self.waiting.contains_key(&partition)
    }

    /// Learns what has been answered, without waiting. The partitions that may go on; `None` when there is no news.
    pub(super) fn answered(&mut self) -> Option<Vec<i32>> {
        let mut partitions = None::<Vec<i32>>;
        while let Some(answer) = self.questions.try_join_next() {
            let partitions = partitions.get_or_insert_default();
            // A question that panicked is lost; its partitions stay unready, which says that something is wrong.
            let Ok((schema_id, answer)) = answer else { continue };
            let is_awaited = self.waiting.values().any(|awaited| *awaited == schema_id);
            let schema = match answer {
                Ok(schema) => Ok(schema),
                Err(error @ (Error::UnknownId { .. } | Error::Parse { .. })) => Err(chain(&error)),
                Err(error) => {
                    if is_awaited {
                        self.failures.insert(schema_id, chain(&error));
                        self.question(schema_id, PAUSE);
                    }
                    continue;
                }
            };
            self.failures.remove(&schema_id);
            self.judge.decoder.learn(schema_id, schema);
            self.waiting.retain(|partition, awaited| {
                if *awaited == schema_id {
                    partitions.push(*partition);
                }
                *awaited != schema_id
            });
        }
        partitions
    }

    /// Forgets partitions that are not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(i32) -> bool) {
        self.waiting.retain(|partition, _| keep(*partition));
    }

    /// What is waited for, as clauses.
    pub(super) fn awaited(&self) -> impl Iterator<Item = String> {
        self.waiting.iter().map(|(partition, schema_id)| {
            let failure = self
                .failures
                .get(schema_id)
                .map_or_else(String::new, |failure| format!(": {failure}"));
            format!("the registry to answer what schema {schema_id} is, for partition {partition}{failure}")
        })
    }
}
