//! What there is to do about a connector. Pure: no client, no clock.

use crate::connect::{Config, ConnectorStatus, Registered, State};

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Create,
    Update,
    Pause,
    Resume,
    RestartFailed,
    Nothing,
}

/// What should be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) config: &'a Config,
    pub(super) suspend: bool,
    /// We have asked the connector to pause. One that somebody else has paused or stopped is left so.
    pub(super) paused_by_us: bool,
    /// What has failed may be restarted now.
    pub(super) restart: bool,
}

/// Compares what should be with what is.
pub(super) fn plan(wanted: Wanted<'_>, found: Option<&Registered>) -> Plan {
    let Some(Registered { config, status }) = found else {
        return Plan::Create;
    };
    if !differing(wanted.config, config).is_empty() {
        return Plan::Update;
    }
    match status {
        None => Plan::Nothing,
        Some(status) if wanted.suspend => match status.state {
            State::Paused | State::Stopped | State::Failed => Plan::Nothing,
            State::Running | State::Unassigned | State::Restarting | State::Other => Plan::Pause,
        },
        // Connect does later what it was asked for: a connector that still runs is one that pauses in a moment.
        Some(status) if wanted.paused_by_us && status.state != State::Stopped => Plan::Resume,
        Some(status) if wanted.restart && has_failed(status) => Plan::RestartFailed,
        Some(_) => Plan::Nothing,
    }
}

/// Keys whose values differ. Connect adds the connector's name to the configuration that it was given.
pub(super) fn differing<'a>(one: &'a Config, other: &'a Config) -> Vec<&'a str> {
    let mut keys: Vec<&str> = one.0.keys().chain(other.0.keys()).map(String::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| *key != "name" && one.get(key) != other.get(key));
    keys
}

/// A failed task does not show in the connector's own state.
pub(super) fn has_failed(status: &ConnectorStatus) -> bool {
    status.failures().next().is_some()
}
