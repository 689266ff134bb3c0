//! The Kubernetes objects of one worker. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
            HTTPGetAction, KeyToPath, LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec,
            PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecurityContext,
            TopologySpreadConstraint, Volume, VolumeMount,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        api::resource::Quantity, apis::meta::v1::LabelSelector, apis::meta::v1::ObjectMeta,
        util::intstr::IntOrString,
    },
};

use super::{Declared, Parent, Worker};
use crate::settings::Settings;

/// Key of the document in its ConfigMap, and name of the file.
pub(super) const CONFIG_FILE: &str = "config.json";
const CONFIG_FOLDER: &str = "/etc/naru";
const PORT: i32 = 8080;
/// Longer than a worker needs to finish its transaction and leave its group.
const GRACE_SECONDS: i64 = 30;

/// The Deployment of a worker with this pod template.
pub(super) fn deployment(
    declared: &Declared<'_>,
    worker: &Worker<'_>,
    template: PodTemplateSpec,
) -> Deployment {
    let deadline = declared.rollout.progress_deadline.as_millis() / 1000;
    let deadline = deadline.saturating_add(worker.patience.as_secs());
    Deployment {
        metadata: declared.parent.metadata(worker.name.clone(), worker.component),
        spec: Some(DeploymentSpec {
            replicas: worker.replicas,
            selector: LabelSelector {
                match_labels: Some(selector(declared.parent, worker.component)),
                ..LabelSelector::default()
            },
            // A pod more would be a member more of the group, and a rebalance more.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(0)),
                    max_unavailable: Some(IntOrString::Int(1)),
                }),
            }),
            min_ready_seconds: Some(super::rollout::proof_seconds(declared.rollout)),
            progress_deadline_seconds: Some(i32::try_from(deadline).unwrap_or(i32::MAX)),
            revision_history_limit: Some(3),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// Lets one pod of a worker after the other go when nodes are drained. All at once would stop the work, and each pod that
/// comes back is a rebalance.
pub(super) fn budget(declared: &Declared<'_>, worker: &Worker<'_>) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: declared.parent.metadata(worker.name.clone(), worker.component),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(selector(declared.parent, worker.component)),
                ..LabelSelector::default()
            }),
            // What does not work is in nobody's way.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

/// The pod template of a worker that reads this ConfigMap.
pub(super) fn template(
    settings: &Settings,
    parent: &Parent,
    worker: &Worker<'_>,
    config_map: &str,
) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: parent.metadata(String::new(), worker.component).labels,
            ..ObjectMeta::default()
        }),
        spec: Some(pod(settings, parent, worker, config_map)),
    }
}

/// Labels that tell the worker's pods from all others. They can never change: a Deployment's selector is immutable.
pub(super) fn selector(parent: &Parent, component: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "naru-worker".to_owned()),
        ("app.kubernetes.io/instance".to_owned(), parent.name.clone()),
        ("app.kubernetes.io/component".to_owned(), component.to_owned()),
    ])
}

fn pod(settings: &Settings, parent: &Parent, worker: &Worker<'_>, config_map: &str) -> PodSpec {
    PodSpec {
        topology_spread_constraints: worker.replicas.is_none().then(|| vec![spread(parent, worker)]),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(65532),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        image_pull_secrets: Some(pull_secrets(settings)).filter(|secrets| !secrets.is_empty()),
        containers: vec![container(settings, worker)],
        volumes: Some(vec![Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: config_map.to_owned(),
                // What else the ConfigMap holds is not the workers' business.
                items: Some(vec![KeyToPath {
                    key: CONFIG_FILE.to_owned(),
                    path: CONFIG_FILE.to_owned(),
                    mode: None,
                }]),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

/// Where there are several nodes, the end of one is not the end of all workers.
fn spread(parent: &Parent, worker: &Worker<'_>) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some(selector(parent, worker.component)),
            ..LabelSelector::default()
        }),
        ..TopologySpreadConstraint::default()
    }
}

fn pull_secrets(settings: &Settings) -> Vec<LocalObjectReference> {
    let named = settings.worker_image_pull_secrets.iter();
    named
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect()
}

fn container(settings: &Settings, worker: &Worker<'_>) -> Container {
    let mut command: Vec<String> = worker.command.iter().map(|&word| word.to_owned()).collect();
    command.extend(["--config".to_owned(), format!("{CONFIG_FOLDER}/{CONFIG_FILE}")]);
    Container {
        name: worker.component.to_owned(),
        image: Some(settings.worker_image.clone()),
        image_pull_policy: Some(settings.worker_image_pull_policy.clone()),
        command: Some(command),
        env: Some(vec![
            EnvVar {
                name: "POD_NAME".to_owned(),
                value_from: Some(EnvVarSource {
                    field_ref: Some(ObjectFieldSelector {
                        field_path: "metadata.name".to_owned(),
                        ..ObjectFieldSelector::default()
                    }),
                    ..EnvVarSource::default()
                }),
                ..EnvVar::default()
            },
            EnvVar {
                name: "RUST_LOG".to_owned(),
                value: Some(settings.worker_log.clone()),
                ..EnvVar::default()
            },
        ]),
        ports: Some(vec![ContainerPort {
            name: Some("http".to_owned()),
            container_port: PORT,
            ..ContainerPort::default()
        }]),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        // The worker fails it only when its own loop stands still, never because Kafka or the site is down.
        liveness_probe: Some(probe("/livez", 10, 6)),
        resources: Some(ResourceRequirements {
            requests: Some(quantities(&[("cpu", "25m"), ("memory", "48Mi")])),
            limits: Some(quantities(&[("memory", "256Mi")])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![VolumeMount {
            name: "config".to_owned(),
            mount_path: CONFIG_FOLDER.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("http".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(2),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

fn quantities(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    pairs
        .iter()
        .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())))
        .collect()
}
