//! Why a session ends, and whether another one may go better.

use std::time::Duration;

use naru_worker_core::avro::registry;
use naru_worker_core::kafka::{consumer, topic, transaction, upsert};
use naru_worker_core::run::Session;
use rdkafka::error::KafkaError;
use snafu::Snafu;

use crate::accumulator::Overflow;
use crate::keys;
use crate::output;
use crate::rules::RulesError;
use crate::total::TotalError;

#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum Error {
    #[snafu(transparent)]
    Rules { source: RulesError },
    #[snafu(transparent)]
    Registry { source: registry::Error },
    #[snafu(transparent)]
    Consumer { source: consumer::Error },
    #[snafu(transparent)]
    Transaction { source: transaction::Error },
    #[snafu(transparent)]
    Upsert { source: upsert::Error },
    #[snafu(transparent)]
    Output { source: output::Error },
    #[snafu(transparent)]
    Keys { source: keys::topic::Error },
    #[snafu(transparent)]
    Topic { source: topic::Error },
    #[snafu(display("unable to read topic {topic:?}"))]
    Read { source: KafkaError, topic: String },
    #[snafu(display(
        "no record of partition {partition} of topic {topic:?} from offset {next_offset} on has arrived for half a minute, \
         though there are some"
    ))]
    Starved {
        topic: String,
        partition: i32,
        next_offset: i64,
    },
    #[snafu(display("unable to write a total"))]
    Encode { source: TotalError },
    #[snafu(display("the totals of the partitions cannot be added up"))]
    Overall { source: Overflow },
    #[snafu(display("the process is to stop"))]
    Stopping,
    #[snafu(display("nothing was committed for {} s: {reason}", since.as_secs()))]
    Aborting { since: Duration, reason: String },
}

impl Session for Error {
    fn is_final(&self) -> bool {
        match self {
            Self::Rules { .. } => true,
            Self::Registry { source } => source.is_final(),
            Self::Topic { source } => source.is_final(),
            Self::Consumer { source } => source.is_final(),
            Self::Transaction { source } => source.is_final(),
            Self::Upsert { source } => source.is_final(),
            Self::Stopping
            | Self::Read { .. }
            | Self::Starved { .. }
            | Self::Output { .. }
            | Self::Keys { .. }
            | Self::Encode { .. }
            | Self::Overall { .. }
            | Self::Aborting { .. } => false,
        }
    }
}
