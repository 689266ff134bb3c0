//! The resources of a run: many of one kind, told apart by a number.

use std::{ops::Range, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use naru_api::{FilteredSum, SinkConnector};
use serde_json::{Value, json};
use snafu::ResultExt;

use super::{
    cluster::{Cluster, eventually},
    error::Error,
};

/// Requests of ours under way at once.
const CONCURRENT: usize = 16;
const SOON: Duration = Duration::from_secs(180);

/// All resources of one kind in the run's namespace. As JSON, so that fields newer than this program get through.
pub(crate) struct Resources {
    api: Api<DynamicObject>,
    kind: ApiResource,
    prefix: &'static str,
}

/// The spec of a FilteredSum that reads the run's topic. There are no records in it, so that the autoscaler wants no
/// worker.
pub(crate) fn sum(cluster: &Cluster) -> Value {
    json!({
        "input": { "topic": cluster.topic() },
        "sum": { "field": "price" },
        "output": { "topic": format!("{}.totals", cluster.namespace) },
        "scaling": { "minReplicas": 0, "maxReplicas": 3, "scaleInAfter": "10s" },
        "commitInterval": "100ms",
    })
}

/// The change of a FilteredSum that its workers have to be told of, which changes their Deployment.
pub(crate) fn change(number: usize) -> Value {
    json!({ "spec": { "commitInterval": format!("{}ms", 101 + number % 4000) } })
}

/// The spec of a SinkConnector on this Connect cluster.
pub(crate) fn connector(cluster: &Cluster, url: &str) -> Value {
    json!({
        "topics": [cluster.topic()],
        "class": "naru.bench.Sink",
        "config": { "number": "0" },
        "connect": { "url": url },
    })
}

/// The change of a SinkConnector that Connect has to be told of.
pub(crate) fn number(number: usize) -> Value {
    json!({ "spec": { "config": { "number": number.to_string() } } })
}

impl Resources {
    pub(crate) fn sums(cluster: &Cluster) -> Self {
        Self::of(cluster, ApiResource::erase::<FilteredSum>(&()), "sum")
    }

    pub(crate) fn connectors(cluster: &Cluster) -> Self {
        Self::of(cluster, ApiResource::erase::<SinkConnector>(&()), "sink")
    }

    fn of(cluster: &Cluster, kind: ApiResource, prefix: &'static str) -> Self {
        Self {
            api: Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &kind),
            kind,
            prefix,
        }
    }

    pub(crate) fn name(&self, number: usize) -> String {
        format!("{}-{number:04}", self.prefix)
    }

    pub(crate) async fn create(&self, numbers: Range<usize>, spec: &Value) -> Result<(), Error> {
        self.each(numbers, async |number| {
            let new = DynamicObject::new(&self.name(number), &self.kind).data(json!({ "spec": spec }));
            self.api
                .create(&PostParams::default(), &new)
                .await
                .with_whatever_context(|_| format!("failed to create {}", self.name(number)))?;
            Ok(())
        })
        .await
    }

    /// Merges `change` into the resource.
    pub(crate) async fn edit(&self, number: usize, change: &Value) -> Result<(), Error> {
        let name = self.name(number);
        self.api
            .patch(&name, &PatchParams::default(), &Patch::Merge(change))
            .await
            .with_whatever_context(|_| format!("failed to edit {name}"))?;
        Ok(())
    }

    pub(crate) async fn edit_all(&self, numbers: Range<usize>, change: &Value) -> Result<(), Error> {
        self.each(numbers, async |number| self.edit(number, change).await)
            .await
    }

    /// Deletes them one by one, and waits until they are gone. Their children may not be.
    pub(crate) async fn delete(&self, numbers: Range<usize>) -> Result<(), Error> {
        self.each(numbers, async |number| {
            self.api
                .delete(&self.name(number), &DeleteParams::default())
                .await
                .with_whatever_context(|_| format!("failed to delete {}", self.name(number)))?;
            Ok(())
        })
        .await?;
        self.gone().await
    }

    /// Deletes all that there are.
    pub(crate) async fn clear(&self) -> Result<(), Error> {
        self.api
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
            .whatever_context("failed to delete resources")?;
        self.gone().await
    }

    async fn gone(&self) -> Result<(), Error> {
        eventually("resources are gone", SOON, async || {
            let left = self.all().await?.len();
            if left == 0 {
                return Ok(());
            }
            Err(Error::new(format!("{left} are left")))
        })
        .await
    }

    /// Deletes all without waiting for what their finalizers wait for.
    pub(crate) async fn orphan_all(&self) -> Result<(), Error> {
        self.api
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
            .whatever_context("failed to delete resources")?;
        let left = self.all().await?;
        stream::iter(left)
            .map(async |object| {
                let none = json!({ "metadata": { "finalizers": null } });
                let patched = self
                    .api
                    .patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(none))
                    .await;
                match patched {
                    Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                    other => other.map(|_| ()).whatever_context("failed to drop a finalizer"),
                }
            })
            .buffer_unordered(CONCURRENT)
            .try_collect::<()>()
            .await?;
        self.gone().await
    }

    /// Waits until the operator has looked at each as it is now.
    pub(crate) async fn observed(&self) -> Result<(), Error> {
        eventually("the operator has looked at all resources", SOON, async || {
            let all = self.all().await?;
            let waiting = all
                .iter()
                .filter(|object| {
                    let observed = object.data.pointer("/status/observedGeneration");
                    observed.and_then(Value::as_i64) != object.metadata.generation
                })
                .count();
            if waiting == 0 {
                return Ok(());
            }
            Err(Error::new(format!("it has not at {waiting} of {}", all.len())))
        })
        .await
    }

    async fn all(&self) -> Result<Vec<DynamicObject>, Error> {
        let list = self.api.list(&ListParams::default()).await;
        Ok(list.whatever_context("failed to list resources")?.items)
    }

    async fn each(
        &self,
        numbers: Range<usize>,
        act: impl AsyncFn(usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        stream::iter(numbers)
            .map(|number| act(number))
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await
    }
}
