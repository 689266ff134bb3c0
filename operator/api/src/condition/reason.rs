//! Every reason that a condition or an Event of naru's can have. A stable public list: scripts and alerts match on
//! these words, so that none changes or goes without a `BREAKING:` line in the changelog.

/// A constant for each reason, and [`ALL`] of them with what each means.
macro_rules! reasons {
    ($($(#[doc = $meaning:literal])+ $name:ident = $text:literal;)+) => {
        $($(#[doc = $meaning])+ pub const $name: &str = $text;)+

        /// Each reason, and what it means.
        pub const ALL: &[(&str, &str)] = &[$(($text, concat!($($meaning),+).trim_ascii())),+];
    };
}

reasons! {
    // Ready.
    /// Everything that was declared runs.
    RUNNING = "Running";
    /// There is nothing to do, so that there are no workers; they come back with the first lag.
    IDLE = "Idle";
    /// Not everything that was declared has come up yet.
    STARTING = "Starting";
    /// `spec.suspend` is set: nothing runs until it goes.
    SUSPENDED = "Suspended";
    /// Somebody has paused the connector in Connect; naru leaves it so.
    PAUSED_IN_CONNECT = "PausedInConnect";
    /// Somebody has stopped the connector in Connect; naru leaves it so.
    STOPPED_IN_CONNECT = "StoppedInConnect";
    /// The resource is being deleted, and what lies outside Kubernetes goes first.
    DELETING = "Deleting";
    /// The API server refused a request, or did not answer.
    KUBERNETES_ERROR = "KubernetesError";
    /// A pass over the resource ended in a defect of the operator.
    OPERATOR_DEFECT = "OperatorDefect";

    // Valid.
    /// The spec can work.
    ACCEPTED = "Accepted";
    /// The spec cannot work, and only an edit of it can help.
    INVALID_SPEC = "InvalidSpec";
    /// The records would have a schema that the registry refuses beside the one it has.
    SCHEMA_INCOMPATIBLE = "SchemaIncompatible";

    // DependenciesReady.
    /// All that the spec needs answers and exists.
    ANSWERING = "Answering";
    /// Not looked at, since something else comes first.
    NOT_CHECKED = "NotChecked";
    /// Kafka does not answer.
    KAFKA_UNREACHABLE = "KafkaUnreachable";
    /// Kafka answers, and refused what it was asked for.
    KAFKA_REFUSED = "KafkaRefused";
    /// A topic that must exist does not.
    TOPIC_MISSING = "TopicMissing";
    /// A topic has fewer partitions than are needed, and cannot be given more.
    TOPIC_TOO_SMALL = "TopicTooSmall";
    /// A topic that was there loses records which the workers need.
    TOPIC_MISCONFIGURED = "TopicMisconfigured";
    /// The schema registry does not answer.
    REGISTRY_UNREACHABLE = "RegistryUnreachable";
    /// The schema registry answers, and refused what it was asked for.
    REGISTRY_REFUSED = "RegistryRefused";
    /// Records of the input topic have no field of this name.
    FIELD_MISSING = "FieldMissing";
    /// The field is no integer.
    FIELD_NOT_SUMMABLE = "FieldNotSummable";
    /// The field is neither a timestamp nor a date.
    FIELD_NO_TIME = "FieldNoTime";
    /// There is no Secret of this name.
    SECRET_MISSING = "SecretMissing";
    /// The Secret has no such key.
    SECRET_KEY_MISSING = "SecretKeyMissing";
    /// The Secret's value is not UTF-8 text.
    SECRET_NOT_TEXT = "SecretNotText";
    /// Kafka Connect does not answer.
    CONNECT_UNREACHABLE = "ConnectUnreachable";
    /// Kafka Connect takes no requests while it rebalances.
    CONNECT_REBALANCING = "ConnectRebalancing";
    /// Kafka Connect answers, and refused what it was asked for.
    CONNECT_REFUSED = "ConnectRefused";
    /// Something answers at the address, and it is not Kafka Connect.
    NOT_CONNECT = "NotConnect";

    /// There is an object with the name of a worker or its ConfigMap that belongs to somebody else. It is left alone.
    NAME_CONFLICT = "NameConflict";

    // Progressing.
    /// Pods are being replaced, one after the other.
    ROLLING_OUT = "RollingOut";
    /// Connect has been told the connector's configuration, and has yet to start it.
    REGISTERING = "Registering";
    /// Nothing is under way.
    SETTLED = "Settled";

    // Degraded.
    /// All that should run does, as the spec says.
    AS_EXPECTED = "AsExpected";
    /// A worker ends again and again, or cannot start.
    WORKER_FAILING = "WorkerFailing";
    /// A rollout has made no progress for `spec.rollout.progressDeadline`.
    ROLLOUT_STALLED = "RolloutStalled";
    /// A rollout made no progress, and the workers before it run again.
    ROLLED_BACK = "RolledBack";
    /// The spec as it is cannot be carried out; what it was before goes on running.
    LAST_KNOWN_GOOD = "LastKnownGood";
    /// The connector itself failed.
    CONNECTOR_FAILED = "ConnectorFailed";
    /// A task of the connector failed.
    TASK_FAILED = "TaskFailed";

    // Paused.
    /// `spec.suspend` is not set any more, and what was paused for it has not been seen to go on yet.
    RESUMING = "Resuming";
    /// `spec.suspend` is not set.
    NOT_SUSPENDED = "NotSuspended";

    // ScalingActive and LagAvailable.
    /// The workers follow the consumer lag.
    FOLLOWING_LAG = "FollowingLag";
    /// The lag is not known, and the workers stay as many as they are.
    LAG_UNKNOWN = "LagUnknown";
    /// The lag was read.
    LAG_READ = "LagRead";
    /// The number of replicas could not be read or written.
    SCALE_FAILED = "ScaleFailed";
    /// `spec.scaling.mode` is `Recommend`: naru says how many workers there should be, and others set it.
    RECOMMEND_ONLY = "RecommendOnly";
    /// `spec.scaling.mode` is `Disabled`: others set how many workers there are.
    DISABLED = "Disabled";
    /// One of `spec.scaling.freezes` holds, and the workers stay as many as they are.
    FROZEN = "Frozen";

    // PartitionsStalled.
    /// Records wait in partitions in which the workers have not got on for minutes.
    PARTITIONS_STALLED = "PartitionsStalled";
    /// The workers get on wherever records wait.
    PARTITIONS_MOVING = "PartitionsMoving";

    // ProducersNearCapacity.
    /// Producers write less than the lower of `spec.capacity.thresholds`, or it is not known yet.
    CAPACITY_LEFT = "CapacityLeft";
    /// Producers have written more than the lower of `spec.capacity.thresholds` for a minute.
    CAPACITY_WARNING = "CapacityWarning";
    /// Producers have written more than the higher of `spec.capacity.thresholds` for a minute.
    CAPACITY_CRITICAL = "CapacityCritical";

    // Deletion.
    /// The connector could not be unregistered yet.
    CONNECTOR_NOT_DELETED = "ConnectorNotDeleted";
    /// The resource went although its connector may still be registered.
    CONNECTOR_LEFT_BEHIND = "ConnectorLeftBehind";
    /// The resource's topics and consumer group could not be deleted yet.
    TOPICS_NOT_DELETED = "TopicsNotDeleted";
    /// The resource went although its topics or its consumer group may still be there.
    TOPICS_LEFT_BEHIND = "TopicsLeftBehind";

    // Events alone.
    /// There are more workers than before.
    SCALED_OUT = "ScaledOut";
    /// There are fewer workers than before.
    SCALED_IN = "ScaledIn";
    /// Somebody else changed or deleted an owned object or a connector, and it is as it was again.
    DRIFT_REPAIRED = "DriftRepaired";
    /// A connector was registered with the new values of Secrets.
    SECRET_ROTATED = "SecretRotated";
    /// Failed tasks of a connector were restarted.
    TASKS_RESTARTED = "TasksRestarted";
    /// The rules of a sum have changed, and its `reset` says what becomes of the totals.
    RULES_CHANGED = "RulesChanged";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn reasons_are_words_told_apart_each_with_a_meaning() {
        let words: BTreeSet<_> = ALL.iter().map(|(word, _)| word).collect();
        assert_eq!(words.len(), ALL.len());
        for (word, meaning) in ALL {
            assert!(word.chars().all(|c| c.is_ascii_alphabetic()), "{word}");
            assert!(word.starts_with(|c: char| c.is_ascii_uppercase()), "{word}");
            assert!(
                meaning.ends_with('.') && meaning.len() > 10,
                "{word}: {meaning:?}"
            );
        }
    }
}
