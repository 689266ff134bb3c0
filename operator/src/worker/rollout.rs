//! Which revision is to run. Pure.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use naru_api::Rollout;

use super::{
    Revision, available_replicas, ready_replicas, replicas,
    revision::{failed, running},
};

/// A worker that has been ready for so long, seconds, shows that its revision works. One that ends sooner holds up the
/// rollout that would replace the next one.
const PROOF: u64 = 10;

/// `minReadySeconds` of a Deployment, which must be below its progress deadline.
pub(super) fn proof_seconds(rollout: &Rollout) -> i32 {
    let deadline = rollout.progress_deadline.as_millis() / 1000;
    i32::try_from(PROOF.min(deadline / 2)).unwrap_or(0)
}

/// What there is to decide by.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen<'a> {
    /// The resource's Deployments, as far as they are there.
    pub(super) deployments: &'a [Deployment],
    pub(super) auto_rollback: bool,
    /// The last good revision and its ConfigMap, if there is something that gives way to it.
    pub(super) last_good: Option<(&'a str, ConfigMap)>,
    /// Why pods do not come up, if that is known.
    pub(super) failing: Option<&'a str>,
}

/// The declared revision, or the last good one if the declared one made no progress and is to give way. It stays away
/// until another one is declared, or none is to give way any more.
pub(super) fn choose(declared: &Revision, seen: &Seen<'_>) -> Revision {
    let instead = || {
        let because = gave_way(declared, seen)?;
        let (hash, config_map) = seen.last_good.as_ref()?;
        if *hash == declared.hash {
            return None;
        }
        declared.back_to(config_map, hash, &because)
    };
    instead().unwrap_or_else(|| declared.clone())
}

/// Why the declared revision gives way, if it does.
pub(super) fn gave_way(declared: &Revision, seen: &Seen<'_>) -> Option<String> {
    if !seen.auto_rollback {
        return None;
    }
    let mut deployments = seen.deployments.iter();
    let before = deployments.find_map(|deployment| {
        let (revision, because) = failed(deployment)?;
        (revision == declared.hash).then(|| because.to_owned())
    });
    let now = || {
        let stalled = seen
            .deployments
            .iter()
            .any(|deployment| running(deployment) == Some(&declared.hash) && stalled(deployment));
        stalled.then(|| seen.failing.unwrap_or("its pods did not get ready").to_owned())
    };
    before.or_else(now)
}

/// Whether the Deployment's rollout has made no progress until its deadline.
pub(super) fn stalled(deployment: &Deployment) -> bool {
    let conditions = deployment
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    observed(deployment)
        && conditions.any(|condition| {
            condition.type_ == "Progressing"
                && condition.status == "False"
                && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
        })
}

/// Whether all pods are of the current template, and ready.
pub(super) fn complete(deployment: &Deployment) -> bool {
    observed(deployment) && ready_replicas(deployment) >= replicas(deployment) && !replacing(deployment)
}

/// Whether there are pods of an older template.
pub(super) fn replacing(deployment: &Deployment) -> bool {
    let status = deployment.status.as_ref();
    let all = status.and_then(|status| status.replicas).unwrap_or(0);
    let updated = status.and_then(|status| status.updated_replicas).unwrap_or(0);
    all > updated
}

/// Whether the status speaks of the spec as it is.
pub(super) fn observed(deployment: &Deployment) -> bool {
    let status = deployment.status.as_ref();
    status.is_some_and(|status| status.observed_generation >= deployment.metadata.generation)
}

/// Whether this revision has proved itself: workers of all kinds run, all with it, and have for some time.
pub(super) fn proved(revision: &str, expected: usize, deployments: &[Deployment]) -> bool {
    deployments.len() == expected
        && deployments.iter().all(|deployment| {
            let wanted = replicas(deployment);
            running(deployment) == Some(revision)
                && complete(deployment)
                && wanted > 0
                && available_replicas(deployment) >= wanted
        })
}
