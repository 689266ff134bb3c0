//! Writes what the autoscaler says of a resource: its conditions, with events when they change, and `status.scaling`.
//!
//! They are applied under a field manager of their own, beside what the reconciler writes.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::{
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType},
};
use naru_api::{
    Condition,
    condition::{
        self, LAG_AVAILABLE, Observed, PARTITIONS_STALLED, PRODUCERS_NEAR_CAPACITY, SCALING_ACTIVE, reason,
    },
};
use serde_json::json;

use super::{
    Target,
    scale::{Refusal, send, within},
    status::{News, Said},
};
use crate::{
    autoscale::{Lag, Mode, observe::Unknown},
    controller::Context,
    metrics::Object,
};

/// Conditions that nobody wants to hold.
const BAD_IF_TRUE: [&str; 2] = [PARTITIONS_STALLED, PRODUCERS_NEAR_CAPACITY];
const FIELD_MANAGER: &str = "naru/autoscaler-status";
/// The watch tells of what was written far sooner.
const WATCH_DELAY: Duration = Duration::from_secs(30);

/// What a look found out.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// None: not looked at, since suspended or refused.
    pub(super) lag: Option<Result<Lag, Unknown>>,
    /// The replicas could not be written.
    pub(super) refusal: Option<Refusal>,
    pub(super) news: News,
    /// What else was seen, where it was looked at.
    pub(super) seen: Vec<Observed>,
}

/// What was written a moment ago, until the watch tells of it.
#[derive(Default)]
pub(super) struct Written(Mutex<BTreeMap<Object, (Instant, Said)>>);

impl Written {
    pub(super) fn forget_old(&self, now: Instant) {
        self.lock()
            .retain(|_, (at, _)| now.saturating_duration_since(*at) < WATCH_DELAY);
    }

    /// What is said of a target by now.
    pub(super) fn said(&self, target: &Target) -> Said {
        let written = self.lock();
        let sent = written.get(&target.object);
        sent.map_or_else(|| target.said.clone(), |(_, sent)| sent.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Object, (Instant, Said)>> {
        // A panic elsewhere cannot leave a half-made entry behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what follows from a look, if it says anything new.
pub(super) async fn write(
    context: &Context,
    target: &Target,
    look: &Look,
    written: &Written,
) -> Result<(), Refusal> {
    let before = written.said(target);
    let now = Timestamp::now();
    let observed = observed(target, look, now);
    let conditions = condition::merge(&before.conditions, &observed, target.generation, now);
    let was = before.scaling.as_ref();
    let scaling = if conditions != before.conditions || look.news.matters(was) {
        look.news.after(was)
    } else {
        before.scaling.clone()
    };
    let after = Said { conditions, scaling };
    if before == after {
        return Ok(());
    }
    let body = json!({
        "apiVersion": target.resource.api_version,
        "kind": target.resource.kind,
        "metadata": { "name": target.object.name },
        "status": { "conditions": after.conditions, "scaling": after.scaling },
    });
    let (parameters, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(&body));
    let api = target.api(context);
    within(api.patch_status(&target.object.name, &parameters, &patch))
        .await
        .map_err(|problem| problem.doing(format!("write the status of {}", target.object)))?;
    for event in transitions(&before.conditions, &after.conditions) {
        send(context, target, &event).await;
    }
    written
        .lock()
        .insert(target.object.clone(), (Instant::now(), after));
    Ok(())
}

/// The conditions of a look. Pure. Without numbers that change from look to look: those are metrics.
fn observed(target: &Target, look: &Look, now: Timestamp) -> Vec<Observed> {
    let lag = match &look.lag {
        None if target.refused => Observed::unknown(
            LAG_AVAILABLE,
            reason::NOT_CHECKED,
            "not looked at while the spec is invalid",
        ),
        None => Observed::unknown(
            LAG_AVAILABLE,
            reason::NOT_CHECKED,
            "not looked at while suspended",
        ),
        Some(Ok(_)) => Observed::holds(
            LAG_AVAILABLE,
            reason::LAG_READ,
            "kafka says how far the workers are",
        ),
        Some(Err(unknown)) => Observed::fails(LAG_AVAILABLE, unknown.reason, unknown.message.clone()),
    };
    let policy = &target.policy;
    let (min, max) = policy.bounds(now);
    let scaling = match (&look.refusal, &look.lag) {
        _ if target.refused => Observed::fails(
            SCALING_ACTIVE,
            reason::INVALID_SPEC,
            "the spec is invalid, and the workers stay as many as they are",
        ),
        _ if target.suspended => Observed::fails(SCALING_ACTIVE, reason::SUSPENDED, "spec.suspend is set"),
        (Some(refusal), _) => Observed::fails(SCALING_ACTIVE, reason::SCALE_FAILED, refusal.to_string()),
        _ if policy.mode == Mode::Disabled => Observed::fails(
            SCALING_ACTIVE,
            reason::DISABLED,
            "spec.scaling.mode is Disabled, and others set how many workers there are",
        ),
        (None, Some(Ok(_))) if policy.mode == Mode::Recommend => Observed::fails(
            SCALING_ACTIVE,
            reason::RECOMMEND_ONLY,
            format!(
                "spec.scaling.mode is Recommend: between {min} and {max} replicas are recommended, and others set them"
            ),
        ),
        (None, Some(Ok(_))) if policy.frozen(now) => Observed::fails(
            SCALING_ACTIVE,
            reason::FROZEN,
            "one of spec.scaling.freezes holds, and the workers stay as many as they are",
        ),
        (None, Some(Ok(_))) => Observed::holds(
            SCALING_ACTIVE,
            reason::FOLLOWING_LAG,
            format!("between {min} and {max} replicas"),
        ),
        (None, _) => Observed::fails(
            SCALING_ACTIVE,
            reason::LAG_UNKNOWN,
            "the lag is not known, and the workers stay as many as they are",
        ),
    };
    let mut all = vec![scaling, lag];
    match &look.lag {
        Some(Ok(_)) => {}
        Some(Err(_)) => all.push(Observed::unknown(
            PARTITIONS_STALLED,
            reason::LAG_UNKNOWN,
            "the lag is not known",
        )),
        None => all.push(Observed::unknown(
            PARTITIONS_STALLED,
            reason::NOT_CHECKED,
            "not looked at, since nothing is to run",
        )),
    }
    all.extend(look.seen.iter().cloned());
    all
}

/// An event for each condition that changed, unless that was to be expected or another event tells it. Pure.
fn transitions(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    let told_elsewhere = [
        reason::SUSPENDED,
        reason::INVALID_SPEC,
        reason::LAG_UNKNOWN,
        reason::FOLLOWING_LAG,
        reason::RECOMMEND_ONLY,
        reason::DISABLED,
        reason::FROZEN,
    ];
    let event = |now: &Condition| {
        let then = before
            .iter()
            .find(|then| then.condition_type == now.condition_type);
        let same = |then: &Condition| then.status == now.status && then.reason == now.reason;
        let is_bad = (now.status == "True") == BAD_IF_TRUE.contains(&now.condition_type.as_str());
        let expected = !is_bad && then.is_none_or(|then| then.status == "Unknown");
        if then.is_some_and(same)
            || expected
            || now.status == "Unknown"
            || told_elsewhere.contains(&now.reason.as_str())
        {
            return None;
        }
        Some(Event {
            type_: if is_bad {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: now.reason.clone(),
            note: Some(now.message.clone()),
            action: "Scale".to_owned(),
            secondary: None,
        })
    };
    after.iter().filter_map(event).collect()
}
