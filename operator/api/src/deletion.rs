//! What becomes of what lies outside Kubernetes when a resource is deleted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of topics and consumer groups when a ScrapeJob or a FilteredSum is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay.
    #[default]
    Orphan,
    /// The topics that naru created for the resource (`status.createdTopics`) go, with all records in them, and so does
    /// its consumer group.
    Delete,
}

/// What becomes of a connector when its SinkConnector is deleted. Tables and topics stay in any case.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
pub enum ConnectorDeletionPolicy {
    /// It is unregistered. The offsets of its consumer group stay: a connector with the same name goes on where it was.
    #[default]
    Delete,
    /// It goes on as it is.
    Orphan,
    /// It is unregistered and its offsets are reset: a connector with the same name reads its topics from their start.
    ResetOffsetsAndDelete,
}
