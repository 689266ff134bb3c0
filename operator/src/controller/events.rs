//! Events: what is told of a resource beside its conditions.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event as Stored, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
    runtime::events::{Event, EventType},
};
use serde_json::json;

use super::{Context, error::within, message::message};

/// Who publishes.
const CONTROLLER: &str = "naru-operator";
/// What is told again so soon is counted, and no Event of its own.
const SERIES: SignedDuration = SignedDuration::from_mins(6);
/// Most Events that are remembered.
const MOST: usize = 1024;

/// Publishes Events. Unlike kube's own recorder it takes two Events with different notes for two: what was repaired or
/// scaled is what people want to know.
pub struct Recorder {
    client: Client,
    /// By a hash of all that the Event says.
    told: Mutex<HashMap<u64, Told>>,
    hasher: RandomState,
}

#[derive(Clone, Debug)]
struct Told {
    /// Name of the Event.
    name: String,
    times: i32,
    last: Timestamp,
}

impl Recorder {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            told: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Publishes an Event. It is a courtesy, and what it tells has been done already: that it could not be published is
    /// only logged.
    pub async fn publish(&self, event: &Event, regarding: &ObjectReference) {
        let publishing = self.write(event, regarding);
        if let Err(error) = within(publishing, || "publish an event".to_owned()).await {
            let (error, reason) = (error.sentence(), &event.reason);
            tracing::warn!(error, reason, "failed to publish an event");
        }
    }

    async fn write(&self, event: &Event, regarding: &ObjectReference) -> kube::Result<()> {
        let now = Timestamp::now();
        let note = event.note.as_deref().map(message);
        let ObjectReference {
            uid, namespace, name, ..
        } = regarding;
        let says = (event.type_, &event.reason, &event.action, &note);
        let key = self.hasher.hash_one((uid, namespace, name, says));
        let api = Api::<Stored>::namespaced(self.client.clone(), namespace.as_deref().unwrap_or("default"));
        if let Some(told) = self.again(key, now) {
            let series = EventSeries {
                count: told.times,
                last_observed_time: MicroTime(now),
            };
            // The reason is as it was, and makes the request tell what it is about.
            let patch = Patch::Merge(json!({ "reason": event.reason, "series": series }));
            match api.patch(&told.name, &PatchParams::default(), &patch).await {
                // Somebody has deleted it.
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                patched => return patched.map(drop),
            }
        }
        let name = format!(
            "{}.{:x}",
            name.as_deref().unwrap_or(CONTROLLER),
            now.as_nanosecond()
        );
        let stored = Stored {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: namespace.clone(),
                ..ObjectMeta::default()
            },
            type_: Some(
                match event.type_ {
                    EventType::Normal => "Normal",
                    EventType::Warning => "Warning",
                }
                .to_owned(),
            ),
            reason: Some(event.reason.clone()),
            action: Some(event.action.clone()),
            note,
            regarding: Some(regarding.clone()),
            event_time: Some(MicroTime(now)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(CONTROLLER.to_owned()),
            ..Stored::default()
        };
        api.create(&PostParams::default(), &stored).await?;
        self.remember(key, name, now);
        Ok(())
    }

    /// Counts what was told a moment ago.
    fn again(&self, key: u64, now: Timestamp) -> Option<Told> {
        let mut told = self.told();
        told.retain(|_, told| now.duration_since(told.last) < SERIES);
        let told = told.get_mut(&key)?;
        told.times = told.times.saturating_add(1);
        told.last = now;
        Some(told.clone())
    }

    fn remember(&self, key: u64, name: String, now: Timestamp) {
        let mut told = self.told();
        if told.len() >= MOST {
            let oldest = told.iter().min_by_key(|(_, told)| told.last);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.and_then(|oldest| told.remove(&oldest));
        }
        let first = Told {
            name,
            times: 1,
            last: now,
        };
        told.insert(key, first);
    }

    fn told(&self) -> MutexGuard<'_, HashMap<u64, Told>> {
        // A panic elsewhere cannot leave a half-made entry behind.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells of a resource.
pub async fn tell<K: Resource<DynamicType = ()>>(
    context: &Context,
    object: &K,
    type_: EventType,
    reason: &'static str,
    action: &'static str,
    note: String,
) {
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: action.to_owned(),
        secondary: None,
    };
    context.recorder.publish(&event, &object.object_ref(&())).await;
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;
    use crate::{controller::fake::Memory, settings::Settings};

    fn context() -> (Context, Memory) {
        let (context, server) = Context::test(Settings::parse_from(["naru-operator", "--worker-image", "w"]));
        (context, Memory::serve(server))
    }

    fn object() -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("items".to_owned());
        object.metadata.namespace = Some("shop".to_owned());
        object
    }

    #[tokio::test]
    async fn another_note_is_another_event_and_the_same_one_is_counted() {
        let (context, api) = context();
        for note in ["from 1 to 2", "from 2 to 3", "from 1 to 2", "from 1 to 2"] {
            let (type_, note) = (EventType::Normal, note.to_owned());
            tell(&context, &object(), type_, "ScaledOut", "Scale", note).await;
        }
        let events = api.world(|world| std::mem::take(&mut world.events));
        let says: Vec<_> = events
            .iter()
            .map(|event| (event["note"].as_str(), event["series"]["count"].as_i64()))
            .collect();
        let expected = [
            (Some("from 1 to 2"), None),
            (Some("from 2 to 3"), None),
            (None, Some(2)),
            (None, Some(3)),
        ];
        assert_eq!(says, expected);
    }

    #[tokio::test]
    async fn a_long_note_keeps_what_is_to_be_done() {
        let (context, api) = context();
        let note = format!(
            "gave up deleting topics {:?}; delete them there",
            vec!["t".repeat(249); 3]
        );
        let type_ = EventType::Warning;
        tell(
            &context,
            &object(),
            type_,
            "TopicsLeftBehind",
            "Delete",
            note.clone(),
        )
        .await;
        let events = api.world(|world| std::mem::take(&mut world.events));
        assert_eq!(events[0]["note"], note);
    }

    #[tokio::test]
    async fn few_events_are_remembered_and_none_for_long() {
        let (context, _api) = context();
        let (recorder, now) = (&context.recorder, Timestamp::now());
        let after = |seconds| now + SignedDuration::from_secs(seconds);
        for key in 0..=MOST as u64 {
            recorder.remember(key, "items.1".to_owned(), after(i64::from(key > 0)));
        }
        assert_eq!(recorder.told().len(), MOST);
        assert!(recorder.again(0, after(1)).is_none());
        assert_eq!(recorder.again(1, after(2)).map(|told| told.times), Some(2));
        assert!(recorder.again(2, after(1) + SERIES).is_none());
        assert_eq!(recorder.told().len(), 1);
    }
}
