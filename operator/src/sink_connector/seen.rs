//! What a SinkConnector says of itself, from what Connect says of the connector. Pure.

use std::time::Duration;

use naru_api::{TaskCounts, condition::reason};

use super::plan::Plan;
use crate::{
    connect::{self, ConnectorStatus, State},
    controller::conditions::Health,
};

/// Longest part of a stack trace that is shown, characters.
const LONGEST_TRACE: usize = 400;

/// What a pass did and saw.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) plan: Plan,
    /// None: Connect has accepted the connector, but not yet started it.
    pub(super) status: Option<ConnectorStatus>,
    /// `spec.suspend`.
    pub(super) suspend: bool,
    /// The connector, if it is paused or about to be, was paused by us.
    pub(super) paused_by_us: bool,
    /// A restart waits for the schema registry, which does not answer.
    pub(super) held: bool,
    /// When there is more to do, although nothing may change until then.
    pub(super) next: Option<Duration>,
    /// Keys that somebody else had changed in Connect, and that were changed back.
    pub(super) drifted: Vec<String>,
    /// Somebody else had unregistered it, and it was registered again.
    pub(super) lost: bool,
    /// Keys whose values come from Secrets, and are new.
    pub(super) rotated: Vec<String>,
}

impl Seen {
    /// How many tasks are in which state.
    pub(super) fn counts(&self) -> TaskCounts {
        let mut counts = TaskCounts::default();
        for task in self.status.iter().flat_map(|status| &status.tasks) {
            match task.state {
                State::Running => counts.running += 1,
                State::Failed => counts.failed += 1,
                State::Paused | State::Stopped | State::Unassigned | State::Restarting | State::Other => {
                    counts.other += 1;
                }
            }
        }
        counts
    }

    /// Whether there is nothing to wait for.
    pub(super) fn is_well(&self) -> bool {
        self.suspend || self.health().ready
    }

    /// Whether the connector is still paused, or about to be, and by us. That ends with a resumption that Connect has
    /// accepted, once it shows, and when somebody stops the connector.
    pub(super) fn is_paused_by_us(&self) -> bool {
        let state = self.status.as_ref().map(|status| status.state);
        let goes_on = self.plan == Plan::Resume && state != Some(State::Paused);
        self.suspend || (self.paused_by_us && !goes_on && state != Some(State::Stopped))
    }

    /// How far the connector is.
    pub(super) fn health(&self) -> Health {
        let TaskCounts {
            running,
            failed,
            other,
        } = self.counts();
        let all = running + failed + other;
        let tasks = format!("tasks {running} of {all} running");
        let Some(status) = &self.status else {
            return Health::progressing(
                reason::REGISTERING,
                "the connector is registered and about to start",
            );
        };
        let failure = status.tasks.iter().find(|task| task.state == State::Failed);
        let then = if self.held {
            "; restarted when the schema registry answers"
        } else {
            ""
        };
        match (status.state, failure) {
            _ if self.suspend => Health::stopped(reason::SUSPENDED, "the connector is paused"),
            (State::Failed, _) => {
                let why = why(status.trace.as_deref());
                Health::degraded(
                    reason::CONNECTOR_FAILED,
                    format!("the connector failed: {why}{then}"),
                )
            }
            (_, Some(task)) => {
                let why = why(task.trace.as_deref());
                Health::degraded(
                    reason::TASK_FAILED,
                    format!("{tasks}; task {} failed: {why}{then}", task.id),
                )
            }
            (State::Paused, _) if self.paused_by_us => {
                Health::progressing(reason::STARTING, "the connector is about to go on")
            }
            (State::Paused, _) => Health::stopped(
                reason::PAUSED_IN_CONNECT,
                "somebody has paused the connector in Connect",
            ),
            (State::Stopped, _) => Health::stopped(
                reason::STOPPED_IN_CONNECT,
                "somebody has stopped the connector in Connect",
            ),
            (State::Running, None) if all > 0 && running == all => Health::ready(reason::RUNNING, tasks),
            _ => Health::progressing(reason::STARTING, tasks),
        }
    }
}

/// The first line of a Java stack trace, and the cause at its bottom, which is the part that a person can act on.
fn why(trace: Option<&str>) -> String {
    let trace = trace.unwrap_or("Connect says no reason");
    let first = trace.lines().next().unwrap_or_default();
    let root = trace
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("Caused by: "))
        .next_back();
    let text = match root {
        Some(root) => format!("{first} caused by: {root}"),
        None => first.to_owned(),
    };
    connect::cut(&text, LONGEST_TRACE)
}
