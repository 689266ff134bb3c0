//! What the statuses of all kinds with workers have in common.

use crate::controller::status::Conditions;

/// The fields of such a status.
pub struct OfWorkers<'a> {
    pub replicas: &'a mut Option<i32>,
    pub max_replicas: &'a mut Option<i32>,
    pub created_topics: &'a mut Vec<String>,
    pub last_good_revision: &'a mut Option<String>,
}

/// Status of a kind with workers.
pub trait WorkerStatus: Conditions {
    fn of_workers(&mut self) -> OfWorkers<'_>;
}

macro_rules! worker_statuses {
    ($($status:ty),*) => {$(
        impl WorkerStatus for $status {
            fn of_workers(&mut self) -> OfWorkers<'_> {
                OfWorkers {
                    replicas: &mut self.replicas,
                    max_replicas: &mut self.max_replicas,
                    created_topics: &mut self.created_topics,
                    last_good_revision: &mut self.last_good_revision,
                }
            }
        }
    )*};
}
worker_statuses!(naru_api::ScrapeJobStatus, naru_api::FilteredSumStatus);
