//! What the autoscaler remembers between its rounds: histories, and clients of Kafka.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::task::spawn_blocking;

use super::Target;
use crate::{
    autoscale::{
        History, Lag, Policy,
        observe::{Error, Observer, Reader, Unknown},
    },
    metrics::Object,
};

/// What is remembered of each target.
#[derive(Default)]
pub(super) struct Watches {
    watched: BTreeMap<Object, Watched>,
    /// One for each Kafka cluster.
    readers: BTreeMap<String, Arc<Reader>>,
}

/// What is remembered of one target.
pub(super) struct Watched {
    place: Place,
    observer: Result<Arc<Observer>, Unknown>,
    pub(super) history: History,
    /// Why the last look failed, if it did. It is told once, and not at every look.
    problem: Option<String>,
}

/// Where the lag is seen. A target that moves is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    bootstrap_servers: String,
    group: String,
    topic: String,
}

impl Place {
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
    pub(super) async fn keep(&mut self, targets: &[Target]) -> Vec<Object> {
        let places: BTreeMap<Object, Place> = targets
            .iter()
            .map(|target| (target.key(), Place::of(target)))
            .collect();
        let kept = |key: &Object, watched: &Watched| places.get(key) == Some(&watched.place);
        let (kept, gone): (BTreeMap<_, _>, _) = std::mem::take(&mut self.watched)
            .into_iter()
            .partition(|(key, watched)| kept(key, watched));
        self.watched = kept;
        let clusters: BTreeSet<&str> = targets
            .iter()
            .map(|target| target.bootstrap_servers.as_str())
            .collect();
        let (readers, unused): (BTreeMap<_, _>, _) = std::mem::take(&mut self.readers)
            .into_iter()
            .partition(|(cluster, _)| clusters.contains(cluster.as_str()));
        self.readers = readers;
        let keys = gone.keys().cloned().collect();
        if !gone.is_empty() || !unused.is_empty() {
            close((gone, unused)).await;
        }
        keys
    }

    /// What is remembered of this target, to be put back.
    pub(super) fn take(&mut self, target: &Target) -> Watched {
        match self.watched.remove(&target.key()) {
            Some(watched) => watched,
            None => Watched {
                place: Place::of(target),
                observer: self
                    .observer(target)
                    .map(Arc::new)
                    .map_err(|error| Unknown::from(&error)),
                history: History::default(),
                problem: None,
            },
        }
    }

    pub(super) fn put(&mut self, watched: impl IntoIterator<Item = (Object, Watched)>) {
        self.watched.extend(watched);
    }

    fn observer(&mut self, target: &Target) -> Result<Observer, Error> {
        let cluster = &target.bootstrap_servers;
        let reader = match self.readers.get(cluster) {
            Some(reader) => Arc::clone(reader),
            None => {
                let reader = Arc::new(Reader::new(cluster)?);
                self.readers.insert(cluster.clone(), Arc::clone(&reader));
                reader
            }
        };
        Observer::new(reader, &target.group, &target.topic)
    }
}

/// Closing a client of Kafka's blocks.
async fn close<T: Send + 'static>(clients: T) {
    if let Err(panic) = spawn_blocking(move || drop(clients)).await {
        tracing::error!(error = %panic, "failed to close clients of kafka");
    }
}

impl Watched {
    /// The lag now, or why it is not known.
    pub(super) async fn lag(&self, policy: &Policy) -> Result<Lag, Unknown> {
        let observer = Arc::clone(self.observer.as_ref().map_err(Clone::clone)?);
        let negligible = policy.negligible_lag();
        let seen = spawn_blocking(move || observer.lag(negligible)).await;
        seen.map_err(|panic| Unknown::panicked(&panic))?
            .map_err(|error| Unknown::from(&error))
    }

    /// Logs how the last look ended, if it ended in another way than the one before.
    pub(super) fn tell(&mut self, target: &Target, problem: Option<String>) {
        if problem == self.problem {
            return;
        }
        let Target {
            kind,
            namespace,
            name,
            ..
        } = target;
        match &problem {
            Some(problem) => {
                tracing::warn!(kind, %namespace, %name, problem, "unable to scale, so nothing changes")
            }
            None => tracing::info!(kind, %namespace, %name, "able to scale again"),
        }
        self.problem = problem;
    }
}
