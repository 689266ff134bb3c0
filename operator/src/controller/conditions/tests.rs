//! The conditions of each outcome, and what is told of their changes.

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
        suspension: Suspension::of(suspended),
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
            format!("Ready=False/Starting {fine} Progressing=True/Starting Degraded=False/AsExpected {on}"),
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
            format!("Ready=False/Suspended {bad} {settled} Degraded=False/AsExpected Paused=True/Suspended"),
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
fn a_suspension_that_ends_while_connect_is_silent_is_told_by_what_is_in_the_way() {
    let silent = Error::dependency(reason::CONNECT_UNREACHABLE, "connect does not answer");
    let suspended = after(
        &[],
        Ok(()),
        true,
        &Health::ready(reason::RUNNING, "tasks 1 of 1 running"),
    );
    let ending = |outcome, health| {
        let ended = Ended {
            outcome,
            read: true,
            deleting: false,
            suspension: Suspension::Ending,
            health,
        };
        conditions(&suspended, &ended, Some(2), Timestamp::UNIX_EPOCH)
    };
    let stuck = ending(Err(&silent), Health::unseen(true));
    assert_eq!(
        words(&stuck),
        "Ready=False/ConnectUnreachable Valid=True/Accepted DependenciesReady=False/ConnectUnreachable Progressing=False/Settled Degraded=True/LastKnownGood Paused=True/Resuming"
    );
    assert!(
        stuck[4].message.starts_with("what was paused stays so"),
        "{}",
        stuck[4].message
    );
    assert_eq!(told(&suspended, &stuck), ["!ConnectUnreachable", "Resuming"]);
    let goes_on = ending(
        Ok(()),
        Health::progressing(reason::STARTING, "the connector is about to go on"),
    );
    assert_eq!(
        words(&goes_on),
        "Ready=False/Starting Valid=True/Accepted DependenciesReady=True/Answering Progressing=True/Starting Degraded=False/AsExpected Paused=True/Resuming"
    );
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
            suspension: Suspension::of(suspended),
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
            suspension: Suspension::Over,
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
