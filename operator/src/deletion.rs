//! The end of a resource: what lies outside Kubernetes goes before the resource does. A finalizer holds the resource
//! until then, and not for ever: a namespace must be deletable although Kafka or Connect is gone for good.

mod workers;

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
    runtime::{controller::Action, events::EventType},
};
use naru_api::{FORCE_DELETE_ANNOTATION, GROUP, condition::reason};
use serde::de::DeserializeOwned;
use serde_json::json;

pub use self::workers::{Outside, begin};
use crate::controller::{Context, Error, error::within, events::tell, report};

/// How long a deletion waits for what does not let itself be deleted. With the controller's backoff that is about ten
/// tries.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest time of one try.
const TRY: Duration = Duration::from_secs(25);

/// How far the end of a resource is.
#[derive(Debug)]
pub enum Ending {
    /// Nothing of ours holds the resource any more.
    Gone,
    /// It is tried again.
    Waits(Error),
}

/// What is said when something is left behind.
#[derive(Clone, Debug)]
pub struct LeftBehind {
    pub reason: &'static str,
    /// What may still be there, and what a person may do about it.
    pub what: String,
}

/// Sees to it that our finalizer is there, or is not. Returns without a request where it is so already.
pub async fn hold<K>(context: &Context, object: &K, finalizer: &str, wanted: bool) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let others = object.finalizers().iter().filter(|found| *found != finalizer);
    let mut finalizers: Vec<&str> = others.map(String::as_str).collect();
    if wanted == (finalizers.len() < object.finalizers().len()) {
        return Ok(());
    }
    if wanted {
        finalizers.push(finalizer);
    }
    // The version refuses the write if somebody else has written meanwhile: their finalizer must not be lost.
    let version = object.resource_version();
    let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": version } });
    let name = object.name_any();
    let api = Api::<K>::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let patched = within(api.patch(&name, &parameters, &patch), || {
        format!("write the finalizer of {} {name:?}", K::kind(&()))
    });
    match patched.await {
        Err(Error::Kubernetes {
            source: kube::Error::Api(status),
            ..
        }) if !wanted && status.is_not_found() => Ok(()),
        patched => patched.map(drop),
    }
}

/// Ends a resource that is being deleted. `clean_up` must be safe to repeat.
pub async fn end<K>(
    context: &Context,
    kind: &'static str,
    object: &K,
    finalizer: &str,
    clean_up: impl Future<Output = Result<(), Error>>,
    left: LeftBehind,
) -> Result<Ending, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    if !object.finalizers().iter().any(|found| found == finalizer) {
        return Ok(Ending::Gone);
    }
    let cleaned = tokio::time::timeout(TRY, clean_up).await.unwrap_or_else(|_| {
        let message = format!("what lies outside Kubernetes is not deleted after {TRY:?}");
        Err(Error::dependency(reason::DELETING, message))
    });
    if let Err(error) = cleaned {
        let deleted = object.meta().deletion_timestamp.as_ref().map(|time| time.0);
        let waited = deleted.and_then(|deleted| Timestamp::now().duration_since(deleted).try_into().ok());
        let (key, version) = (report::key(kind, object), report::version(object));
        let tried = context.failures.failing_for(&key, &version, Instant::now());
        let is_patient = matches!(error, Error::Busy { .. }) || !out_of_patience(waited, tried);
        if is_patient && !is_forced(object) {
            return Ok(Ending::Waits(error));
        }
        leave_behind(context, kind, object, &left, &error).await;
    }
    hold(context, object, finalizer, false).await?;
    context.failures.clear(&report::key(kind, object));
    Ok(Ending::Gone)
}

/// A pass over a resource that cannot be read, such as one that another version of naru has written. Nobody knows what it
/// has outside Kubernetes; but its namespace must be deletable. Returns `error` unless it is being deleted.
pub async fn end_unreadable<K>(
    context: &Context,
    kind: &'static str,
    object: &K,
    error: Error,
) -> Result<Action, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let mut finalizers = object.finalizers().iter();
    let Some(finalizer) = finalizers.find(|finalizer| is_ours(finalizer)) else {
        return Err(error);
    };
    if object.meta().deletion_timestamp.is_none() {
        return Err(error);
    }
    let left = LeftBehind {
        reason: if finalizer == workers::FINALIZER {
            reason::TOPICS_LEFT_BEHIND
        } else {
            reason::CONNECTOR_LEFT_BEHIND
        },
        what: format!("gave up deleting what this {kind} has outside Kubernetes, in Kafka or Kafka Connect"),
    };
    // Not as an error of the spec, which would wait for an edit.
    let unread = async { Err(Error::dependency(reason::DELETING, error.sentence())) };
    match end(context, kind, object, finalizer, unread, left).await? {
        Ending::Gone => Ok(Action::await_change()),
        Ending::Waits(error) => Err(error),
    }
}

/// Whether it is a finalizer of naru's, of whichever version. Pure.
fn is_ours(finalizer: &str) -> bool {
    let domain = finalizer.split('/').next().unwrap_or_default();
    domain == GROUP || domain.strip_suffix(GROUP).is_some_and(|kind| kind.ends_with('.'))
}

/// Whether somebody has said that the deletion must not wait. Pure.
fn is_forced<K: Resource>(object: &K) -> bool {
    let value = object.annotations().get(FORCE_DELETE_ANNOTATION);
    value.is_some_and(|value| value == "true")
}

/// Whether a deletion has waited and was tried for long enough: an operator that was away begins with the first try.
/// Pure.
fn out_of_patience(waited: Option<Duration>, tried: Option<Duration>) -> bool {
    [waited, tried]
        .iter()
        .all(|time| time.is_some_and(|time| time > PATIENCE))
}

/// People are told what they may have to delete. In the log too: in a namespace that is being deleted nobody may
/// create an Event.
async fn leave_behind<K: Resource<DynamicType = ()>>(
    context: &Context,
    kind: &'static str,
    object: &K,
    LeftBehind { reason, what }: &LeftBehind,
    error: &Error,
) {
    let error = error.sentence();
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    tracing::warn!(kind, %namespace, %name, what, error, "left something behind");
    let note = format!("{what}: {error}");
    tell(context, object, EventType::Warning, reason, "Delete", note).await;
}

/// For tests: the end of this resource was tried in vain for longer than anybody waits.
#[cfg(test)]
pub(crate) fn tried_for_long<K: Resource<DynamicType = ()>>(
    context: &Context,
    kind: &'static str,
    object: &K,
) {
    let first = Instant::now() - PATIENCE - Duration::from_secs(1);
    let (key, version) = (report::key(kind, object), report::version(object));
    context.failures.failed(key, version, first);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;
    use k8s_openapi::api::core::v1::ConfigMap;
    use naru_api::FilteredSum;

    use super::*;
    use crate::{
        controller::{Guarded, fake::Memory},
        settings::Settings,
    };

    const SUM: &str = "/apis/naru.dev/v1alpha1/namespaces/shop/filteredsums/sales";

    /// An API server that stores a FilteredSum, and a context.
    fn world(sum: serde_json::Value) -> (Arc<Context>, Memory) {
        let (context, server) = Context::test(Settings::parse_from(["naru-operator", "--worker-image", "w"]));
        let api = Memory::serve(server);
        api.world(|world| world.objects.insert(SUM.to_owned(), sum));
        (Arc::new(context), api)
    }

    #[tokio::test]
    async fn a_resource_that_cannot_be_read_goes_after_minutes_or_by_force() {
        let unreadable = json!({
            "apiVersion": "naru.dev/v1alpha1", "kind": "FilteredSum", "spec": 5,
            "metadata": { "name": "sales", "namespace": "shop", "uid": "0001", "generation": 2, "resourceVersion": "1",
                "finalizers": ["other", "naru.dev/topics"] },
        });
        let (context, api) = world(unreadable);
        let pass = async || {
            let object: Guarded<FilteredSum> = api.object(SUM);
            assert!(object.0.is_err());
            let error = Error::invalid("the stored object cannot be read");
            let ended = end_unreadable(&context, "FilteredSum", &object, error).await;
            (object, ended.map_err(|error| error.reason()), api.requests())
        };
        let (_, ended, requests) = pass().await;
        assert_eq!((ended.unwrap_err(), requests), (reason::INVALID_SPEC, vec![]));

        let edit = |edit: fn(&mut serde_json::Value)| drop(api.edit::<Guarded<FilteredSum>>(SUM, edit));
        edit(|sum| sum["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into());
        let (object, ended, requests) = pass().await;
        // Which is tried again.
        assert_eq!((ended.unwrap_err(), requests), (reason::DELETING, vec![]));

        tried_for_long(&context, "FilteredSum", &object);
        for _ in 0..2 {
            let (_, ended, requests) = pass().await;
            assert!(ended.is_ok());
            assert_eq!(requests, ["PATCH filteredsums/sales"]);
            assert_eq!(api.events(), ["TopicsLeftBehind"]);
            let left: Guarded<FilteredSum> = api.object(SUM);
            assert_eq!(left.finalizers(), ["other"]);
            // The same by force.
            edit(|sum| {
                sum["metadata"]["finalizers"] = json!(["other", "naru.dev/topics"]);
                sum["metadata"]["annotations"] = json!({ FORCE_DELETE_ANNOTATION: "true" });
            });
        }
    }

    #[test]
    fn finalizers_of_any_version_of_naru_are_ours() {
        for finalizer in ["naru.dev/topics", "sinkconnectors.naru.dev/connector"] {
            assert!(is_ours(finalizer), "{finalizer}");
        }
        for finalizer in ["kubernetes", "notnaru.dev/topics", "example.org/naru.dev"] {
            assert!(!is_ours(finalizer), "{finalizer}");
        }
    }

    #[test]
    fn a_deletion_is_patient_for_five_minutes_of_tries() {
        let (short, long) = (Duration::from_secs(299), Duration::from_secs(301));
        assert!(out_of_patience(Some(long), Some(long)));
        for (waited, tried) in [(long, Some(short)), (short, Some(long)), (long, None)] {
            assert!(!out_of_patience(Some(waited), tried), "{waited:?} {tried:?}");
        }
        assert!(!out_of_patience(None, Some(long)));
    }

    #[test]
    fn only_the_annotation_true_forces_a_deletion() {
        let of = |value: Option<&str>| {
            let mut job = ConfigMap::default();
            let annotation = |value: &str| (FORCE_DELETE_ANNOTATION.to_owned(), value.to_owned());
            job.metadata.annotations = value.map(|value| [annotation(value)].into());
            is_forced(&job)
        };
        assert!(of(Some("true")));
        assert!(!of(Some("false")) && !of(None));
    }
}
