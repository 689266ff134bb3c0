//! Why a session of a planner or a fetcher ends.

use naru_worker_core::avro::registry;
use naru_worker_core::kafka::{consumer, topic, transaction};
use naru_worker_core::run::Session;
use snafu::Snafu;

use crate::head_topic;
use crate::job::JobError;

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(transparent)]
    Job { source: JobError },
    #[snafu(transparent)]
    Registry { source: registry::Error },
    #[snafu(transparent)]
    Topic { source: topic::Error },
    #[snafu(transparent)]
    Head { source: head_topic::Error },
    #[snafu(transparent)]
    Consumer { source: consumer::Error },
    #[snafu(transparent)]
    Transaction { source: transaction::Error },
    /// All planners of a job have one transactional id: taking it back would only fence the newer one in turn.
    #[snafu(display("a newer planner works on the job"))]
    Superseded { source: transaction::Error },
}

impl Error {
    /// What a planner makes of a transaction's error.
    pub(crate) fn of_planner(source: transaction::Error) -> Self {
        match source {
            transaction::Error::Fenced { .. } => Self::Superseded { source },
            source => Self::Transaction { source },
        }
    }
}

impl Session for Error {
    fn is_final(&self) -> bool {
        match self {
            Self::Job { .. } | Self::Superseded { .. } => true,
            Self::Registry { source } => source.is_final(),
            Self::Topic { source } => source.is_final(),
            Self::Consumer { source } => source.is_final(),
            Self::Transaction { source } => source.is_final(),
            Self::Head { .. } => false,
        }
    }
}
