//! The conditions that follow from what a pass found, and the events that follow from a change of conditions. Pure.

use jiff::Timestamp;
use kube::runtime::events::{Event, EventType};
use naru_api::condition::{
    self, Condition, DEGRADED, DEPENDENCIES_READY, Observed, PAUSED, PROGRESSING, READY, VALID, reason,
};

use super::{Error, message::message};

/// A reason, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    pub reason: &'static str,
    pub message: String,
}

impl Why {
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// How what a resource declares is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Everything that was declared runs.
    pub ready: bool,
    pub why: Why,
    /// What is under way.
    pub progressing: Option<Why>,
    /// What runs not at all, or not as declared.
    pub degraded: Option<Why>,
    /// What there is, be it ready or not.
    pub there: There,
}

/// Whether what there is is what was declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// Nothing, or it is not known.
    Nothing,
    /// What was declared before.
    Before,
    /// What is declared now.
    Declared,
}

impl Health {
    /// Everything runs.
    pub fn ready(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            ready: true,
            why: Why::new(reason, message),
            progressing: None,
            degraded: None,
            there: There::Declared,
        }
    }

    /// It comes up.
    pub fn progressing(reason: &'static str, message: impl Into<String>) -> Self {
        let why = Why::new(reason, message);
        Self {
            ready: false,
            progressing: Some(why.clone()),
            why,
            degraded: None,
            there: There::Declared,
        }
    }

    /// Not all of it runs.
    pub fn degraded(reason: &'static str, message: impl Into<String>) -> Self {
        let why = Why::new(reason, message);
        Self {
            ready: false,
            degraded: Some(why.clone()),
            why,
            progressing: None,
            there: There::Declared,
        }
    }

    /// It does not run, and somebody wants it so.
    pub fn stopped(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            ready: false,
            why: Why::new(reason, message),
            progressing: None,
            degraded: None,
            there: There::Declared,
        }
    }

    /// A pass that failed did not get as far as to see it. `exists`: it was there before.
    pub fn unseen(exists: bool) -> Self {
        Self {
            there: if exists { There::Before } else { There::Nothing },
            ..Self::stopped(reason::STARTING, "nothing is there yet")
        }
    }
}

/// How a pass ended.
#[derive(Clone, Debug)]
pub struct Ended<'a> {
    pub outcome: Result<(), &'a Error>,
    /// The spec was looked at. Nobody does before it is known that the resource is to stay.
    pub read: bool,
    pub deleting: bool,
    pub suspended: bool,
    pub health: Health,
}

/// The conditions after a pass.
pub fn conditions(
    before: &[Condition],
    ended: &Ended<'_>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let observed = [ready(ended), valid(before, ended), dependencies(ended)]
        .into_iter()
        .chain([progressing(ended), degraded(ended), paused(ended)])
        .map(|observed| Observed {
            message: message(&observed.message),
            ..observed
        });
    condition::merge(before, &observed.collect::<Vec<_>>(), generation, now)
}

fn ready(
    Ended {
        outcome,
        deleting,
        suspended,
        health,
        ..
    }: &Ended<'_>,
) -> Observed {
    match outcome {
        _ if *suspended && !deleting => Observed::fails(
            READY,
            reason::SUSPENDED,
            "spec.suspend is set: nothing runs until it goes",
        ),
        // What was declared runs, whatever is silent at the moment.
        Ok(())
        | Err(
            Error::Incompatible { .. }
            | Error::Dependency { .. }
            | Error::Kubernetes { .. }
            | Error::Silent { .. },
        ) if health.ready && health.there == There::Declared => {
            Observed::holds(READY, health.why.reason, health.why.message.clone())
        }
        Ok(()) => Observed::fails(READY, health.why.reason, health.why.message.clone()),
        Err(error) => Observed::fails(READY, error.reason(), error.sentence()),
    }
}

/// As before where the spec was not looked at.
fn valid(before: &[Condition], ended: &Ended<'_>) -> Observed {
    if let Err(error @ (Error::Invalid { .. } | Error::Incompatible { .. })) = ended.outcome {
        return Observed::fails(VALID, error.reason(), error.sentence());
    }
    let known = before.iter().find(|condition| condition.condition_type == VALID);
    match known.map(|known| (known.status.as_str(), known)) {
        Some(("False", known)) if !ended.read => {
            let reasons = [reason::SCHEMA_INCOMPATIBLE, reason::INVALID_SPEC];
            let same = reasons.into_iter().find(|same| *same == known.reason);
            Observed::fails(VALID, same.unwrap_or(reason::INVALID_SPEC), known.message.clone())
        }
        Some(("Unknown", _)) | None if !ended.read => {
            Observed::unknown(VALID, reason::NOT_CHECKED, "the spec was not looked at")
        }
        _ => Observed::holds(VALID, reason::ACCEPTED, "the spec can work"),
    }
}

fn dependencies(ended: &Ended<'_>) -> Observed {
    let unknown = |why: &str| Observed::unknown(DEPENDENCIES_READY, reason::NOT_CHECKED, why);
    match ended.outcome {
        Err(Error::Invalid { .. } | Error::Incompatible { .. }) => {
            unknown("not looked at while the spec is invalid")
        }
        Err(error @ Error::Dependency { .. }) => {
            Observed::fails(DEPENDENCIES_READY, error.reason(), error.sentence())
        }
        Err(Error::Kubernetes { .. } | Error::Silent { .. }) => unknown("the API server comes first"),
        Ok(()) if ended.suspended => unknown("not looked at while spec.suspend is set"),
        Ok(()) => Observed::holds(
            DEPENDENCIES_READY,
            reason::ANSWERING,
            "all that the spec needs answers",
        ),
    }
}

fn progressing(ended: &Ended<'_>) -> Observed {
    match &ended.health.progressing {
        Some(why) if !ended.suspended => Observed::holds(PROGRESSING, why.reason, why.message.clone()),
        _ => Observed::fails(PROGRESSING, reason::SETTLED, "nothing is under way"),
    }
}

fn degraded(
    Ended {
        outcome,
        deleting,
        suspended,
        health,
        ..
    }: &Ended<'_>,
) -> Observed {
    let well = |message| Observed::fails(DEGRADED, reason::AS_EXPECTED, message);
    match (&health.degraded, outcome, health.there) {
        _ if *deleting => Observed::unknown(DEGRADED, reason::DELETING, "the resource is being deleted"),
        _ if *suspended => well("nothing is to run"),
        (Some(why), _, _) => Observed::holds(DEGRADED, why.reason, why.message.clone()),
        (None, Err(error), There::Before) => Observed::holds(
            DEGRADED,
            reason::LAST_KNOWN_GOOD,
            format!(
                "what ran before goes on, and the spec as it is now is not applied: {}",
                error.sentence()
            ),
        ),
        (None, _, There::Nothing) => Observed::unknown(DEGRADED, reason::NOT_CHECKED, "nothing is there yet"),
        (None, _, _) => well("all that runs does so as declared"),
    }
}

fn paused(ended: &Ended<'_>) -> Observed {
    if ended.suspended {
        Observed::holds(PAUSED, reason::SUSPENDED, "spec.suspend is set")
    } else {
        Observed::fails(PAUSED, reason::NOT_SUSPENDED, "spec.suspend is not set")
    }
}

/// Conditions whose changes are told, the causes before the effects.
const TOLD: [&str; 6] = [VALID, DEPENDENCIES_READY, DEGRADED, PAUSED, READY, PROGRESSING];

/// An event for each change of a condition or of its reason. One cause that shows in several conditions is told once.
pub fn transitions(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    let mut told: Vec<Event> = Vec::new();
    for condition_type in TOLD {
        let find = |conditions: &[Condition]| {
            let mut conditions = conditions.iter();
            conditions
                .find(|condition| condition.condition_type == condition_type)
                .cloned()
        };
        let Some(now) = find(after) else { continue };
        let old = find(before);
        let same = old
            .as_ref()
            .is_some_and(|old| old.status == now.status && old.reason == now.reason);
        if same || !worth_telling(old.as_ref(), &now) || told.iter().any(|event| event.reason == now.reason) {
            continue;
        }
        told.push(Event {
            type_: if is_warning(&now, after) {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: now.reason,
            note: Some(now.message),
            action: "Reconcile".to_owned(),
            secondary: None,
        });
    }
    told
}

/// Whether a change is news: not what was to be expected from the start, and not what another condition tells better.
fn worth_telling(before: Option<&Condition>, now: &Condition) -> bool {
    let holds = now.status == "True";
    match now.condition_type.as_str() {
        _ if now.status == "Unknown" => false,
        // The reason why comes with it, from another condition.
        DEGRADED if now.reason == reason::LAST_KNOWN_GOOD => false,
        READY => true,
        PROGRESSING => holds,
        DEGRADED | PAUSED => holds || before.is_some_and(|before| before.status == "True"),
        _ => !holds || before.is_some_and(|before| before.status == "False"),
    }
}

fn is_warning(now: &Condition, after: &[Condition]) -> bool {
    let holds = |condition_type| {
        let mut conditions = after.iter();
        conditions.any(|condition| condition.condition_type == condition_type && condition.status == "True")
    };
    match now.condition_type.as_str() {
        READY => now.status != "True" && !holds(PROGRESSING) && !holds(PAUSED),
        DEGRADED => now.status == "True",
        PROGRESSING | PAUSED => false,
        _ => now.status != "True",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(
        before: &[Condition],
        outcome: Result<(), &Error>,
        suspended: bool,
        health: &Health,
    ) -> Vec<Condition> {
        let ended = Ended {
            outcome,
            read: true,
            deleting: false,
            suspended,
            health: health.clone(),
        };
        conditions(before, &ended, Some(1), Timestamp::UNIX_EPOCH)
    }

    /// `Ready=True/Running Valid=...`, in the order in which they are written.
    fn words(conditions: &[Condition]) -> String {
        let words = conditions
            .iter()
            .map(|c| format!("{}={}/{}", c.condition_type, c.status, c.reason));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_outcome_has_its_conditions() {
        let running = Health::ready(reason::RUNNING, "workers 1 of 1 ready");
        let starting = Health::progressing(reason::STARTING, "workers 0 of 1 ready");
        let failing = Health::degraded(reason::WORKER_FAILING, "workers 0 of 1 ready: exits with 1");
        let (none, before) = (Health::unseen(false), Health::unseen(true));
        let invalid = Error::invalid("field \"price\" ...");
        let incompatible = Error::incompatible(reason::SCHEMA_INCOMPATIBLE, "field \"price\" ...");
        let silent = Error::dependency(reason::KAFKA_UNREACHABLE, "kafka does not answer");
        let applied_in_part = Health {
            there: There::Declared,
            ..none.clone()
        };
        let kubernetes = Error::Silent {
            doing: "apply".to_owned(),
        };
        let fine = "Valid=True/Accepted DependenciesReady=True/Answering";
        let bad = "Valid=False/InvalidSpec DependenciesReady=Unknown/NotChecked";
        let apart = "Valid=False/SchemaIncompatible DependenciesReady=Unknown/NotChecked";
        let alone = "Valid=True/Accepted DependenciesReady=False/KafkaUnreachable";
        let settled = "Progressing=False/Settled";
        let on = "Paused=False/NotSuspended";
        let cases = [
            (
                "all runs",
                after(&[], Ok(()), false, &running),
                format!("Ready=True/Running {fine} {settled} Degraded=False/AsExpected {on}"),
            ),
            (
                "it starts",
                after(&[], Ok(()), false, &starting),
                format!(
                    "Ready=False/Starting {fine} Progressing=True/Starting Degraded=False/AsExpected {on}"
                ),
            ),
            (
                "a worker fails",
                after(&[], Ok(()), false, &failing),
                format!("Ready=False/WorkerFailing {fine} {settled} Degraded=True/WorkerFailing {on}"),
            ),
            (
                "a new resource with a bad spec",
                after(&[], Err(&invalid), false, &none),
                format!("Ready=False/InvalidSpec {bad} {settled} Degraded=Unknown/NotChecked {on}"),
            ),
            (
                "a bad edit of what runs",
                after(&[], Err(&invalid), false, &before),
                format!("Ready=False/InvalidSpec {bad} {settled} Degraded=True/LastKnownGood {on}"),
            ),
            (
                "an edit that does not fit what is there",
                after(&[], Err(&incompatible), false, &before),
                format!("Ready=False/SchemaIncompatible {apart} {settled} Degraded=True/LastKnownGood {on}"),
            ),
            (
                "what is there has changed under what was declared and runs",
                after(&[], Err(&incompatible), false, &running),
                format!("Ready=True/Running {apart} {settled} Degraded=False/AsExpected {on}"),
            ),
            (
                "an outage, and all that was declared runs",
                after(&[], Err(&silent), false, &running),
                format!("Ready=True/Running {alone} {settled} Degraded=False/AsExpected {on}"),
            ),
            (
                "an outage before an edit was applied",
                after(&[], Err(&silent), false, &before),
                format!("Ready=False/KafkaUnreachable {alone} {settled} Degraded=True/LastKnownGood {on}"),
            ),
            (
                "an API server that is silent",
                after(&[], Err(&kubernetes), false, &none),
                format!(
                    "Ready=False/KubernetesError Valid=True/Accepted DependenciesReady=Unknown/NotChecked {settled} Degraded=Unknown/NotChecked {on}"
                ),
            ),
            (
                "an API server that falls silent while a new resource is applied",
                after(&[], Err(&kubernetes), false, &applied_in_part),
                format!(
                    "Ready=False/KubernetesError Valid=True/Accepted DependenciesReady=Unknown/NotChecked {settled} Degraded=False/AsExpected {on}"
                ),
            ),
            (
                "suspended",
                after(&[], Ok(()), true, &starting),
                format!(
                    "Ready=False/Suspended Valid=True/Accepted DependenciesReady=Unknown/NotChecked {settled} Degraded=False/AsExpected Paused=True/Suspended"
                ),
            ),
            (
                "suspended with a bad spec",
                after(&[], Err(&invalid), true, &before),
                format!(
                    "Ready=False/Suspended {bad} {settled} Degraded=False/AsExpected Paused=True/Suspended"
                ),
            ),
        ];
        for (case, found, expected) in cases {
            assert_eq!(words(&found), expected, "{case}");
            assert!(
                found
                    .iter()
                    .all(|condition| condition.observed_generation == Some(1))
            );
        }
    }

    #[test]
    fn a_resource_that_is_being_deleted_keeps_what_was_known_of_its_spec() {
        let kafka = Error::dependency(reason::TOPICS_NOT_DELETED, "kafka does not answer");
        let invalid = Error::invalid("field \"price\" ...");
        let running = Health::ready(reason::RUNNING, "workers 1 of 1 ready");
        let new = Vec::new();
        let good = after(&[], Ok(()), false, &running);
        let bad = after(&[], Err(&invalid), false, &Health::unseen(true));
        let suspended = after(&[], Ok(()), true, &running);
        let (settled, unknown) = ("Progressing=False/Settled", "Degraded=Unknown/Deleting");
        let cases = [
            (&new, false, "Unknown/NotChecked", "False/NotSuspended"),
            (&good, false, "True/Accepted", "False/NotSuspended"),
            (&bad, false, "False/InvalidSpec", "False/NotSuspended"),
            (&suspended, true, "True/Accepted", "True/Suspended"),
        ];
        for (before, suspended, valid, paused) in cases {
            let ended = Ended {
                outcome: Err(&kafka),
                read: false,
                deleting: true,
                suspended,
                health: Health::unseen(true),
            };
            let found = conditions(before, &ended, Some(2), Timestamp::UNIX_EPOCH);
            let expected = format!(
                "Ready=False/TopicsNotDeleted Valid={valid} DependenciesReady=False/TopicsNotDeleted {settled} {unknown} Paused={paused}"
            );
            assert_eq!(words(&found), expected);
            assert_eq!(told(before, &found), ["!TopicsNotDeleted"]);
        }
        let after = conditions(
            &bad,
            &Ended {
                outcome: Err(&kafka),
                read: false,
                deleting: true,
                suspended: false,
                health: Health::unseen(true),
            },
            Some(2),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(after[1].message, bad[1].message);
    }

    fn told(before: &[Condition], after: &[Condition]) -> Vec<String> {
        let events = transitions(before, after).into_iter();
        events
            .map(|event| {
                let warning = matches!(event.type_, EventType::Warning);
                format!("{}{}", if warning { "!" } else { "" }, event.reason)
            })
            .collect()
    }

    #[test]
    fn each_change_is_told_once_and_no_change_is_not() {
        let starting = after(
            &[],
            Ok(()),
            false,
            &Health::progressing(reason::STARTING, "0 of 1"),
        );
        let further = after(
            &[],
            Ok(()),
            false,
            &Health::progressing(reason::STARTING, "1 of 2"),
        );
        let running = after(&[], Ok(()), false, &Health::ready(reason::RUNNING, "2 of 2"));
        let error = Error::invalid("field");
        let refused = after(&[], Err(&error), false, &Health::unseen(true));
        let failing = after(&[], Ok(()), false, &Health::degraded(reason::WORKER_FAILING, "x"));
        let suspended = after(&[], Ok(()), true, &Health::ready(reason::IDLE, "0 of 0"));
        assert_eq!(told(&[], &starting), ["Starting"]);
        assert!(told(&starting, &further).is_empty());
        assert_eq!(told(&further, &running), ["Running"]);
        assert!(told(&running, &running).is_empty());
        assert_eq!(told(&running, &refused), ["!InvalidSpec"]);
        assert_eq!(told(&refused, &running), ["Accepted", "AsExpected", "Running"]);
        assert_eq!(told(&running, &failing), ["!WorkerFailing"]);
        assert_eq!(told(&running, &suspended), ["Suspended"]);
        assert_eq!(told(&suspended, &running), ["NotSuspended", "Running"]);
    }
}
