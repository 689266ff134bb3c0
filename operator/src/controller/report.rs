//! What comes of each pass: a log line, a count, and when the resource is looked at again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{Resource, ResourceExt, runtime::controller::Action};

use super::{
    Context, Error,
    backoff::{Key, Version},
};

/// Next try where something is busy.
const SOON: Duration = Duration::from_secs(1);

/// The key of a resource in [`super::backoff::Failures`].
pub fn key<K: Resource<DynamicType = ()>>(kind: &'static str, object: &K) -> Key {
    (kind, object.namespace().unwrap_or_default(), object.name_any())
}

/// Its version there.
pub fn version<K: Resource>(object: &K) -> Version {
    (object.uid(), object.meta().generation)
}

/// After a pass that went through: failures are forgotten, the next look is after about `after`.
pub fn succeeded<K: Resource<DynamicType = ()>>(
    context: &Context,
    kind: &'static str,
    object: &K,
    after: Duration,
) -> Action {
    context.failures.clear(&key(kind, object));
    // Spread, so that resources created together are not looked at together for ever.
    Action::requeue(after.mul_f64(rand::random_range(0.9..1.1)))
}

/// kube's error policy: an invalid spec waits for an edit, all else is tried again with backoff.
pub fn failed<K: Resource<DynamicType = ()>>(
    kind: &'static str,
) -> impl Fn(Arc<K>, &Error, Arc<Context>) -> Action {
    move |object, error, context| {
        let key = key(kind, &*object);
        let version = version(&*object);
        let (namespace, name) = (&key.1, &key.2);
        match error {
            Error::Invalid { message } => {
                tracing::warn!(kind, %namespace, %name, message, "refused a spec");
                context.failures.clear(&key);
                Action::await_change()
            }
            Error::Busy { message } => {
                tracing::debug!(kind, %namespace, %name, message, "waits for its turn");
                Action::requeue(SOON.mul_f64(rand::random_range(0.75..1.25)))
            }
            Error::Incompatible { .. }
            | Error::Dependency { .. }
            | Error::Kubernetes { .. }
            | Error::Silent { .. } => {
                let error = error.sentence();
                let (failures, delay) = context.failures.failed(key.clone(), version, Instant::now());
                tracing::warn!(kind, %namespace, %name, error, failures, "failed to reconcile");
                Action::requeue(delay)
            }
        }
    }
}
