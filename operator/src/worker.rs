//! The workers of a resource: what they are made of, which of them run, and how they are doing.
//!
//! All of a resource's workers are one revision: the document that they read, and the pod templates of their
//! Deployments. A revision is kept in an immutable ConfigMap named after its hash, so that workers of an older one keep
//! what they read, and can come back.

mod deployment;
mod health;
mod pass;
mod pods;
mod revision;
mod rollout;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Resource, ResourceExt};
use naru_api::{PIPELINE_LABEL, Rollout};

pub use self::{pass::Pass, revision::Revision};
use crate::controller::{apply, live};

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
        let mut labels = deployment::selector(self, component);
        let (managed_by, naru) = live::MANAGED_BY;
        labels.insert(managed_by.to_owned(), naru.to_owned());
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

/// A worker: a program with its arguments.
#[derive(Clone, Debug)]
pub struct Worker<'a> {
    /// Name of the Deployment.
    pub name: String,
    /// What it is in its pipeline, such as `fetcher`.
    pub component: &'static str,
    /// Program and arguments; `--config` is added.
    pub command: &'a [&'static str],
    /// None: replicas are left to the autoscaler.
    pub replicas: Option<i32>,
    /// How long it may take to get ready where all is well, beside what the declared progress deadline allows.
    pub patience: Duration,
}

/// The workers of a resource that is known to be valid.
#[derive(Clone, Debug)]
pub struct Declared<'a> {
    pub parent: &'a Parent,
    /// What the names of the ConfigMaps begin with.
    pub config_maps: String,
    /// What a ConfigMap is in its pipeline.
    pub component: &'static str,
    /// What all workers read.
    pub document: String,
    pub rollout: &'a Rollout,
    pub workers: Vec<Worker<'a>>,
}

/// What is known of a resource's workers whether its spec is valid or not.
#[derive(Clone, Debug)]
pub struct Crew {
    /// A word for people, and the Deployment's name. The last is the one that is scaled.
    pub members: Vec<(&'static str, String)>,
    pub config_maps: String,
    pub suspended: bool,
    pub auto_rollback: bool,
    /// The revision with which all came up last.
    pub last_good: Option<String>,
    /// Fewest workers of the Deployment that is scaled, which are the ones that it begins with.
    pub least: i32,
    /// The autoscaler sets how many there are, or else nobody of naru's.
    pub autoscaled: bool,
}

/// Replicas that a Deployment is to have.
pub fn replicas(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(UNSAID)
}

/// Replicas where nothing was said: what the API server fills in.
const UNSAID: i32 = 1;

/// How many replicas a Deployment is to have, and has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scaled {
    replicas: i32,
    has_first_replicas: bool,
    ready: i32,
    is_rolling_out: bool,
}

impl Scaled {
    pub fn of(deployment: &Deployment) -> Self {
        let status = deployment.status.as_ref();
        let count = |field: fn(&DeploymentStatus) -> Option<i32>| status.and_then(field).unwrap_or(0);
        Self {
            replicas: replicas(deployment),
            has_first_replicas: deployment.annotations().contains_key(apply::FIRST_REPLICAS),
            ready: count(|status| status.ready_replicas),
            is_rolling_out: count(|status| status.updated_replicas) < count(|status| status.replicas),
        }
    }

    pub fn replicas(&self) -> i32 {
        self.replicas
    }

    /// Does it have the replicas that a reconciler gave it, which owns them?
    pub fn has_first_replicas(&self) -> bool {
        self.has_first_replicas
    }

    /// Replicas that work, of whatever template.
    pub fn ready(&self) -> i32 {
        self.ready
    }

    /// Are there replicas of an earlier template?
    pub fn is_rolling_out(&self) -> bool {
        self.is_rolling_out
    }
}

/// Replicas of the current template that are ready.
pub fn ready_replicas(deployment: &Deployment) -> i32 {
    updated(deployment, |status| status.ready_replicas)
}

/// Replicas of the current template that have been ready for `minReadySeconds`.
fn available_replicas(deployment: &Deployment) -> i32 {
    updated(deployment, |status| status.available_replicas)
}

fn updated(deployment: &Deployment, count: impl Fn(&DeploymentStatus) -> Option<i32>) -> i32 {
    let status = deployment.status.as_ref();
    let observed = status.filter(|status| status.observed_generation >= deployment.metadata.generation);
    observed.map_or(0, |status| {
        let updated = status.updated_replicas.unwrap_or(0);
        count(status).unwrap_or(0).min(updated)
    })
}
