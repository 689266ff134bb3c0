//! What resources say of themselves: conditions and Events.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::events::v1::Event;
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use naru_api::{Condition, FilteredSum, ScrapeJob, SinkConnector};
use serde::de::DeserializeOwned;

use crate::cluster::eventually;

/// A kind of naru's.
pub trait Says: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned {
    fn conditions(&self) -> &[Condition];
    /// The generation of the spec that its status speaks of.
    fn observed(&self) -> Option<i64>;
}

macro_rules! says {
    ($($kind:ty),*) => {$(
        impl Says for $kind {
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }

            fn observed(&self) -> Option<i64> {
                self.status.as_ref().and_then(|status| status.observed_generation)
            }
        }
    )*};
}
says!(ScrapeJob, FilteredSum, SinkConnector);

/// What a condition is to be.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub condition: &'a str,
    pub status: &'a str,
    /// Any, if it is empty.
    pub reason: &'a str,
    /// A part of the message.
    pub text: &'a str,
}

/// It is true for this reason.
pub fn holds<'a>(condition: &'a str, reason: &'a str) -> Expected<'a> {
    Expected {
        condition,
        status: "True",
        reason,
        text: "",
    }
}

/// It is false for this reason.
pub fn fails<'a>(condition: &'a str, reason: &'a str) -> Expected<'a> {
    Expected {
        status: "False",
        ..holds(condition, reason)
    }
}

impl<'a> Expected<'a> {
    /// Its message has this text in it.
    pub fn saying(self, text: &'a str) -> Self {
        Self { text, ..self }
    }
}

/// Waits until a resource says this of its spec as it is now. Returns the condition.
pub async fn says<K: Says>(api: &Api<K>, name: &str, within: Duration, expected: Expected<'_>) -> Condition {
    eventually(&format!("{name}: {expected:?}"), within, || async {
        let object = api.get(name).await.map_err(|e| e.to_string())?;
        let mut conditions = object.conditions().iter();
        let found = conditions.find(|found| found.condition_type == expected.condition);
        match found {
            Some(found)
                if found.status == expected.status
                    && (expected.reason.is_empty() || found.reason == expected.reason)
                    && found.message.contains(expected.text)
                    && found.observed_generation == object.meta().generation =>
            {
                Ok(found.clone())
            }
            other => Err(format!(
                "generation {:?}: {other:?}",
                object.meta().generation.unwrap_or_default()
            )),
        }
    })
    .await
}

/// The notes of the Events with this reason about the resource of this name.
pub async fn events(
    client: &Client,
    namespace: &str,
    name: &str,
    reason: &str,
) -> Result<Vec<String>, String> {
    let events = Api::<Event>::namespaced(client.clone(), namespace);
    let all = events.list(&ListParams::default()).await;
    let all = all.map_err(|e| e.to_string())?;
    let about = all.into_iter().filter(|event| {
        let regarding = event.regarding.as_ref();
        event.reason.as_deref() == Some(reason)
            && regarding.is_some_and(|regarding| regarding.name.as_deref() == Some(name))
    });
    Ok(about.filter_map(|event| event.note).collect())
}

/// Waits for an Event with this reason about a resource, with all these texts in its note. Returns the note.
pub async fn told(
    client: &Client,
    (namespace, name): (&str, &str),
    within: Duration,
    reason: &str,
    texts: &[&str],
) -> String {
    eventually(
        &format!("{name}: an Event {reason} with {texts:?}"),
        within,
        || async {
            let notes = events(client, namespace, name, reason).await?;
            let mut fitting = notes
                .iter()
                .filter(|note| texts.iter().all(|text| note.contains(text)));
            fitting.next().cloned().ok_or_else(|| format!("{notes:?}"))
        },
    )
    .await
}

/// The version of a resource, which changes with each write.
pub async fn version<K: Says>(api: &Api<K>, name: &str) -> Result<String, String> {
    let object = api.get(name).await.map_err(|e| e.to_string())?;
    Ok(object.resource_version().unwrap_or_default())
}
