//! What earlier revisions have left behind.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt, api::DeleteParams};

use super::Pass;
use crate::{
    controller::{Error, error::within},
    worker::{Revision, revision, revision::config_map_name, rollout::complete, status::WithWorkers},
};

/// Most ConfigMaps that are deleted in one pass.
const MOST_DELETED: usize = 10;

impl<K: WithWorkers> Pass<'_, K> {
    /// Deletes the ConfigMaps of older revisions, once nothing reads them any more.
    pub(super) async fn sweep(&self, running: &Revision) -> Result<(), Error> {
        let deployments = self.deployments();
        let expected = self.crew.members.len();
        let settled = deployments.len() == expected
            && deployments.iter().all(|deployment| {
                revision::running(deployment) == Some(&running.hash) && complete(deployment)
            });
        let Some(uid) = self.object.uid().filter(|_| settled) else {
            return Ok(());
        };
        let namespace = self.namespace();
        let kept = &self.context.live.config_maps;
        let name = |hash: &str| config_map_name(&self.crew.config_maps, hash);
        let needed = [
            Some(name(&running.hash)),
            self.crew.last_good.as_deref().map(name),
        ];
        let old = kept
            .owned(&namespace, &self.crew.config_maps, &uid)
            .into_iter()
            .filter(|name| !needed.contains(&Some(name.clone())));
        let api = Api::<ConfigMap>::namespaced(self.context.client.clone(), &namespace);
        for name in old.take(MOST_DELETED) {
            let parameters = DeleteParams::default();
            match within(api.delete(&name, &parameters), || {
                format!("delete ConfigMap {name:?}")
            })
            .await
            {
                Ok(_) => {}
                Err(Error::Kubernetes {
                    source: kube::Error::Api(status),
                    ..
                }) if status.is_not_found() => {}
                Err(error) => return Err(error),
            }
            kept.forget(&namespace, &name);
        }
        Ok(())
    }
}
