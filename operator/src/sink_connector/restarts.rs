//! When failed tasks are restarted. Connect does not restart them, and keeps no count.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::connect::ConnectorStatus;

/// A connector that has run for so long since its last restart fails for another reason.
const FORGET: Duration = Duration::from_secs(900);

/// The restarts of each connector. A task that fails soon after each restart shows as running in between, so that
/// only time, and not a good look, makes up for a restart.
#[derive(Debug, Default)]
pub(super) struct Restarts(Mutex<BTreeMap<String, Restarted>>);

#[derive(Clone, Copy, Debug)]
struct Restarted {
    /// Since when something has failed that was not restarted yet.
    failed: Option<Instant>,
    times: u32,
    last: Option<Instant>,
}

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
    fn delay(self, times: u32) -> Duration {
        let doubled = |first: u64, doublings: u32, longest: u64| {
            let seconds = first.saturating_mul(1 << doublings.min(16));
            Duration::from_secs(seconds.min(longest))
        };
        match (self, times) {
            (Self::Passing, 0) => Duration::ZERO,
            // 5 s, 10 s, ... and at last one in five minutes, as long as it takes.
            (Self::Passing, times) => doubled(5, times - 1, 300),
            // Nobody may tell when the password is right again.
            (Self::Lasting, times) => doubled(60, times, 600),
        }
    }
}

impl Restarts {
    /// How long it is until what has failed of the connector is to be restarted.
    pub(super) fn wait(&self, connector: &str, failure: Failure, now: Instant) -> Duration {
        let mut entries = self.entries();
        let restarted = entries.entry(connector.to_owned()).or_insert(Restarted {
            failed: Some(now),
            times: 0,
            last: None,
        });
        if restarted
            .last
            .is_some_and(|last| now.saturating_duration_since(last) >= FORGET)
        {
            *restarted = Restarted {
                failed: Some(now),
                times: 0,
                last: None,
            };
        }
        let since = restarted.last.or(restarted.failed).unwrap_or(now);
        (since + failure.delay(restarted.times)).saturating_duration_since(now)
    }

    /// Remembers a restart.
    pub(super) fn restarted(&self, connector: &str, now: Instant) {
        let mut entries = self.entries();
        let times = entries.get(connector).map_or(0, |before| before.times);
        let restarted = Restarted {
            failed: None,
            times: times.saturating_add(1),
            last: Some(now),
        };
        entries.insert(connector.to_owned(), restarted);
    }

    /// Starts over: the connector is gone, or has another configuration.
    pub(super) fn forget(&self, connector: &str) {
        self.entries().remove(connector);
    }

    /// Nothing has failed. Restarts are only forgotten with time.
    pub(super) fn well(&self, connector: &str) {
        let mut entries = self.entries();
        if entries.get(connector).is_some_and(|before| before.last.is_none()) {
            entries.remove(connector);
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Restarted>> {
        // A panic elsewhere cannot leave a half-made entry behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds at which a connector that fails again at once is restarted.
    fn restarts(failure: Failure, seconds: u64) -> Vec<u64> {
        let (restarts, start) = (Restarts::default(), Instant::now());
        let due = |second: &u64| {
            let now = start + Duration::from_secs(*second);
            let due = restarts.wait("shop.items", failure, now).is_zero();
            if due {
                restarts.restarted("shop.items", now);
            }
            due
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
    fn only_time_or_another_configuration_makes_up_for_restarts() {
        let (restarts, start) = (Restarts::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let wait = |seconds| {
            restarts
                .wait("shop.items", Failure::Passing, after(seconds))
                .as_secs()
        };
        restarts.restarted("shop.items", after(0));
        restarts.well("shop.items");
        assert_eq!(wait(1), 4);
        assert_eq!(
            restarts.wait("shop.other", Failure::Passing, after(1)),
            Duration::ZERO
        );
        restarts.restarted("shop.items", after(5));
        assert_eq!(wait(6), 9);
        assert_eq!(wait(5 + FORGET.as_secs()), 0);
        restarts.restarted("shop.items", after(2000));
        restarts.forget("shop.items");
        assert_eq!(wait(2001), 0);
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
