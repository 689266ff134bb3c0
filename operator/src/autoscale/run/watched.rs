//! What the autoscaler remembers between its rounds: histories, and clients of Kafka.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use naru_api::{ScalingDecision, ScalingStatus};
use tokio::task::spawn_blocking;

use super::{Target, producers::Producers, scale::Scaled, stalls::Stalls, status::told};
use crate::{
    autoscale::{
        Basis, History, Lag, Mode, Policy, Why,
        observe::{Error, Observer, Reader, Unknown},
    },
    endpoint::{Answers, Endpoint, NoAnswer, Unanswered},
    metrics::{External, Object},
};

/// How long a recommendation stands before there is another one. Nobody follows it sooner.
const RECOMMENDED_FOR: Duration = Duration::from_secs(30);
/// The watch tells of what was written far sooner.
const WATCH_DELAY: Duration = Duration::from_secs(30);

/// What is remembered of each target.
#[derive(Default)]
pub(super) struct Watches {
    watched: BTreeMap<Object, Watched>,
    /// One for each Kafka cluster.
    clusters: BTreeMap<String, Cluster>,
}

/// A Kafka cluster. A silent one is not waited for by each of its groups: others have to be looked at as well.
#[derive(Clone)]
struct Cluster {
    reader: Arc<Reader>,
    endpoint: Arc<Endpoint>,
}

/// What is remembered of one target.
pub(super) struct Watched {
    place: Place,
    seer: Result<Seer, Unknown>,
    pub(super) history: History,
    pub(super) stalls: Stalls,
    pub(super) producers: Producers,
    /// Replicas that there should be, as it was said last, and since when. None: nobody says.
    pub(super) desired: Option<i32>,
    desired_since: Option<Instant>,
    /// Decisions that are not in the status yet, the oldest first.
    pub(super) untold: Vec<ScalingDecision>,
    /// The replicas are nobody's of naru's.
    pub(super) released: bool,
    /// What the Deployment was told and when, until the watch has it: whoever looks meanwhile must not tell it again.
    told: Option<Told>,
    /// Why the last look failed, if it did. It is told once, and not at every look.
    problem: Option<String>,
}

#[derive(Clone, Copy)]
struct Told {
    at: Instant,
    /// Replicas before and after.
    from: i32,
    to: i32,
}

/// Who sees the lag.
#[derive(Clone)]
struct Seer {
    observer: Arc<Observer>,
    endpoint: Arc<Endpoint>,
}

/// Where the lag is seen. A target that moves is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    bootstrap_servers: String,
    group: String,
    topic: String,
}

impl Place {
    fn is_of(&self, target: &Target) -> bool {
        self.bootstrap_servers == target.bootstrap_servers
            && self.group == target.group
            && self.topic == target.topic
    }

    fn of(target: &Target) -> Self {
        Self {
            bootstrap_servers: target.bootstrap_servers.clone(),
            group: target.group.clone(),
            topic: target.topic.clone(),
        }
    }
}

impl Watches {
    /// Forgets all other targets, and returns which ones those were.
    pub(super) async fn keep(&mut self, targets: &[Arc<Target>]) -> Vec<Object> {
        let places: BTreeMap<&Object, &Target> =
            targets.iter().map(|target| (&target.object, &**target)).collect();
        let is_kept = |key: &Object, watched: &Watched| {
            let target = places.get(key);
            target.is_some_and(|target| watched.place.is_of(target))
        };
        let gone: BTreeMap<_, _> = self
            .watched
            .extract_if(.., |key, watched| !is_kept(key, watched))
            .collect();
        let clusters: BTreeSet<&str> = targets
            .iter()
            .map(|target| target.bootstrap_servers.as_str())
            .collect();
        let (used, unused): (BTreeMap<_, _>, _) = std::mem::take(&mut self.clusters)
            .into_iter()
            .partition(|(cluster, _)| clusters.contains(cluster.as_str()));
        self.clusters = used;
        let keys = gone.keys().cloned().collect();
        if !gone.is_empty() || !unused.is_empty() {
            close((gone, unused)).await;
        }
        keys
    }

    /// What is remembered of this target, to be put back.
    pub(super) fn take(&mut self, target: &Target) -> Watched {
        let mut watched = self.watched.remove(&target.object).unwrap_or_else(|| Watched {
            place: Place::of(target),
            seer: self.seer(target),
            history: remembered(target),
            stalls: Stalls::default(),
            producers: Producers::default(),
            desired: target
                .said
                .scaling
                .as_ref()
                .and_then(|said| said.desired_replicas),
            desired_since: None,
            untold: Vec::new(),
            released: false,
            told: None,
            problem: None,
        });
        // What could not be made once may be made now.
        if watched.seer.is_err() {
            watched.seer = self.seer(target);
        }
        watched
    }

    pub(super) fn put(&mut self, watched: impl IntoIterator<Item = (Object, Watched)>) {
        self.watched.extend(watched);
    }

    fn seer(&mut self, target: &Target) -> Result<Seer, Unknown> {
        let cluster = self.cluster(&target.bootstrap_servers);
        let seer = cluster.map(|Cluster { reader, endpoint }| {
            let observer = Arc::new(Observer::new(reader, &target.group, &target.topic));
            Seer { observer, endpoint }
        });
        seer.map_err(|error| Unknown::from(&error))
    }

    fn cluster(&mut self, bootstrap_servers: &str) -> Result<Cluster, Error> {
        if let Some(cluster) = self.clusters.get(bootstrap_servers) {
            return Ok(cluster.clone());
        }
        let cluster = Cluster {
            reader: Arc::new(Reader::new(bootstrap_servers)?),
            endpoint: Arc::default(),
        };
        self.clusters
            .insert(bootstrap_servers.to_owned(), cluster.clone());
        Ok(cluster)
    }
}

/// Closing a client of Kafka's blocks.
async fn close<T: Send + 'static>(clients: T) {
    if let Err(panic) = spawn_blocking(move || drop(clients)).await {
        tracing::error!(error = %panic, "failed to close clients of kafka");
    }
}

/// What an operator before this one has found out of it.
fn remembered(target: &Target) -> History {
    let said = target.said.scaling.as_ref();
    let capacity = said.and_then(|said| said.capacity_per_replica);
    History::with_capacity(capacity.filter(|_| target.policy.basis == Basis::Rates))
}

impl Watched {
    /// Takes in what was decided at so many replicas.
    pub(super) fn conclude(&mut self, target: &Target, scaled: &Scaled, replicas: i32, now: Instant) {
        let Scaled { decision, done } = scaled;
        let (desired, news) = match (target.policy.mode, done) {
            (Mode::Disabled, _) => (None, None),
            (Mode::Auto, Ok(Some(to))) => (Some(*to), Some(*to)),
            (Mode::Auto, _) => (Some(replicas), None),
            // What cannot be seen changes nothing.
            (Mode::Recommend, _)
                if decision.figures.is_none() || matches!(decision.why, Why::Held(_) | Why::Frozen) =>
            {
                (self.desired.or(Some(replicas)), None)
            }
            (Mode::Recommend, _) => {
                let desired = Some(decision.target().unwrap_or(replicas));
                let recent = |since| now.saturating_duration_since(since) < RECOMMENDED_FOR;
                if desired == self.desired || self.desired_since.is_some_and(recent) {
                    return;
                }
                (desired, decision.target())
            }
        };
        if desired != self.desired {
            self.desired_since = Some(now);
        }
        self.desired = desired;
        self.untold
            .extend(news.and_then(|to| told(replicas, to, decision, Timestamp::now())));
        let old = self.untold.len().saturating_sub(ScalingStatus::MOST_DECISIONS);
        self.untold.drain(..old);
    }

    /// How many replicas the Deployment asks for, where the watch says that it is `seen`.
    pub(super) fn replicas(&mut self, seen: i32, now: Instant) -> i32 {
        self.told = self.told.filter(|told| {
            // Anything but the number before is news of somebody's.
            seen == told.from && now.saturating_duration_since(told.at) < WATCH_DELAY
        });
        self.told.map_or(seen, |told| told.to)
    }

    /// The Deployment was told how many.
    pub(super) fn told(&mut self, from: i32, to: i32, at: Instant) {
        self.told = Some(Told { at, from, to });
    }

    /// The lag now, or why it is not known. None: it was not this group's turn to ask, and nothing is new. Requests are
    /// counted.
    pub(super) async fn lag(&self, policy: &Policy, external: &External) -> Option<Result<Lag, Unknown>> {
        let Seer { observer, endpoint } = match &self.seer {
            Ok(seer) => seer.clone(),
            Err(unknown) => return Some(Err(unknown.clone())),
        };
        let negligible = policy.negligible_lag();
        if let Some(lag) = observer.known() {
            return Some(Ok(lag));
        }
        self.ask(&endpoint, external, move || observer.lag(negligible))
            .await
    }

    /// Where another topic of the same cluster ends, over all partitions, if that is known. Requests are counted.
    pub(super) async fn end(&self, topic: &str, external: &External) -> Option<u64> {
        let Seer { observer, endpoint } = self.seer.as_ref().ok()?;
        let (observer, topic) = (Arc::clone(observer), topic.to_owned());
        self.ask(endpoint, external, move || observer.end(&topic))
            .await?
            .ok()
    }

    /// The answer to a question to Kafka, which blocks. None: it was not this group's turn to ask.
    async fn ask<T: Send + 'static>(
        &self,
        endpoint: &Endpoint,
        external: &External,
        question: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Option<Result<T, Unknown>> {
        let bootstrap_servers = &self.place.bootstrap_servers;
        let request = async {
            let start = Instant::now();
            let seen = match spawn_blocking(question).await {
                Ok(Err(error)) if error.is_silence() => Err(error),
                Ok(seen) => Ok(seen.map_err(|error| Unknown::from(&error))),
                Err(panic) => Ok(Err(Unknown::panicked(&panic))),
            };
            let code = match &seen {
                Ok(Ok(_)) => "ok",
                Ok(Err(unknown)) => unknown.code,
                Err(_) => "unanswered",
            };
            external.observe("kafka", bootstrap_servers, code, start.elapsed());
            seen.map_err(|error| Unanswered {
                cause: error.to_string(),
                telling: true,
            })
        };
        match endpoint.call(Answers::Soon, request).await {
            Ok(seen) => Some(seen),
            Err(NoAnswer::Busy) => None,
            Err(NoAnswer::Silent(silence)) => {
                Some(Err(Unknown::unreachable(bootstrap_servers, silence.cause)))
            }
        }
    }

    /// Logs how the last look ended, if it ended in another way than the one before.
    pub(super) fn tell(&mut self, target: &Target, problem: Option<String>) {
        if problem == self.problem {
            return;
        }
        let Object {
            kind,
            namespace,
            name,
        } = &target.object;
        match &problem {
            Some(problem) => {
                tracing::warn!(kind, %namespace, %name, problem, "unable to scale, so nothing changes")
            }
            None => tracing::info!(kind, %namespace, %name, "able to scale again"),
        }
        self.problem = problem;
    }
}
