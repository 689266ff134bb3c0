//! What a watch tells of the run's Deployments, with the moment of each news.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher, watcher::Event},
};
use snafu::ResultExt;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{cluster::Cluster, error::Error};

/// A Deployment as it was last told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Changes with the pod template and with nothing else.
    pub(crate) template: u64,
    /// When the template changed.
    pub(crate) at: Instant,
    pub(crate) replicas: i32,
}

type Deployments = BTreeMap<String, Told>;

/// A watch of the Deployments in the run's namespace. Ends when dropped.
pub(crate) struct Seen {
    deployments: watch::Receiver<Deployments>,
    watching: JoinHandle<()>,
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Seen {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let api = Api::<Deployment>::namespaced(cluster.client.clone(), &cluster.namespace);
        let (tell, deployments) = watch::channel(Deployments::new());
        let watching = tokio::spawn(async move {
            let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
            while let Some(event) = events.next().await {
                let at = Instant::now();
                match event {
                    Ok(Event::Apply(deployment) | Event::InitApply(deployment)) => {
                        let (name, told) = (deployment.name_any(), Told::of(&deployment, at));
                        tell.send_if_modified(|all| told.replaces(all, name));
                    }
                    Ok(Event::Delete(deployment)) => {
                        tell.send_modify(|all| _ = all.remove(&deployment.name_any()));
                    }
                    Ok(Event::Init | Event::InitDone) => {}
                    Err(error) => eprintln!("    the watch was interrupted: {error}"),
                }
            }
        });
        Self {
            deployments,
            watching,
        }
    }

    /// All Deployments as they are known now.
    pub(crate) fn now(&self) -> Deployments {
        self.deployments.borrow().clone()
    }

    /// Waits until the Deployment has another template than it had, and tells when that became known.
    pub(crate) async fn changed(&mut self, name: &str, before: &Deployments) -> Result<Instant, Error> {
        let old = before.get(name).map(|told| told.template);
        let other = |all: &Deployments| all.get(name).is_some_and(|told| Some(told.template) != old);
        self.until(
            &format!("Deployment {name} changes"),
            Duration::from_secs(30),
            other,
        )
        .await?;
        Ok(self
            .deployments
            .borrow()
            .get(name)
            .map_or_else(Instant::now, |told| told.at))
    }

    /// Waits until this is true of all Deployments.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        deadline: Duration,
        mut condition: impl FnMut(&Deployments) -> bool,
    ) -> Result<(), Error> {
        let waited = tokio::time::timeout(deadline, self.deployments.wait_for(|all| condition(all))).await;
        match waited {
            Ok(told) => told.map(|_| ()).whatever_context("the watch ended"),
            Err(_) => Err(Error::new(format!("{what}: not within {} s", deadline.as_secs()))),
        }
    }
}

impl Told {
    fn of(deployment: &Deployment, at: Instant) -> Self {
        let spec = deployment.spec.as_ref();
        let mut hasher = DefaultHasher::new();
        let template = serde_json::to_string(&spec.map(|spec| &spec.template));
        template.unwrap_or_default().hash(&mut hasher);
        Self {
            template: hasher.finish(),
            at,
            replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        }
    }

    /// Takes the place of what was told before. False if it is no news.
    fn replaces(mut self, all: &mut Deployments, name: String) -> bool {
        let before = all.get(&name).copied();
        if let Some(before) = before.filter(|before| before.template == self.template) {
            self.at = before.at;
        }
        all.insert(name, self);
        before != Some(self)
    }
}
