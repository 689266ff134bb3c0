//! What a SinkConnector says of itself, from what Connect says of the connector. Pure.

use naru_api::{TaskCounts, condition::reason};

use super::plan::Plan;
use crate::{
    connect::{self, ConnectorStatus, State},
    controller::status::Readiness,
};

/// Longest part of a stack trace that is shown, characters.
const LONGEST_TRACE: usize = 400;

/// What a pass did and saw.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) plan: Plan,
    /// None: Connect has accepted the connector, but not yet started it.
    pub(super) status: Option<ConnectorStatus>,
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

    /// How far the connector is.
    pub(super) fn readiness(&self) -> Readiness {
        let TaskCounts {
            running,
            failed,
            other,
        } = self.counts();
        let all = running + failed + other;
        let tasks = format!("tasks {running} of {all} running");
        let unready = |reason, message| Readiness {
            ready: false,
            reason,
            message,
        };
        let Some(status) = &self.status else {
            return unready(
                reason::STARTING,
                "the connector is registered and about to start".to_owned(),
            );
        };
        let failure = status.tasks.iter().find(|task| task.state == State::Failed);
        let then = if self.plan == Plan::RestartFailed {
            "; restarted"
        } else {
            ""
        };
        match (status.state, failure) {
            (State::Failed, _) => {
                let why = why(status.trace.as_deref());
                unready(
                    reason::CONNECTOR_FAILED,
                    format!("the connector failed: {why}{then}"),
                )
            }
            (_, Some(task)) => {
                let why = why(task.trace.as_deref());
                unready(
                    reason::TASK_FAILED,
                    format!("{tasks}; task {} failed: {why}{then}", task.id),
                )
            }
            (State::Paused, _) => unready(
                reason::PAUSED_IN_CONNECT,
                "somebody has paused the connector in Connect".to_owned(),
            ),
            (State::Stopped, _) => unready(
                reason::STOPPED_IN_CONNECT,
                "somebody has stopped the connector in Connect".to_owned(),
            ),
            (State::Running, None) if all > 0 && running == all => Readiness {
                ready: true,
                reason: reason::RUNNING,
                message: tasks,
            },
            _ => unready(reason::STARTING, tasks),
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
