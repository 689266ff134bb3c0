//! The Kubernetes objects of a worker: a ConfigMap with its document, and a Deployment. Pure.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
            HTTPGetAction, LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec,
            PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecurityContext, Volume,
            VolumeMount,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
        util::intstr::IntOrString,
    },
};
use kube::{Resource, ResourceExt};
use naru_api::PIPELINE_LABEL;

use crate::{controller::apply, settings::Settings};

const CONFIG_FILE: &str = "config.json";
const CONFIG_FOLDER: &str = "/etc/naru";
const PORT: i32 = 8080;
/// Longer than a worker needs to finish its transaction and leave its group.
const GRACE_SECONDS: i64 = 30;

/// What its workers have in common with the resource that declares them.
#[derive(Clone, Debug)]
pub struct Parent {
    pub namespace: String,
    pub name: String,
    pub owner: Vec<OwnerReference>,
    /// Value of the pipeline label, which children inherit.
    pub pipeline: Option<String>,
}

impl Parent {
    /// From the resource.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            owner: apply::owner(object),
            pipeline: object.labels().get(PIPELINE_LABEL).cloned(),
        }
    }

    fn metadata(&self, name: String, component: &str) -> ObjectMeta {
        let mut labels = selector(self, component);
        labels.insert("app.kubernetes.io/managed-by".to_owned(), "naru".to_owned());
        labels.extend(
            self.pipeline
                .clone()
                .map(|pipeline| (PIPELINE_LABEL.to_owned(), pipeline)),
        );
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels),
            owner_references: Some(self.owner.clone()),
            ..ObjectMeta::default()
        }
    }
}

/// A worker: a program with its arguments, and the document that it reads.
#[derive(Clone, Debug)]
pub struct Worker<'a> {
    /// Name of the Deployment.
    pub name: String,
    /// What it is in its pipeline, such as `fetcher`.
    pub component: &'static str,
    /// Program and arguments; `--config` is added.
    pub command: &'a [&'static str],
    /// Name of the ConfigMap.
    pub config_map: String,
    /// The document, for the annotation that rolls the pods when it changes.
    pub document: &'a str,
    /// None: replicas are left to the autoscaler.
    pub replicas: Option<i32>,
}

/// The ConfigMap that holds a document.
pub fn config_map(parent: &Parent, name: String, component: &'static str, document: String) -> ConfigMap {
    ConfigMap {
        metadata: parent.metadata(name, component),
        data: Some(BTreeMap::from([(CONFIG_FILE.to_owned(), document)])),
        ..ConfigMap::default()
    }
}

/// The Deployment of a worker.
pub fn deployment(settings: &Settings, parent: &Parent, worker: &Worker<'_>) -> Deployment {
    let labels = selector(parent, worker.component);
    let metadata = parent.metadata(worker.name.clone(), worker.component);
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: metadata.labels.clone(),
            annotations: Some(BTreeMap::from([(
                "naru.dev/config".to_owned(),
                fingerprint(worker.document),
            )])),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(settings, worker)),
    };
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: worker.replicas,
            selector: LabelSelector {
                match_labels: Some(labels),
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
            revision_history_limit: Some(3),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// Labels that tell the worker's pods from all others. They can never change: a Deployment's selector is immutable.
fn selector(parent: &Parent, component: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "naru-worker".to_owned()),
        ("app.kubernetes.io/instance".to_owned(), parent.name.clone()),
        ("app.kubernetes.io/component".to_owned(), component.to_owned()),
    ])
}

fn pod(settings: &Settings, worker: &Worker<'_>) -> PodSpec {
    PodSpec {
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
                name: worker.config_map.clone(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        }]),
        ..PodSpec::default()
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

/// A short text that changes with the document. `DefaultHasher::new` is the same in every process.
fn fingerprint(document: &str) -> String {
    let mut hasher = DefaultHasher::new();
    document.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Replicas that a Deployment is to have.
pub fn replicas(deployment: &Deployment) -> i32 {
    // The API server fills in 1 where nothing was said.
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

/// Replicas of the current template that are ready.
pub fn ready_replicas(deployment: &Deployment) -> i32 {
    let Some(status) = &deployment.status else {
        return 0;
    };
    if status.observed_generation < deployment.metadata.generation {
        return 0;
    }
    status
        .ready_replicas
        .unwrap_or(0)
        .min(status.updated_replicas.unwrap_or(0))
}
