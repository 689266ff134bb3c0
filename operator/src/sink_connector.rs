//! The controller of `SinkConnector`: a connector registered with Kafka Connect, and its tasks kept running.
//!
//! A connector is no Kubernetes object that an owner reference could clean up, hence the finalizer. Only the deletion
//! of the resource deletes the connector: a wrong edit or a silent dependency leaves it as it is. The topics, the
//! table and the offsets of the connector's consumer group stay in any case.

mod build;
mod cleanup;
mod dereference;
mod plan;
mod status;
#[cfg(test)]
mod tests;
mod validate;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{
    Api, ResourceExt,
    core::object::HasStatus,
    runtime::{controller::Action, finalizer},
};
use naru_api::SinkConnector;

pub use self::validate::{ValidSinkConnector, validate};
use self::{dereference::Referred, plan::Plan, status::Seen};
use crate::{
    connect::{self, Config},
    controller::{
        Context, Error,
        conditions::{Ended, Health},
        pace::Pace,
        report, status as object_status,
    },
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
    let api = Api::namespaced(context.client.clone(), &sink.namespace().unwrap_or_default());
    let name = sink.name_any();
    let pass = finalizer(&api, FINALIZER, sink, |event| async {
        match event {
            finalizer::Event::Apply(sink) => keep(&sink, &context).await,
            finalizer::Event::Cleanup(sink) => end(&sink, &context).await,
        }
    });
    let kubernetes = |doing: &str, source| Error::Kubernetes {
        doing: format!("{doing} {KIND} {name:?}"),
        source,
    };
    pass.await.map_err(|error| match error {
        finalizer::Error::ApplyFailed(error) | finalizer::Error::CleanupFailed(error) => error,
        finalizer::Error::AddFinalizer(source) => kubernetes("add the finalizer to", source),
        finalizer::Error::RemoveFinalizer(source) => kubernetes("remove the finalizer from", source),
        error @ (finalizer::Error::UnnamedObject | finalizer::Error::InvalidFinalizer) => {
            Error::invalid(error.to_string())
        }
    })
}

async fn keep(sink: &SinkConnector, context: &Context) -> Result<Action, Error> {
    let outcome = converge(sink, context, &context.restarts, Instant::now()).await;
    write_status(sink, context, outcome.as_ref()).await?;
    let seen = outcome?;
    let next = match seen.plan {
        Plan::Nothing if seen.health().ready => context.settings.resync,
        Plan::Nothing => UNWELL,
        Plan::Create | Plan::Update | Plan::RestartFailed => SOON,
    };
    Ok(report::succeeded(context, KIND, sink, next))
}

async fn end(sink: &SinkConnector, context: &Context) -> Result<Action, Error> {
    let outcome = cleanup::cleanup(sink, context, &context.restarts).await;
    if let Err(error) = &outcome {
        // Or nobody would know why the resource does not go.
        write_status(sink, context, Err(error)).await?;
    }
    outcome
}

async fn converge(
    sink: &SinkConnector,
    context: &Context,
    restarts: &Pace,
    now: Instant,
) -> Result<Seen, Error> {
    let valid = validate(&context.settings, sink)?;
    let freshness = Freshness::of(
        sink.metadata.generation,
        sink.status().and_then(|status| status.observed_generation),
    );
    let referred = dereference::dereference(context, &valid, freshness).await?;
    let desired = build::build(&valid, &referred.secrets);
    Ok(settle(&valid.connector, &desired, &referred, restarts, now).await?)
}

/// Makes what is registered what is desired, and looks at how the connector is then.
async fn settle(
    name: &str,
    desired: &Config,
    Referred {
        connect, registered, ..
    }: &Referred,
    restarts: &Pace,
    now: Instant,
) -> Result<Seen, connect::Error> {
    let config = registered.as_ref().map(|registered| &registered.config);
    let before = registered
        .as_ref()
        .and_then(|registered| registered.status.clone());
    let plan = plan::plan(desired, config, before.as_ref(), restarts.due(name, now));
    let after = match plan {
        Plan::Nothing => before,
        Plan::Create | Plan::Update => {
            connect.put_config(name, desired).await?;
            tracing::info!(connector = name, ?plan, "registered a connector");
            connect.status(name).await?
        }
        Plan::RestartFailed => {
            // Remembered first: a restart that is refused half-way may have happened as well.
            restarts.done(name, now);
            connect.restart_failed(name).await?;
            tracing::info!(connector = name, "restarted the failed tasks of a connector");
            // What made it fail is what people want to know.
            before
        }
    };
    Ok(Seen { plan, status: after })
}

async fn write_status(
    sink: &SinkConnector,
    context: &Context,
    outcome: Result<&Seen, &Error>,
) -> Result<(), Error> {
    let registered = sink.status().is_some_and(|status| status.connector.is_some());
    let ended = Ended {
        outcome: outcome.map(|_| ()),
        suspended: sink.spec.suspend,
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

/// The name under which Connect knows the connector of this resource.
fn connector_name(sink: &SinkConnector) -> String {
    Names {
        namespace: &sink.namespace().unwrap_or_default(),
        name: &sink.name_any(),
    }
    .connector()
}
