//! Creating topics. Kafka works off one such request after the other, and takes as long for one topic as for many: what
//! passes want at the same time is asked for at once.

use std::{
    collections::HashSet,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::admin::{NewTopic, TopicReplication, TopicResult};
use tokio::sync::oneshot;

use super::{Cluster, Error, NoAnswer, TopicSpec};

/// How long a topic that was asked for without an answer may take to show.
const LOST: Duration = Duration::from_secs(60);
/// Topics in one request.
const MOST: usize = 100;

/// For whom a topic was created.
#[derive(Debug)]
pub(super) struct Made {
    /// Uid of the resource.
    owner: String,
    /// When it was asked for, where nobody has answered.
    unanswered: Option<Instant>,
}

impl Made {
    #[cfg(test)]
    pub(super) fn of(owner: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            unanswered: None,
        }
    }

    /// What nobody has answered is done within a minute, or never: later on it may be somebody else's.
    pub(super) fn is_of(&self, owner: &str, now: Instant) -> bool {
        let is_recent = |asked| now.saturating_duration_since(asked) < LOST;
        self.owner == owner && self.unanswered.is_none_or(is_recent)
    }
}

/// Topics that passes wait for.
#[derive(Debug, Default)]
pub(super) struct Creation {
    wanted: Mutex<Vec<Wanted>>,
    /// Held by the one that asks, for all who wait behind it.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Wanted {
    topic: TopicSpec,
    /// Uid of the resource.
    owner: String,
    /// For whoever waits. False: there is such a topic already.
    answer: oneshot::Sender<Result<bool, Error>>,
}

impl Creation {
    fn wanted(&self) -> MutexGuard<'_, Vec<Wanted>> {
        // A panic elsewhere cannot leave a half-made entry behind.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to ask for now: of what somebody waits for still, each topic once, as Kafka demands.
    fn next(&self) -> Vec<Wanted> {
        let mut wanted = self.wanted();
        let (mut names, mut next) = (HashSet::new(), Vec::new());
        for one in mem::take(&mut *wanted) {
            if one.answer.is_closed() {
                continue;
            }
            if next.len() < MOST && names.insert(one.topic.name.clone()) {
                next.push(one);
            } else {
                wanted.push(one);
            }
        }
        next
    }
}

impl Cluster {
    /// Creates a topic for a resource. False: there is such a topic already.
    pub(super) async fn create(&self, topic: &TopicSpec, owner: &str) -> Result<bool, Error> {
        let (answer, mut answered) = oneshot::channel();
        self.creation.wanted().push(Wanted {
            topic: topic.clone(),
            owner: owner.to_owned(),
            answer,
        });
        let asking = self.endpoint.alone(&self.creation.asking).await;
        let asking = asking.and_then(|asking| asking.ok_or(NoAnswer::Busy));
        let _asking = asking.map_err(|no_answer| self.unanswered(no_answer))?;
        loop {
            match answered.try_recv() {
                Ok(answer) => return answer,
                // The one that asked has given up.
                Err(oneshot::error::TryRecvError::Closed) => return Err(self.unanswered(NoAnswer::Busy)),
                // Nobody has asked for this one yet. Each round takes the first of those that wait.
                Err(oneshot::error::TryRecvError::Empty) => self.create_all(self.creation.next()).await,
            }
        }
    }

    /// Asks for topics, and tells those who wait for them.
    async fn create_all(&self, wanted: Vec<Wanted>) {
        let topics: Vec<NewTopic<'_>> = wanted.iter().map(|one| new(&one.topic)).collect();
        let answers = match self.change().await {
            Ok((turn, options)) => {
                let before = self.begin(&wanted);
                let answers = self
                    .ask(turn, self.admin.get().create_topics(&topics, &options))
                    .await;
                self.conclude(&wanted, before, answers)
            }
            Err(error) => vec![Err(error); wanted.len()],
        };
        for (one, answer) in wanted.into_iter().zip(answers) {
            // Whoever has given up meanwhile finds the topic among those that were created.
            let _ = one.answer.send(answer);
        }
    }

    /// Remembers for whom topics are asked for, before they are: an answer may be lost, and the topics be there
    /// nevertheless. Returns what was remembered of them.
    fn begin(&self, wanted: &[Wanted]) -> Vec<Option<Made>> {
        let (mut created, now) = (self.created(), Instant::now());
        let asked = |owner: &String| Made {
            owner: owner.clone(),
            unanswered: Some(now),
        };
        let before = wanted
            .iter()
            .map(|one| created.insert(one.topic.name.clone(), asked(&one.owner)));
        before.collect()
    }

    /// What has become of each.
    fn conclude(
        &self,
        wanted: &[Wanted],
        before: Vec<Option<Made>>,
        answers: Result<Vec<TopicResult>, Error>,
    ) -> Vec<Result<bool, Error>> {
        let answers = match answers {
            Ok(answers) => answers,
            // They may be made all the same.
            Err(error) => return vec![Err(error); wanted.len()],
        };
        let mut created = self.created();
        let each = wanted.iter().zip(before).zip(&answers);
        each.map(|((one, before), answer)| {
            let name = &one.topic.name;
            let made = self.check(std::slice::from_ref(answer), || format!("create topic {name:?}"));
            if matches!(made, Ok(true)) {
                let owner = one.owner.clone();
                let made = Made {
                    owner,
                    unanswered: None,
                };
                created.insert(name.clone(), made);
            } else if let Some(before) = before {
                // Perhaps the one that was asked for a moment ago, without an answer.
                created.insert(name.clone(), before);
            } else {
                created.remove(name);
            }
            made
        })
        .collect()
    }
}

fn new(topic: &TopicSpec) -> NewTopic<'_> {
    // -1: as many replicas as the cluster's own default says.
    let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(-1));
    let config = topic.config.iter();
    config.fold(new, |new, (key, value)| new.set(key, value))
}
