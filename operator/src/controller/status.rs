//! What a resource says of itself after a pass.

use std::fmt::Debug;

use jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::{NamespaceResourceScope, object::HasStatus},
    runtime::events::{Event, EventType},
};
use naru_api::condition::{self, Condition, DEPENDENCIES_READY, Observed, READY, VALID, reason};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use snafu::ResultExt;

use super::{
    Context,
    error::{Error, error::KubernetesSnafu},
};

const FIELD_MANAGER: &str = "naru/status";
/// Longest message of a condition or an event, bytes. The API server allows an event's note 1024.
const LONGEST_MESSAGE: usize = 1000;

/// How far the applied children are from what was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    pub reason: &'static str,
    pub message: String,
}

/// The conditions that follow from how a pass ended. Pure.
pub fn conditions(
    before: &[Condition],
    outcome: Result<&Readiness, &Error>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let observed = match outcome {
        Ok(Readiness {
            ready,
            reason,
            message,
        }) => [
            Observed {
                condition_type: READY,
                holds: Some(*ready),
                reason,
                message: cut(message),
            },
            Observed::holds(VALID, reason::ACCEPTED, "the spec can work"),
            Observed::holds(
                DEPENDENCIES_READY,
                reason::ANSWERING,
                "all that the spec needs answers",
            ),
        ],
        Err(error) => {
            let message = cut(&error.sentence());
            let (valid, dependencies) = match error {
                Error::Invalid { .. } => (
                    Observed::fails(VALID, error.reason(), message.clone()),
                    Observed::unknown(
                        DEPENDENCIES_READY,
                        reason::NOT_CHECKED,
                        "not looked at while the spec is invalid",
                    ),
                ),
                Error::Dependency { reason, .. } => (
                    Observed::holds(VALID, reason::ACCEPTED, "the spec can work"),
                    Observed::fails(DEPENDENCIES_READY, reason, message.clone()),
                ),
                Error::Kubernetes { .. } => (
                    Observed::holds(VALID, reason::ACCEPTED, "the spec can work"),
                    Observed::unknown(
                        DEPENDENCIES_READY,
                        reason::NOT_CHECKED,
                        "the API server comes first",
                    ),
                ),
            };
            [
                Observed::fails(READY, error.reason(), message),
                valid,
                dependencies,
            ]
        }
    };
    condition::merge(before, &observed, generation, now)
}

/// Writes the status if it says anything new, and an event if readiness changed. An unchanged status is not
/// written: each write would wake the controller again.
pub async fn write<K>(context: &Context, object: &K, status: &K::Status) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + HasStatus,
    K::Status: Conditions + Debug + PartialEq + Serialize,
{
    if object.status() == Some(status) {
        return Ok(());
    }
    let name = object.name_any();
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": name },
        "status": status,
    });
    Api::<K>::namespaced(context.client.clone(), &object.namespace().unwrap_or_default())
        .patch_status(
            &name,
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(&body),
        )
        .await
        .with_context(|_| KubernetesSnafu {
            doing: format!("write the status of {} {name:?}", K::kind(&())),
        })?;
    let before = object.status().map(Conditions::conditions).unwrap_or_default();
    if let Some(event) = transition(before, status.conditions()) {
        // An event is a courtesy: the status has said it already.
        if let Err(error) = context.recorder.publish(&event, &object.object_ref(&())).await {
            tracing::warn!(%error, "failed to publish an event");
        }
    }
    Ok(())
}

/// A status that has conditions.
pub trait Conditions {
    fn conditions(&self) -> &[Condition];
}

macro_rules! has_conditions {
    ($($status:ty),*) => {$(
        impl Conditions for $status {
            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }
        }
    )*};
}
has_conditions!(
    naru_api::ScrapeJobStatus,
    naru_api::FilteredSumStatus,
    naru_api::SinkConnectorStatus
);

/// The event for a change of readiness or of its reason, if there was one. Pure.
fn transition(before: &[Condition], after: &[Condition]) -> Option<Event> {
    let ready = |conditions: &[Condition]| conditions.iter().find(|c| c.condition_type == READY).cloned();
    let now = ready(after)?;
    if ready(before).is_some_and(|old| old.status == now.status && old.reason == now.reason) {
        return None;
    }
    Some(Event {
        type_: if now.status == "True" || now.reason == reason::STARTING {
            EventType::Normal
        } else {
            EventType::Warning
        },
        reason: now.reason,
        note: Some(now.message),
        action: "Reconcile".to_owned(),
        secondary: None,
    })
}

/// The text, cut at a character boundary.
fn cut(text: &str) -> String {
    let end = (0..=text.len().min(LONGEST_MESSAGE))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(conditions: &[Condition], condition_type: &str) -> (String, String) {
        let found = conditions
            .iter()
            .find(|c| c.condition_type == condition_type)
            .unwrap();
        (found.status.clone(), found.reason.clone())
    }

    fn running() -> Readiness {
        Readiness {
            ready: true,
            reason: "Running",
            message: "1 of 1 workers ready".to_owned(),
        }
    }

    #[test]
    fn each_outcome_has_its_conditions() {
        let invalid = Error::invalid("field \"price\" ...");
        let silent = Error::dependency("KafkaUnreachable", "kafka at \"kafka:9092\" does not answer");
        let ready = running();
        type Case<'a> = (&'a str, Result<&'a Readiness, &'a Error>, [(&'a str, &'a str); 3]);
        let cases: [Case<'_>; 3] = [
            (
                "runs",
                Ok(&ready),
                [("True", "Running"), ("True", "Accepted"), ("True", "Answering")],
            ),
            (
                "invalid",
                Err(&invalid),
                [
                    ("False", "InvalidSpec"),
                    ("False", "InvalidSpec"),
                    ("Unknown", "NotChecked"),
                ],
            ),
            (
                "a silent dependency",
                Err(&silent),
                [
                    ("False", "KafkaUnreachable"),
                    ("True", "Accepted"),
                    ("False", "KafkaUnreachable"),
                ],
            ),
        ];
        for (case, outcome, expected) in cases {
            let conditions = conditions(&[], outcome, Some(1), Timestamp::UNIX_EPOCH);
            let found = [READY, VALID, DEPENDENCIES_READY].map(|t| status_of(&conditions, t));
            let found = found
                .each_ref()
                .map(|(status, reason)| (status.as_str(), reason.as_str()));
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn an_event_marks_a_change_and_only_a_change() {
        let one = conditions(&[], Ok(&running()), Some(1), Timestamp::UNIX_EPOCH);
        assert_eq!(
            transition(&[], &one).map(|e| e.reason),
            Some("Running".to_owned())
        );
        assert!(transition(&one, &one).is_none());
        let other = conditions(&one, Err(&Error::invalid("x")), Some(2), Timestamp::UNIX_EPOCH);
        assert!(matches!(
            transition(&one, &other).map(|e| e.type_),
            Some(EventType::Warning)
        ));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let text = "가".repeat(1000);
        assert!(cut(&text).len() <= LONGEST_MESSAGE);
        assert!(text.starts_with(&cut(&text)));
    }
}
