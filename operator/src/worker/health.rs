//! How the workers of a resource are doing. Pure.

use k8s_openapi::api::apps::v1::Deployment;
use naru_api::condition::reason;

use super::{
    ready_replicas, replicas,
    revision::{failed, running},
    rollout::{complete, replacing, stalled},
};
use crate::controller::conditions::{Health, There, Why};

/// A kind of worker: a word for people, and its Deployment if there is one.
pub(super) type Member<'a> = (&'static str, Option<&'a Deployment>);

/// Compares what there is with the declared revision; none if the spec is not valid. `failing` says why pods do not
/// come up, if that is known. The last member is the one that is scaled.
pub(super) fn health(declared: Option<&str>, members: &[Member<'_>], failing: Option<&str>) -> Health {
    let there: Vec<&Deployment> = members.iter().filter_map(|(_, deployment)| *deployment).collect();
    if there.is_empty() {
        return Health::unseen(false);
    }
    let counts = counts(members);
    let because = |what: &str| match failing {
        Some(failing) => format!("{what}: {failing}; {counts}"),
        None => format!("{what}; {counts}"),
    };
    let back = there.iter().find_map(|deployment| {
        let (revision, because) = failed(deployment)?;
        (Some(revision) == declared).then_some(because)
    });
    if let Some(because) = back {
        return rolled_back(because, &there, &counts);
    }
    let current = declared.is_some() && there.iter().all(|deployment| running(deployment) == declared);
    if !current || there.len() < members.len() {
        // Where the first of several is there, and the next one could not be applied, nothing older runs.
        return Health {
            there: if current { There::Declared } else { There::Before },
            ..Health::stopped(reason::STARTING, counts)
        };
    }
    if there.iter().any(|deployment| stalled(deployment)) {
        return Health::degraded(reason::ROLLOUT_STALLED, because("the rollout makes no progress"));
    }
    if there.iter().all(|deployment| complete(deployment)) {
        let scaled = there.last().map_or(0, |deployment| replicas(deployment));
        let word = if scaled == 0 {
            reason::IDLE
        } else {
            reason::RUNNING
        };
        return Health::ready(word, counts);
    }
    if failing.is_some() {
        return Health::degraded(reason::WORKER_FAILING, because("a worker does not come up"));
    }
    if there.iter().any(|deployment| replacing(deployment)) {
        return Health::progressing(reason::ROLLING_OUT, counts);
    }
    Health::progressing(reason::STARTING, counts)
}

fn rolled_back(because: &str, there: &[&Deployment], counts: &str) -> Health {
    let message = format!(
        "the workers of this spec did not come up, and the ones before it run again until it is changed: {because}"
    );
    let under_way = !there.iter().all(|deployment| complete(deployment));
    Health {
        progressing: under_way.then(|| Why::new(reason::ROLLING_OUT, counts)),
        ..Health::degraded(reason::ROLLED_BACK, message)
    }
}

/// `planner 1 of 1 ready, fetchers 2 of 3 ready`.
fn counts(members: &[Member<'_>]) -> String {
    let counts = members.iter().map(|(title, deployment)| match deployment {
        Some(deployment) => format!(
            "{title} {} of {} ready",
            ready_replicas(deployment),
            replicas(deployment)
        ),
        None => format!("no {title}"),
    });
    counts.collect::<Vec<_>>().join(", ")
}
