//! Which computation of its sum a resource asks for.
//!
//! Workers take over the totals of computations with smaller numbers only, so the number must have grown before anybody
//! sums by other rules: it is written into the status first, and the workers are changed after that. Whoever was
//! interrupted in between finds it there. It is made of the generation, which only grows, and of the time of the creation,
//! so that a resource which is made anew goes on above the one before.

use std::sync::Arc;

use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::EventType,
};
use naru_api::{
    Computation, FilteredSum, FilteredSumSpec, Reset, Sum,
    condition::{OF_RECONCILERS, reason},
};
use serde_json::json;

use super::{KIND, validate};
use crate::controller::{Context, Error, error::within, events};

/// That of all statuses: this is a write of the whole of it.
const FIELD_MANAGER: &str = "naru/status";

/// The computation that the spec asks for. Pure.
pub(super) fn of(sum: &FilteredSum) -> Result<Computation, Error> {
    let (spec, status) = (&sum.spec, sum.status.as_ref());
    let next = Computation {
        generation: sum.metadata.generation.unwrap_or_default(),
        filter: spec.filter.clone(),
        sum: spec.sum.clone(),
        reset: spec.reset,
    };
    let Some(before) = status.and_then(|status| status.computation.as_ref()) else {
        return Ok(next);
    };
    if is_of(before, spec) {
        return Ok(before.clone());
    }
    let had_workers = status.is_some_and(|status| status.replicas.is_some());
    match spec.reset {
        None if had_workers => Err(Error::invalid(FilteredSumSpec::RESET_NEEDED)),
        Some(Reset::Continue) if had_workers && is_counted_otherwise(&before.sum, &spec.sum) => {
            Err(Error::invalid(FilteredSumSpec::OTHER_GROUPS))
        }
        _ => Ok(next),
    }
}

/// Whether totals of one are nothing that the other could be added to.
fn is_counted_otherwise(before: &Sum, now: &Sum) -> bool {
    let counted = |sum: &Sum| (sum.group_by.clone(), sum.scale, sum.window.clone(), sum.retract);
    counted(before) != counted(now)
}

/// Whether the spec asks for no more than this. What becomes of earlier totals may be said later, where nothing was said.
fn is_of(computation: &Computation, spec: &FilteredSumSpec) -> bool {
    has_rules_of(computation, spec) && (computation.reset.is_some() || spec.reset.is_none())
}

fn has_rules_of(computation: &Computation, spec: &FilteredSumSpec) -> bool {
    (&computation.filter, &computation.sum) == (&spec.filter, &spec.sum)
}

/// What workers know a computation by: larger than that of all before it, also of a resource of the same name that was
/// deleted. Microseconds are more than there can be edits in that time.
pub(super) fn number(sum: &FilteredSum, computation: &Computation) -> i64 {
    let created = sum.metadata.creation_timestamp.as_ref();
    created.map_or(0, |created| created.0.as_microsecond()) + computation.generation
}

/// The resource, after other rules than before were written down. Of the first rules nothing depends on when they are, so
/// they are written with the rest of the status.
pub(super) async fn settle(mut sum: Arc<FilteredSum>, context: &Context) -> Result<Arc<FilteredSum>, Error> {
    // The watch may be behind what was written.
    let latest = context.written.latest(&*sum);
    let known =
        |status: Option<&naru_api::FilteredSumStatus>| status.and_then(|status| status.computation.clone());
    if known(latest.as_ref()) != known(sum.status.as_ref()) {
        Arc::make_mut(&mut sum).status = latest.clone();
    }
    let Some(before) = known(sum.status.as_ref()) else {
        return Ok(sum);
    };
    if is_of(&before, &sum.spec) || sum.metadata.deletion_timestamp.is_some() {
        return Ok(sum);
    }
    let Ok(valid) = validate(&context.settings, &sum) else {
        // The pass says why.
        return Ok(sum);
    };
    let mut status = latest.unwrap_or_default();
    let ours = |condition: &naru_api::Condition| OF_RECONCILERS.contains(&condition.condition_type.as_str());
    status.conditions.retain(ours);
    status.computation = Some(valid.computation);
    let answer = write(&sum, &status, context).await?;
    if !has_rules_of(&before, &sum.spec) {
        tell(&sum, context).await;
    }
    let settled = Arc::make_mut(&mut sum);
    settled.metadata.resource_version = answer.metadata.resource_version;
    settled.status = answer.status;
    Ok(sum)
}

async fn tell(sum: &FilteredSum, context: &Context) {
    let becomes = match sum.spec.reset {
        Some(Reset::FromEarliest) => {
            "the input is summed anew, and the totals stay as they are until that has caught up"
        }
        Some(Reset::Continue) => "the totals are gone on with by the new rules",
        None => "there are no totals yet",
    };
    let note = format!("filter or sum has changed: {becomes}");
    events::tell(
        context,
        sum,
        EventType::Normal,
        reason::RULES_CHANGED,
        "Compute",
        note,
    )
    .await;
}

async fn write(
    sum: &FilteredSum,
    status: &naru_api::FilteredSumStatus,
    context: &Context,
) -> Result<FilteredSum, Error> {
    let name = sum.name_any();
    let body = json!({
        "apiVersion": <FilteredSum as kube::Resource>::api_version(&()),
        "kind": KIND,
        "metadata": { "name": name },
        "status": status,
    });
    let api = Api::<FilteredSum>::namespaced(context.client.clone(), &sum.namespace().unwrap_or_default());
    let (parameters, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(&body));
    within(api.patch_status(&name, &parameters, &patch), || {
        format!("write what {KIND} {name:?} computes")
    })
    .await
}

#[cfg(test)]
mod tests;
