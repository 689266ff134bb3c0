//! The end of a SinkConnector: its connector is unregistered.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::{
    Resource,
    runtime::{
        controller::Action,
        events::{Event, EventType},
    },
};
use naru_api::{SinkConnector, condition::reason};

use super::{KIND, connector_name, validate};
use crate::{
    connect::{Address, Connect, Mask},
    controller::{Context, Error, pace::Pace, report},
};

/// How long the deletion of a resource waits for a Connect cluster that does not unregister the connector. With the
/// controller's backoff that is about ten tries.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// Looks at whether the connector is gone, within one pass.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Unregisters the connector. Once this has returned without an error the resource goes.
pub(super) async fn cleanup(
    sink: &SinkConnector,
    context: &Context,
    restarts: &Pace,
) -> Result<Action, Error> {
    let connector = connector_name(sink);
    let result = match validate::connect_address(&context.settings, &sink.spec) {
        Ok(address) => unregister(context, &address, &connector).await,
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        let deleted = sink.meta().deletion_timestamp.as_ref().map(|time| time.0);
        let registered = sink
            .status
            .as_ref()
            .is_some_and(|status| status.connector.is_some());
        let hopeless = matches!(error, Error::Invalid { .. }) && !registered;
        if !hopeless && !out_of_patience(deleted, Timestamp::now()) {
            // As a dependency also where the spec is wrong: it must be tried again, not wait for an edit.
            return Err(Error::dependency(reason::CONNECTOR_NOT_DELETED, error.sentence()));
        }
        leave_behind(sink, context, &connector, &error).await;
    }
    restarts.forget(&connector);
    context.failures.clear(&report::key(KIND, sink));
    Ok(Action::await_change())
}

async fn unregister(context: &Context, address: &Address, connector: &str) -> Result<(), Error> {
    let connect = Connect::new(context.connects.get(address), Mask::default());
    connect.delete(connector).await?;
    for _ in 0..LOOKS {
        if connect.config(connector).await?.is_none() {
            tracing::info!(connector, "deleted a connector");
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(Error::dependency(
        reason::CONNECTOR_NOT_DELETED,
        format!("connector {connector:?} is still registered"),
    ))
}

/// Whether a deletion has waited long enough. Pure.
fn out_of_patience(deleted: Option<Timestamp>, now: Timestamp) -> bool {
    deleted.is_some_and(|deleted| now.duration_since(deleted) > PATIENCE)
}

/// A namespace must be deletable although Connect is gone for good. People are told what they may have to delete.
async fn leave_behind(sink: &SinkConnector, context: &Context, connector: &str, error: &Error) {
    let note = format!(
        "gave up deleting connector {connector:?}, which goes on if Kafka Connect still has it; delete it there: {}",
        error.sentence()
    );
    tracing::warn!(connector, error = error.sentence(), "left a connector behind");
    let event = Event {
        type_: EventType::Warning,
        reason: reason::CONNECTOR_LEFT_BEHIND.to_owned(),
        note: Some(note.chars().take(250).collect()),
        action: "Delete".to_owned(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, &sink.object_ref(&())).await {
        tracing::warn!(%error, "failed to publish an event");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_patient_for_five_minutes() {
        let deleted: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert!(!out_of_patience(None, deleted));
        assert!(!out_of_patience(
            Some(deleted),
            deleted + SignedDuration::from_secs(299)
        ));
        assert!(out_of_patience(
            Some(deleted),
            deleted + SignedDuration::from_secs(301)
        ));
    }
}
