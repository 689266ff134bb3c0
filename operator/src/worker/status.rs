//! What the statuses of all kinds with workers have in common.

use std::fmt::Debug;

use kube::{
    Resource,
    core::{NamespaceResourceScope, object::HasStatus},
};
use naru_api::Computation;
use serde::de::DeserializeOwned;

use crate::controller::status::Conditions;

/// A kind with workers.
pub trait WithWorkers:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + HasStatus<Status: WorkerStatus>
{
}

impl<K> WithWorkers for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + HasStatus<Status: WorkerStatus>
{
}

/// The fields of such a status.
pub struct OfWorkers<'a> {
    pub replicas: &'a mut Option<i32>,
    pub max_replicas: &'a mut Option<i32>,
    pub created_topics: &'a mut Vec<String>,
    pub last_good_revision: &'a mut Option<String>,
    /// Where the kind has one.
    pub computation: Option<&'a mut Option<Computation>>,
}

/// Status of a kind with workers.
pub trait WorkerStatus: Conditions {
    fn of_workers(&mut self) -> OfWorkers<'_>;
}

macro_rules! worker_statuses {
    ($($status:ty: |$this:ident| $computation:expr),*) => {$(
        impl WorkerStatus for $status {
            fn of_workers(&mut self) -> OfWorkers<'_> {
                let $this = self;
                OfWorkers {
                    replicas: &mut $this.replicas,
                    max_replicas: &mut $this.max_replicas,
                    created_topics: &mut $this.created_topics,
                    last_good_revision: &mut $this.last_good_revision,
                    computation: $computation,
                }
            }
        }
    )*};
}
worker_statuses!(
    naru_api::ScrapeJobStatus: |this| None,
    naru_api::FilteredSumStatus: |this| Some(&mut this.computation)
);
