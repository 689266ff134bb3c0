//! When failed tasks are restarted. Connect does not restart them, and keeps no count.

use std::time::Duration;

use crate::{connect::ConnectorStatus, controller::pace::doubled};

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may be gone already: a connection that broke, a deadlock.
    Passing,
    /// It stays until a person does something about it: a wrong password, a table that does not fit.
    Lasting,
}

/// Signs of a failure that may be gone already. They come first: what could not be reached could not be right either.
const PASSING: [&str; 14] = [
    "java.net.",
    "java.io.IOException",
    "java.io.EOFException",
    "TimeoutException",
    "RetriableException",
    "DisconnectException",
    "CommunicationsException",
    "SQLTransient",
    "SQLNonTransientConnectionException",
    "Communications link failure",
    "Deadlock",
    "Lock wait timeout",
    "OutOfMemoryError",
    "Too many connections",
];

/// Signs of a failure that a person has to do something about.
const LASTING: [&str; 16] = [
    "Access denied",
    "SQLInvalidAuthorizationSpecException",
    "SQLSyntaxErrorException",
    "SQLIntegrityConstraintViolationException",
    "DataTruncation",
    "Data too long",
    "Unknown database",
    "doesn't exist",
    "permission denied",
    "AuthorizationException",
    "AuthenticationException",
    "ConfigException",
    "ClassNotFoundException",
    "NoClassDefFoundError",
    "DataException",
    "SchemaException",
];

impl Failure {
    /// From the causes that Connect names. What nobody knows may be gone already.
    fn of(trace: &str) -> Self {
        let says = |signs: &[&str]| signs.iter().any(|sign| trace.contains(sign));
        if !says(&PASSING) && says(&LASTING) {
            Self::Lasting
        } else {
            Self::Passing
        }
    }

    /// The kind of all that has failed together: one failure that may be gone is worth a restart.
    pub(super) fn of_all(status: &ConnectorStatus) -> Self {
        let lasting = |trace: Option<&str>| trace.is_some_and(|trace| Self::of(trace) == Self::Lasting);
        if status.failures().all(lasting) {
            Self::Lasting
        } else {
            Self::Passing
        }
    }

    /// Time before the next restart after so many.
    pub(super) fn delay(self, times: u32) -> Duration {
        match (self, times) {
            (Self::Passing, 0) => Duration::ZERO,
            // 5 s, 10 s, ... and at last one in five minutes, as long as it takes.
            (Self::Passing, times) => doubled(5, times - 1, 300),
            // Nobody may tell when the password is right again.
            (Self::Lasting, times) => doubled(60, times, 600),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::controller::pace::Pace;

    /// Seconds at which a connector that fails again at once is restarted.
    fn restarts(failure: Failure, seconds: u64) -> Vec<u64> {
        let (restarts, start) = (Pace::default(), Instant::now());
        let due = |second: &u64| {
            let now = start + Duration::from_secs(*second);
            let wait = restarts.wait("shop.items", |times| failure.delay(times), now);
            if wait.is_zero() {
                restarts.done("shop.items", now);
            }
            wait.is_zero()
        };
        (0..seconds).filter(due).collect()
    }

    #[test]
    fn a_passing_failure_is_restarted_at_once_and_then_ever_more_rarely() {
        let expected = [0, 5, 15, 35, 75, 155, 315, 615, 915];
        assert_eq!(restarts(Failure::Passing, 1000), expected);
    }

    #[test]
    fn a_lasting_failure_waits_for_a_person_and_is_looked_at_every_ten_minutes() {
        assert_eq!(restarts(Failure::Lasting, 1800), [60, 180, 420, 900, 1500]);
    }

    #[test]
    fn causes_tell_what_passes_from_what_needs_a_person() {
        let wrapped = "org.apache.kafka.connect.errors.ConnectException: Exiting WorkerSinkTask\nCaused by: ";
        let cases = [
            (
                "java.sql.SQLException: Access denied for user 'ada'@'%'",
                Failure::Lasting,
            ),
            (
                "java.sql.SQLSyntaxErrorException: Table 'shop.items' doesn't exist",
                Failure::Lasting,
            ),
            (
                "java.sql.SQLSyntaxErrorException: Unknown column 'x'",
                Failure::Lasting,
            ),
            (
                "org.apache.kafka.connect.errors.DataException: no field seq",
                Failure::Lasting,
            ),
            (
                "org.apache.kafka.common.config.ConfigException: x",
                Failure::Lasting,
            ),
            (
                "org.apache.kafka.common.errors.TopicAuthorizationException: items",
                Failure::Lasting,
            ),
            ("java.net.ConnectException: Connection refused", Failure::Passing),
            (
                "java.sql.SQLTransientConnectionException: timeout",
                Failure::Passing,
            ),
            (
                "com.mysql.cj.jdbc.exceptions.CommunicationsException: Communications link failure",
                Failure::Passing,
            ),
            (
                "java.sql.SQLException: Deadlock found when trying to get lock",
                Failure::Passing,
            ),
            (
                "org.apache.kafka.common.errors.TimeoutException: x",
                Failure::Passing,
            ),
            (
                "org.apache.kafka.connect.errors.DataException: Avro\nCaused by: java.net.ConnectException: refused",
                Failure::Passing,
            ),
            ("java.lang.NullPointerException", Failure::Passing),
        ];
        for (cause, expected) in cases {
            assert_eq!(Failure::of(&format!("{wrapped}{cause}")), expected, "{cause}");
        }
    }
}
