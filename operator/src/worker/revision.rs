//! A revision of a resource's workers: all that is needed to run them. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PodTemplateSpec},
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt;

use super::{Declared, deployment};
use crate::{controller::drift, settings::Settings};

/// Annotation of a pod template: its revision.
const REVISION: &str = "naru.dev/revision";
/// Annotations of a Deployment that was rolled back: the revision that did not come up, and why.
const FAILED: &str = "naru.dev/failed-revision";
const FAILED_BECAUSE: &str = "naru.dev/failed-because";
/// Key of the pod templates in a revision's ConfigMap, by the name of the Deployment.
const TEMPLATES: &str = "templates.json";

/// What is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// Hash of the document and the pod templates.
    pub hash: String,
    /// None: it is there already, since what it holds was read from it.
    pub config_map: Option<ConfigMap>,
    pub deployments: Vec<Deployment>,
    /// Of each Deployment that is scaled.
    pub budgets: Vec<PodDisruptionBudget>,
}

impl Revision {
    /// The revision that a spec declares.
    pub fn of(settings: &Settings, declared: &Declared<'_>) -> Self {
        // The ConfigMap's name holds the hash, and so cannot be a part of it.
        let hash = drift::hash(&(&declared.document, templates(settings, declared, "")));
        let name = config_map_name(&declared.config_maps, &hash);
        let mut templates = templates(settings, declared, &name);
        for template in templates.values_mut() {
            let annotations = template
                .metadata
                .get_or_insert_default()
                .annotations
                .get_or_insert_default();
            annotations.insert(REVISION.to_owned(), hash.clone());
        }
        let kept = serde_json::to_string(&templates).expect("pod templates have text as keys");
        let config_map = ConfigMap {
            metadata: declared.parent.metadata(name, declared.component),
            data: Some(BTreeMap::from([
                (deployment::CONFIG_FILE.to_owned(), declared.document.clone()),
                (TEMPLATES.to_owned(), kept),
            ])),
            immutable: Some(true),
            ..ConfigMap::default()
        };
        let deployments = declared.workers.iter().map(|worker| {
            let template = templates.remove(&worker.name).unwrap_or_default();
            drift::stamp(deployment::deployment(declared, worker, template))
        });
        let scaled = declared.workers.iter().filter(|worker| worker.replicas.is_none());
        let budgets = scaled.map(|worker| drift::stamp(deployment::budget(declared, worker)));
        Self {
            deployments: deployments.collect(),
            budgets: budgets.collect(),
            config_map: Some(drift::stamp(config_map)),
            hash,
        }
    }

    /// This revision's Deployments with the pod templates of an older one, whose ConfigMap is given. None if that one
    /// does not hold all of them.
    pub(super) fn back_to(&self, older: &ConfigMap, hash: &str, because: &str) -> Option<Self> {
        let templates = older.data.as_ref()?.get(TEMPLATES)?;
        let mut templates: BTreeMap<String, PodTemplateSpec> = serde_json::from_str(templates).ok()?;
        let deployments = self.deployments.iter().map(|deployment| {
            let mut deployment = deployment.clone();
            deployment.spec.as_mut()?.template = templates.remove(&deployment.name_any())?;
            let annotations = deployment.annotations_mut();
            annotations.insert(FAILED.to_owned(), self.hash.clone());
            annotations.insert(FAILED_BECAUSE.to_owned(), because.to_owned());
            Some(drift::stamp(deployment))
        });
        Some(Self {
            hash: hash.to_owned(),
            config_map: None,
            deployments: deployments.collect::<Option<_>>()?,
            budgets: self.budgets.clone(),
        })
    }
}

/// Name of a revision's ConfigMap.
pub(super) fn config_map_name(prefix: &str, hash: &str) -> String {
    format!("{prefix}-{hash}")
}

/// The revision that a Deployment runs.
pub(super) fn running(deployment: &Deployment) -> Option<&str> {
    let template = deployment.spec.as_ref()?.template.metadata.as_ref()?;
    template.annotations.as_ref()?.get(REVISION).map(String::as_str)
}

/// The revision of a pod.
pub(super) fn of_pod(pod: &k8s_openapi::api::core::v1::Pod) -> Option<&str> {
    pod.annotations().get(REVISION).map(String::as_str)
}

/// The revision that a Deployment was rolled back from, and why.
pub(super) fn failed(deployment: &Deployment) -> Option<(&str, &str)> {
    let annotations = deployment.annotations();
    let because = annotations.get(FAILED_BECAUSE).map_or("", String::as_str);
    Some((annotations.get(FAILED)?, because))
}

fn templates(
    settings: &Settings,
    declared: &Declared<'_>,
    config_map: &str,
) -> BTreeMap<String, PodTemplateSpec> {
    let template = |worker| deployment::template(settings, declared.parent, worker, config_map);
    let workers = declared.workers.iter();
    workers
        .map(|worker| (worker.name.clone(), template(worker)))
        .collect()
}
