//! How a connector and its tasks are.

use serde::Deserialize;

/// State of a connector or of a task.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    Running,
    Failed,
    Paused,
    Stopped,
    Unassigned,
    Restarting,
    /// One that this version does not know.
    #[serde(other)]
    Other,
}

/// A connector with its tasks. A failed task does not show in the connector's own state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectorStatus {
    pub state: State,
    /// Why the connector itself has failed: the causes in a Java stack trace, a line each.
    pub trace: Option<String>,
    pub tasks: Vec<TaskStatus>,
}

/// One task of a connector.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
pub struct TaskStatus {
    pub id: i32,
    pub state: State,
    /// Why the task has failed: the causes in a Java stack trace, a line each.
    pub trace: Option<String>,
}

/// The lines of a Java stack trace that name a cause. The others, most of all, are only about code.
fn causes(trace: &str) -> String {
    let first = trace.lines().next().unwrap_or_default();
    let causes = trace
        .lines()
        .skip(1)
        .map(str::trim_start)
        .filter(|line| line.starts_with("Caused by: "));
    std::iter::once(first)
        .chain(causes)
        .collect::<Vec<_>>()
        .join("\n")
}

impl ConnectorStatus {
    /// The trace, if there is one, of each that has failed: the connector itself and its tasks. A failed task does not
    /// show in the connector's own state.
    pub fn failures(&self) -> impl Iterator<Item = Option<&str>> {
        let tasks = self.tasks.iter().map(|task| (task.state, &task.trace));
        std::iter::once((self.state, &self.trace))
            .chain(tasks)
            .filter(|(state, _)| *state == State::Failed)
            .map(|(_, trace)| trace.as_deref())
    }

    /// Rewrites every trace.
    pub(super) fn map_traces(mut self, rewrite: impl Fn(String) -> String) -> Self {
        self.trace = self.trace.map(&rewrite);
        for task in &mut self.tasks {
            task.trace = task.trace.take().map(&rewrite);
        }
        self
    }
}

impl<'de> Deserialize<'de> for ConnectorStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Document {
            connector: Connector,
            tasks: Vec<TaskStatus>,
        }
        #[derive(Deserialize)]
        struct Connector {
            state: State,
            trace: Option<String>,
        }
        let Document { connector, tasks } = Document::deserialize(deserializer)?;
        let status = Self {
            state: connector.state,
            trace: connector.trace,
            tasks,
        };
        Ok(status.map_traces(|trace| causes(&trace)))
    }
}
