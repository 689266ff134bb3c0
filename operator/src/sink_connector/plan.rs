//! What there is to do about a connector. Pure: no client, no clock.

use crate::connect::{Config, ConnectorStatus, State};

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Create,
    Update,
    RestartFailed,
    Nothing,
}

/// Compares what should be with what is. A connector that somebody has paused or stopped is left so.
pub(super) fn plan(
    desired: &Config,
    registered: Option<&Config>,
    status: Option<&ConnectorStatus>,
    restart_due: bool,
) -> Plan {
    let Some(registered) = registered else {
        return Plan::Create;
    };
    if !same(desired, registered) {
        return Plan::Update;
    }
    match status {
        Some(status) if restart_due && has_failed(status) => Plan::RestartFailed,
        _ => Plan::Nothing,
    }
}

/// Connect adds the connector's name to the configuration that it was given.
fn same(desired: &Config, registered: &Config) -> bool {
    let without_name = |config: &Config| {
        let mut entries = config.0.clone();
        entries.remove("name");
        entries
    };
    without_name(desired) == without_name(registered)
}

/// A failed task does not show in the connector's own state.
fn has_failed(status: &ConnectorStatus) -> bool {
    status.state == State::Failed || status.tasks.iter().any(|task| task.state == State::Failed)
}
