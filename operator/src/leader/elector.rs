//! Carries the election out: reads and writes the Lease, raises the fence, and tells how it stands.

#[cfg(test)]
mod tests;

use std::{fmt, future::Future, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use snafu::Snafu;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Fence,
    election::{Candidate, Step, Timing},
};

/// Tries to give the Lease up, if somebody writes to it at the same moment.
const RELEASES: u32 = 3;

/// How the election stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No request for the Lease is answered, so that it cannot be taken over: why, once there was time enough.
    Unheard {
        problem: Option<String>,
    },
    /// Ready to take over from this leader, if one is known.
    Standby {
        leader: Option<String>,
    },
    Leading,
    Lost,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unheard { problem: None } => f.write_str("waiting for an answer about the Lease"),
            Self::Unheard {
                problem: Some(problem),
            } => write!(f, "cannot ask for the Lease: {problem}"),
            Self::Standby { leader: Some(leader) } => write!(f, "standby, leader is {leader}"),
            Self::Standby { leader: None } => f.write_str("standby, there is no leader yet"),
            Self::Leading => f.write_str("leading"),
            Self::Lost => f.write_str("lost the lead"),
        }
    }
}

/// How the work of a leader ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing of it can take effect any more: the next leader may begin at once.
    Wholly,
    /// A change was given up that may yet take effect.
    Loosely,
}

/// The operator does not lead any more, and not because it was told to stop.
#[derive(Debug, PartialEq, Eq, Snafu)]
#[snafu(display("lost the Lease {lease:?}: {}", match holder {
    Some(holder) => format!("{holder:?} holds it now"),
    None => "it could not be renewed in time, or was deleted".to_owned(),
}))]
pub struct Lost {
    lease: String,
    holder: Option<String>,
}

/// A candidate, and the Lease that it wants.
pub struct Elector {
    api: Api<Lease>,
    name: String,
    timing: Timing,
    candidate: Candidate,
    fence: Fence,
    standing: watch::Sender<Standing>,
    heard: Heard,
}

/// Whether requests for the Lease are answered. For people: the election itself has no use for it.
#[derive(Debug, Default)]
struct Heard {
    once: bool,
    /// Since when there are none, and why there was none to the last one.
    silent: Option<(Instant, String)>,
}

impl Elector {
    /// Does no I/O. The Lease `name` is in the client's default namespace, and `identity` is different for each process.
    pub fn new(client: Client, name: String, identity: String, timing: Timing) -> Self {
        Self {
            api: Api::default_namespaced(client),
            name,
            timing,
            candidate: Candidate::new(identity, timing),
            fence: Fence::closed(),
            standing: watch::Sender::new(Standing::Unheard { problem: None }),
            heard: Heard::default(),
        }
    }

    /// Stands as long as this operator leads.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// How the election stands, at any time.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Waits until this operator leads, and runs `work` as long as it does. The work ends itself after `stop`, and only
    /// then is the Lease given up, or left to run out if something may yet take effect; on the loss of the Lease it is dropped as it stands, and can change nothing more.
    pub async fn lead<F>(mut self, stop: CancellationToken, work: impl FnOnce() -> F) -> Result<(), Lost>
    where
        F: Future<Output = Ended>,
    {
        if !self.acquire(&stop).await {
            return Ok(());
        }
        let (fence, standing, lease) = (self.fence(), self.standing.clone(), self.name.clone());
        // A task of its own: whatever the work does, renewals are not late for it.
        let ended = CancellationToken::new();
        let mut keeper = {
            let ended = ended.clone();
            AbortOnDropHandle::new(tokio::spawn(async move {
                self.keep(&ended).await;
                self
            }))
        };
        let mut worked = None;
        let kept = tokio::select! {
            how = work() => {
                worked = Some(how);
                ended.cancel();
                (&mut keeper).await
            }
            kept = &mut keeper => kept,
        };
        // Nothing of this process writes from here on, not even what may have been left behind.
        fence.fall();
        match (kept, worked) {
            (Ok(mut elector), Some(Ended::Wholly)) => {
                elector.release().await;
                Ok(())
            }
            (Ok(_), Some(Ended::Loosely)) => {
                tracing::info!(
                    lease,
                    "the Lease is left to run out, since a change may yet take effect"
                );
                Ok(())
            }
            (kept, _) => {
                standing.send_replace(Standing::Lost);
                // One that panicked knows nothing.
                let holder = kept
                    .ok()
                    .and_then(|elector| elector.candidate.rival().map(str::to_owned));
                Err(Lost { lease, holder })
            }
        }
    }

    /// Until this operator leads, which is true, or until `stop`. A claim under way is not broken off: others would have
    /// to wait for a leader that never was.
    async fn acquire(&mut self, stop: &CancellationToken) -> bool {
        while self.candidate.leads_until().is_none() {
            if stop.is_cancelled() {
                return false;
            }
            match self.candidate.next(Instant::now()) {
                Step::Wait(pause) => _ = stop.run_until_cancelled(sleep(pause)).await,
                Step::Look => self.look().await,
                Step::Claim => self.claim().await,
                Step::Resign => return false,
            }
            self.tell();
        }
        true
    }

    /// Until the Lease is lost, or the work has `ended`.
    async fn keep(&mut self, ended: &CancellationToken) {
        while !ended.is_cancelled() {
            match self.candidate.next(Instant::now()) {
                Step::Wait(pause) => _ = ended.run_until_cancelled(sleep(pause)).await,
                Step::Look => self.look().await,
                Step::Claim => self.claim().await,
                Step::Resign => return,
            }
        }
    }

    async fn look(&mut self) {
        match self.within(self.api.get_opt(&self.name)).await {
            Ok(lease) => {
                self.heard.answered();
                self.candidate.looked(lease, Instant::now());
            }
            Err(problem) => self.failed("read", &problem),
        }
    }

    async fn claim(&mut self) {
        let begun = Instant::now();
        let claim = self.candidate.claim(Timestamp::now());
        match self.within(self.put(claim)).await {
            Ok(lease) => {
                self.heard.answered();
                self.candidate.claimed(lease, begun, Instant::now());
                if let Some(end) = self.candidate.leads_until()
                    && self.fence.extend(end).is_err()
                {
                    self.candidate.step_down();
                }
            }
            Err(Problem::Conflict) => self.candidate.conflicted(Instant::now()),
            Err(problem) => self.failed("claim", &problem),
        }
    }

    /// A courtesy: without it the next leader waits for the end of the Lease.
    async fn release(&mut self) {
        for _ in 0..RELEASES {
            let Some(released) = self.candidate.release(Timestamp::now()) else {
                return;
            };
            match self.within(self.put(released)).await {
                Ok(_) => {
                    tracing::info!(lease = self.name, "released the Lease");
                    return;
                }
                Err(Problem::Conflict) => self.look().await,
                Err(problem) => {
                    tracing::warn!(lease = self.name, %problem, "failed to release the Lease");
                    return;
                }
            }
        }
    }

    /// Creates the Lease, or changes exactly the version of it that was seen.
    async fn put(&self, mut lease: Lease) -> kube::Result<Lease> {
        if lease.metadata.resource_version.is_some() {
            return self.api.replace(&self.name, &PostParams::default(), &lease).await;
        }
        lease.metadata.name = Some(self.name.clone());
        self.api.create(&PostParams::default(), &lease).await
    }

    /// A request, which a leader does not wait for beyond its term.
    async fn within<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Problem> {
        let longest = Instant::now() + self.timing.request();
        let deadline = self
            .candidate
            .leads_until()
            .map_or(longest, |end| end.min(longest));
        match timeout_at(deadline, request).await {
            Ok(Ok(answer)) => Ok(answer),
            // 404: the Lease that was to be changed was deleted.
            Ok(Err(kube::Error::Api(status))) if [404, 409].contains(&status.code) => Err(Problem::Conflict),
            Ok(Err(source)) => Err(Problem::Kubernetes { source }),
            Err(_) => Err(Problem::Silent),
        }
    }

    fn failed(&mut self, doing: &str, problem: &Problem) {
        tracing::warn!(lease = self.name, %problem, "failed to {doing} the Lease");
        self.heard.failed(problem);
        self.candidate.failed(Instant::now());
    }

    /// Tells what has changed of how the election stands.
    fn tell(&self) {
        let standing = match self.candidate.leads_until() {
            Some(_) => Standing::Leading,
            None => self
                .heard
                .standing(self.timing.lease())
                .unwrap_or_else(|| Standing::Standby {
                    leader: self.candidate.rival().map(str::to_owned),
                }),
        };
        self.standing.send_if_modified(|before| {
            let news = *before != standing;
            if news {
                tracing::info!(lease = self.name, "{standing}");
                *before = standing;
            }
            news
        });
    }
}

impl Heard {
    fn answered(&mut self) {
        *self = Self {
            once: true,
            silent: None,
        };
    }

    fn failed(&mut self, problem: &Problem) {
        let since = self.silent.take().map_or_else(Instant::now, |(since, _)| since);
        self.silent = Some((since, problem.to_string()));
    }

    /// None: there are answers, or there were and it is not yet time to worry.
    fn standing(&self, patience: Duration) -> Option<Standing> {
        match &self.silent {
            Some((since, problem)) if since.elapsed() >= patience => Some(Standing::Unheard {
                problem: Some(problem.clone()),
            }),
            _ if self.once => None,
            _ => Some(Standing::Unheard { problem: None }),
        }
    }
}

/// Longer than asked for by up to a fifth, so that several candidates do not come all at once.
async fn sleep(pause: Duration) {
    tokio::time::sleep(pause.mul_f64(rand::random_range(1.0..1.2))).await;
}

/// Why a request for the Lease led to nothing.
#[derive(Debug, Snafu)]
enum Problem {
    #[snafu(display("it was changed in between"))]
    Conflict,

    #[snafu(display("the API server does not answer"))]
    Silent,

    #[snafu(display("{source}"))]
    Kubernetes { source: kube::Error },
}
