//! What a SinkConnector says of itself, from what Connect says of the connector. Pure.

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
        match (status.state, failure) {
            (State::Failed, _) => {
                let why = why(status.trace.as_deref());
                Health::degraded(reason::CONNECTOR_FAILED, format!("the connector failed: {why}"))
            }
            (_, Some(task)) => {
                let why = why(task.trace.as_deref());
                Health::degraded(
                    reason::TASK_FAILED,
                    format!("{tasks}; task {} failed: {why}", task.id),
                )
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
