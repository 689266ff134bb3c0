//! The end of a SinkConnector: what becomes of its connector.

use std::time::Duration;

use naru_api::{ConnectorDeletionPolicy, SinkConnector, condition::reason};

use super::{connector_name, validate};
use crate::{
    connect::{Connect, Mask, State},
    controller::{Context, Error},
    deletion::LeftBehind,
};

/// Looks at whether the connector is as it was told to be, within one pass.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Does with the connector what `deletionPolicy` says.
pub(super) async fn clean_up(sink: &SinkConnector, context: &Context) -> Result<(), Error> {
    let policy = sink.spec.deletion_policy;
    if policy == ConnectorDeletionPolicy::Orphan {
        return Ok(());
    }
    let address = match validate::connect_address(&context.settings, &sink.spec) {
        // Nothing was ever registered.
        Err(Error::Invalid { .. })
            if sink
                .status
                .as_ref()
                .is_none_or(|status| status.connector.is_none()) =>
        {
            return Ok(());
        }
        address => address?,
    };
    let connector = connector_name(sink);
    let connect = Connect::new(context.connects.get(&address), Mask::default());
    if policy == ConnectorDeletionPolicy::ResetOffsetsAndDelete {
        reset_offsets(&connect, &connector).await?;
    }
    connect.delete(&connector).await?;
    for _ in 0..LOOKS {
        if connect.config(&connector).await?.is_none() {
            tracing::info!(connector, "deleted a connector");
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(not_deleted(format!(
        "connector {connector:?} is still registered"
    )))
}

/// Connect resets the offsets of a stopped connector only: its consumer group must be empty.
async fn reset_offsets(connect: &Connect, connector: &str) -> Result<(), Error> {
    if connect.config(connector).await?.is_none() {
        return Ok(());
    }
    connect.stop(connector).await?;
    for _ in 0..LOOKS {
        let status = connect.status(connector).await?;
        if status.is_some_and(|status| status.state == State::Stopped && status.tasks.is_empty()) {
            connect.delete_offsets(connector).await?;
            tracing::info!(connector, "reset the offsets of a connector");
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(not_deleted(format!("connector {connector:?} does not stop")))
}

fn not_deleted(message: String) -> Error {
    Error::dependency(reason::CONNECTOR_NOT_DELETED, message)
}

/// What is said if the resource has to go without that.
pub(super) fn left_behind(sink: &SinkConnector) -> LeftBehind {
    LeftBehind {
        reason: reason::CONNECTOR_LEFT_BEHIND,
        what: format!(
            "gave up deleting connector {:?}, which goes on if Kafka Connect still has it; delete it there",
            connector_name(sink)
        ),
    }
}
