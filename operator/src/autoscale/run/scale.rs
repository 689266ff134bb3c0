//! Sees and changes the replicas of a Deployment.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v1::{Scale, ScaleSpec},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams},
    runtime::events::{Event, EventType},
};
use naru_api::condition::reason;
use snafu::Snafu;
use tokio::time::timeout;

use super::Target;
use crate::{
    autoscale::{Decision, History, Look, Mode, decide},
    controller::Context,
    metrics::Object,
    worker,
};

/// Owns the replicas of what it has scaled.
pub(super) const FIELD_MANAGER: &str = "naru/autoscaler";
/// Deadline of one request.
const DEADLINE: Duration = Duration::from_secs(10);

/// The replicas of the target's Deployment, as the watch has it. None if there is no such Deployment.
pub(super) fn workers(context: &Context, target: &Target) -> Option<worker::Scaled> {
    let deployments = &context.live.deployments;
    deployments.glance(&target.object.namespace, &target.deployment)
}

/// What was decided, and what came of it.
#[derive(Debug)]
pub(super) struct Scaled {
    pub(super) decision: Decision,
    /// How many replicas there are to be now, if they were changed.
    pub(super) done: Result<Option<i32>, Refusal>,
}

/// Decides, and changes the replicas if so decided.
pub(super) async fn scale(context: &Context, target: &Target, history: &mut History, look: &Look) -> Scaled {
    history.remember(&target.policy, look);
    let decision = decide(&target.policy, history, look, Timestamp::now());
    let figures = decision.figures.as_ref();
    context.metrics.scaling.rates(
        &target.object,
        figures.map(|figures| figures.arrival),
        figures.and_then(|figures| figures.capacity),
    );
    let done = carry_out(context, target, history, look, &decision).await;
    Scaled { decision, done }
}

async fn carry_out(
    context: &Context,
    target: &Target,
    history: &mut History,
    look: &Look,
    decision: &Decision,
) -> Result<Option<i32>, Refusal> {
    let replicas = look.replicas;
    let Target {
        object, deployment, ..
    } = target;
    let Object {
        kind,
        namespace,
        name,
    } = object;
    let metrics = &context.metrics.scaling;
    let reason = decision.to_string();
    match decision.scale_to() {
        None => {
            let desired = match target.policy.mode {
                Mode::Disabled => None,
                Mode::Auto | Mode::Recommend => Some(decision.target().unwrap_or(replicas)),
            };
            metrics.held(object, replicas, desired);
            tracing::debug!(kind, %namespace, %name, replicas, desired, reason, "holding");
            Ok(None)
        }
        Some(to) => {
            let scale = Scale {
                metadata: ObjectMeta {
                    name: Some(deployment.clone()),
                    namespace: Some(namespace.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(ScaleSpec { replicas: Some(to) }),
                status: None,
            };
            let (parameters, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(&scale));
            let deployments = deployments(&context.client, target);
            let patched = within(deployments.patch_scale(deployment, &parameters, &patch)).await;
            patched.map_err(|problem| problem.doing(format!("scale Deployment {deployment:?}")))?;
            history.changed(look.at, replicas, to);
            metrics.scaled(object, replicas, to);
            tracing::info!(kind, %namespace, %name, from = replicas, to, reason, "scaled");
            publish(context, target, replicas, to, reason).await;
            Ok(Some(to))
        }
    }
}

async fn publish(context: &Context, target: &Target, from: i32, to: i32, reason: String) {
    let event = Event {
        type_: EventType::Normal,
        reason: if to > from {
            reason::SCALED_OUT
        } else {
            reason::SCALED_IN
        }
        .to_owned(),
        note: Some(format!("{:?} from {from} to {to}: {reason}", target.deployment)),
        action: "Scale".to_owned(),
        secondary: None,
    };
    send(context, target, &event).await;
}

/// An event is a courtesy: what it tells has been done already.
pub(super) async fn send(context: &Context, target: &Target, event: &Event) {
    context.recorder.publish(event, &target.reference).await;
}

fn deployments(client: &Client, target: &Target) -> Api<Deployment> {
    Api::namespaced(client.clone(), &target.object.namespace)
}

/// What the API server did not do, as a sentence. The same refusal has the same words: no resource version and no number
/// that changes is in it.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
#[snafu(display("failed to {doing}: {cause}"))]
pub(super) struct Refusal {
    doing: String,
    cause: String,
}

pub(super) enum Problem {
    Api(kube::Error),
    Silence,
}

impl Problem {
    pub(super) fn doing(&self, doing: impl Into<String>) -> Refusal {
        let cause = match self {
            Self::Api(kube::Error::Api(status)) => {
                let status = &**status;
                format!("{} (status {})", status.reason, status.code)
            }
            Self::Api(error) => {
                tracing::debug!(%error, "request to the API server");
                "the API server cannot be asked".to_owned()
            }
            Self::Silence => format!("no answer for {} s", DEADLINE.as_secs()),
        };
        let doing = doing.into();
        Refusal { doing, cause }
    }
}

pub(super) async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Problem> {
    match timeout(DEADLINE, request).await {
        Ok(answer) => answer.map_err(Problem::Api),
        Err(_) => Err(Problem::Silence),
    }
}
