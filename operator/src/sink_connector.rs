//! The controller of `SinkConnector`: a connector registered with Kafka Connect, and its tasks kept running.
//!
//! A connector is no Kubernetes object that an owner reference could clean up, hence the finalizer. Only the deletion
//! of the resource deletes the connector: a wrong edit or a silent dependency leaves it as it is. The topics and the
//! table stay in any case.

pub mod build;
mod cleanup;
mod dereference;
mod memory;
mod plan;
mod restarts;
mod seen;
mod settle;
#[cfg(test)]
mod tests;
mod validate;
pub mod watch;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{
    Resource, ResourceExt,
    core::object::HasStatus,
    runtime::{controller::Action, events::EventType},
};
use naru_api::{
    ConnectorDeletionPolicy, SinkConnector,
    condition::{PAUSED, reason},
};

pub use self::{
    memory::Memory,
    validate::{ValidSinkConnector, validate},
};
use self::{plan::Plan, seen::Seen, settle::Aim};
use crate::{
    controller::{
        Context, Error,
        conditions::{Ended, Health, Suspension},
        events, report, status as object_status,
    },
    deletion::{self, Ending},
    endpoint::Freshness,
    names::Names,
};

pub const KIND: &str = "SinkConnector";

const FINALIZER: &str = "sinkconnectors.naru.dev/connector";
/// Next look at a connector of which something was changed a moment ago.
const SOON: Duration = Duration::from_secs(2);
/// Next look at a connector that does not run.
const UNWELL: Duration = Duration::from_secs(10);

/// One pass over a SinkConnector.
pub async fn reconcile(sink: Arc<SinkConnector>, context: Arc<Context>) -> Result<Action, Error> {
    if sink.meta().deletion_timestamp.is_some() {
        return end(&sink, &context).await;
    }
    let holds = sink.spec.deletion_policy != ConnectorDeletionPolicy::Orphan;
    match deletion::hold(&context, &*sink, FINALIZER, holds).await {
        Ok(()) => keep(&sink, &context).await,
        Err(error) => break_off(&sink, &context, error).await,
    }
}

async fn keep(sink: &SinkConnector, context: &Context) -> Result<Action, Error> {
    let outcome = converge(sink, context, tokio::time::Instant::now().into_std()).await;
    write_status(sink, context, outcome.as_ref(), true).await?;
    let seen = outcome?;
    tell(sink, context, &seen).await;
    let resync = context.settings.resync;
    let next = match (seen.plan, seen.next) {
        (Plan::Nothing, Some(next)) => next.max(Duration::from_millis(500)).min(resync),
        (Plan::Nothing, None) if seen.is_well() => resync,
        (Plan::Nothing, None) => UNWELL,
        _ => SOON,
    };
    Ok(report::succeeded(context, KIND, sink, next))
}

async fn end(sink: &SinkConnector, context: &Context) -> Result<Action, Error> {
    let clean_up = cleanup::clean_up(sink, context);
    let left = cleanup::left_behind(sink);
    match deletion::end(context, KIND, sink, FINALIZER, clean_up, left).await {
        Ok(Ending::Gone) => {
            context.connectors.forget(&connector_name(sink));
            Ok(Action::await_change())
        }
        // Its turn comes in a moment.
        Ok(Ending::Waits(error @ Error::Busy { .. })) => Err(error),
        Ok(Ending::Waits(error)) => {
            // As a dependency also where the spec is wrong: it must be tried again, not wait for an edit.
            let error = Error::dependency(reason::CONNECTOR_NOT_DELETED, error.sentence());
            break_off(sink, context, error).await
        }
        Err(error) => break_off(sink, context, error).await,
    }
}

/// Ends a pass that did not get as far as to the spec, and says so: nobody would know why nothing happens.
async fn break_off(sink: &SinkConnector, context: &Context, error: Error) -> Result<Action, Error> {
    // Of what somebody else has written meanwhile the watch tells in a moment.
    if !error.is_conflict() {
        write_status(sink, context, Err(&error), false).await?;
    }
    Err(error)
}

async fn converge(sink: &SinkConnector, context: &Context, now: Instant) -> Result<Seen, Error> {
    let valid = validate(&context.settings, sink)?;
    let freshness = Freshness::of(
        sink.metadata.generation,
        sink.status().and_then(|status| status.observed_generation),
    );
    let referred = dereference::dereference(context, &valid, freshness).await?;
    let desired = build::build(&valid, &referred.secrets);
    let registry = settle::registry_url(&desired, context.settings.registry_url.as_ref());
    let registry = registry.map(|url| context.registries.get(url));
    if sink.spec.suspend && !paused_by_us(sink, context) {
        announce_pause(sink, context).await?;
    }
    let aim = Aim {
        connector: &valid.connector,
        config: &desired,
        suspend: sink.spec.suspend,
        paused_by_us: paused_by_us(sink, context),
        registry: registry.as_deref(),
    };
    Ok(settle::settle(aim, &referred, &context.connectors, now).await?)
}

/// Whether the pause of the connector, if it is paused or about to be, is ours: as the last pass has written it down,
/// of which the watch may not have told yet.
fn paused_by_us(sink: &SinkConnector, context: &Context) -> bool {
    let conditions = context.written.latest(sink).unwrap_or_default().conditions;
    let mut conditions = conditions.iter();
    conditions.any(|condition| condition.condition_type == PAUSED && condition.status == "True")
}

/// Says that the resource is suspended before the connector is paused. A pass that ends in between would leave a pause
/// of which nobody knows afterwards whose it was, and which would stay.
async fn announce_pause(sink: &SinkConnector, context: &Context) -> Result<(), Error> {
    let ended = Ended {
        outcome: Ok(()),
        read: true,
        deleting: false,
        suspension: Suspension::On,
        health: Health::unseen(true),
    };
    object_status::conclude(context, sink, &ended, |_| {}).await
}

async fn write_status(
    sink: &SinkConnector,
    context: &Context,
    outcome: Result<&Seen, &Error>,
    read: bool,
) -> Result<(), Error> {
    let registered = sink.status().is_some_and(|status| status.connector.is_some());
    // A pause of ours is one until the connector goes on, or nobody would know afterwards whose it was.
    let is_paused = outcome.map_or_else(|_| paused_by_us(sink, context), Seen::is_paused_by_us);
    let suspension = match Suspension::of(sink.spec.suspend) {
        Suspension::Over if is_paused => Suspension::Ending,
        suspension => suspension,
    };
    let ended = Ended {
        outcome: outcome.map(|_| ()),
        read,
        deleting: sink.meta().deletion_timestamp.is_some(),
        suspension,
        health: outcome.map_or_else(|_| Health::unseen(registered), Seen::health),
    };
    object_status::conclude(context, sink, &ended, |status| {
        if outcome.is_ok() {
            status.connector = Some(connector_name(sink));
        }
        // Nobody knows how many run while the pass does not get as far as to Connect.
        status.tasks = outcome.ok().map(Seen::counts);
    })
    .await
}

/// Events for what was done, beyond what the conditions say. Keys are named, and values never.
async fn tell(sink: &SinkConnector, context: &Context, seen: &Seen) {
    let told = [
        (!seen.drifted.is_empty()).then(|| {
            let keys = seen.drifted.join(", ");
            let note = format!(
                "somebody has changed the connector in Kafka Connect, and it was changed back: {keys}"
            );
            (EventType::Warning, reason::DRIFT_REPAIRED, note)
        }),
        (!seen.rotated.is_empty()).then(|| {
            let keys = seen.rotated.join(", ");
            let note = format!("Secrets have new values, which the connector was registered with: {keys}");
            (EventType::Normal, reason::SECRET_ROTATED, note)
        }),
        seen.lost.then(|| {
            let note =
                "somebody has unregistered the connector in Kafka Connect, and it was registered again";
            (EventType::Warning, reason::DRIFT_REPAIRED, note.to_owned())
        }),
        (seen.plan == Plan::RestartFailed).then(|| {
            (
                EventType::Normal,
                reason::TASKS_RESTARTED,
                seen.health().why.message,
            )
        }),
    ];
    for (type_, reason, note) in told.into_iter().flatten() {
        events::tell(context, sink, type_, reason, "Reconcile", note).await;
    }
}

/// The name under which Connect knows the connector of this resource.
fn connector_name<K: Resource>(sink: &K) -> String {
    Names {
        namespace: &sink.namespace().unwrap_or_default(),
        name: &sink.name_any(),
    }
    .connector()
}
