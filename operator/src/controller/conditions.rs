//! The conditions that follow from what a pass found, and the events that follow from a change of conditions. Pure.

#[cfg(test)]
mod tests;

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

/// Whether `spec.suspend` keeps what was declared from running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspension {
    /// It is not set.
    Over,
    /// It is not set any more, and what was paused for it has not been seen to go on.
    Ending,
    /// It is set.
    On,
}

impl Suspension {
    pub fn of(suspend: bool) -> Self {
        if suspend { Self::On } else { Self::Over }
    }
}

/// How a pass ended.
#[derive(Clone, Debug)]
pub struct Ended<'a> {
    pub outcome: Result<(), &'a Error>,
    /// The spec was looked at. Nobody does before it is known that the resource is to stay.
    pub read: bool,
    pub deleting: bool,
    pub suspension: Suspension,
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
        suspension,
        health,
        ..
    }: &Ended<'_>,
) -> Observed {
    match outcome {
        _ if *suspension == Suspension::On && !deleting => Observed::fails(
            READY,
            reason::SUSPENDED,
            "spec.suspend is set: nothing runs until it goes",
        ),
        // What was declared runs, whatever is silent at the moment.
        Ok(())
        | Err(
            Error::Incompatible { .. }
            | Error::Dependency { .. }
            | Error::Busy { .. }
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
    let accepted = Observed::holds(VALID, reason::ACCEPTED, "the spec can work");
    if ended.read {
        return accepted;
    }
    let known = before.iter().find(|condition| condition.condition_type == VALID);
    let reason_and_message = known.map(|known| (known.reason.as_str(), known.message.clone()));
    match reason_and_message {
        Some((reason::ACCEPTED, _)) => accepted,
        Some((reason::INVALID_SPEC, message)) => Observed::fails(VALID, reason::INVALID_SPEC, message),
        Some((reason::SCHEMA_INCOMPATIBLE, message)) => {
            Observed::fails(VALID, reason::SCHEMA_INCOMPATIBLE, message)
        }
        _ => Observed::unknown(VALID, reason::NOT_CHECKED, "the spec was not looked at"),
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
        Err(Error::Busy { .. }) => unknown("not looked at yet"),
        Err(Error::Kubernetes { .. } | Error::Silent { .. }) => unknown("the API server comes first"),
        Ok(()) if ended.suspension == Suspension::On => unknown("not looked at while spec.suspend is set"),
        Ok(()) => Observed::holds(
            DEPENDENCIES_READY,
            reason::ANSWERING,
            "all that the spec needs answers",
        ),
    }
}

fn progressing(ended: &Ended<'_>) -> Observed {
    match &ended.health.progressing {
        Some(why) if ended.suspension != Suspension::On => {
            Observed::holds(PROGRESSING, why.reason, why.message.clone())
        }
        _ => Observed::fails(PROGRESSING, reason::SETTLED, "nothing is under way"),
    }
}

fn degraded(
    Ended {
        outcome,
        deleting,
        suspension,
        health,
        ..
    }: &Ended<'_>,
) -> Observed {
    let well = |message| Observed::fails(DEGRADED, reason::AS_EXPECTED, message);
    match (&health.degraded, outcome, health.there) {
        _ if *deleting => Observed::unknown(DEGRADED, reason::DELETING, "the resource is being deleted"),
        _ if *suspension == Suspension::On => well("nothing is to run"),
        (Some(why), _, _) => Observed::holds(DEGRADED, why.reason, why.message.clone()),
        (None, Err(error), There::Before) => Observed::holds(
            DEGRADED,
            reason::LAST_KNOWN_GOOD,
            format!(
                "{}, and the spec as it is now is not applied: {}",
                match suspension {
                    Suspension::Ending => "what was paused stays so",
                    Suspension::Over | Suspension::On => "what ran before goes on",
                },
                error.sentence()
            ),
        ),
        (None, _, There::Nothing) => Observed::unknown(DEGRADED, reason::NOT_CHECKED, "nothing is there yet"),
        (None, _, _) => well("all that runs does so as declared"),
    }
}

fn paused(ended: &Ended<'_>) -> Observed {
    match ended.suspension {
        Suspension::On => Observed::holds(PAUSED, reason::SUSPENDED, "spec.suspend is set"),
        Suspension::Ending => Observed::holds(
            PAUSED,
            reason::RESUMING,
            "spec.suspend is not set any more, and what was paused for it has not been seen to go on yet",
        ),
        Suspension::Over => Observed::fails(PAUSED, reason::NOT_SUSPENDED, "spec.suspend is not set"),
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
