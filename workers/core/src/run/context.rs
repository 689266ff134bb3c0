//! What a running worker is given.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::registry::{Metric, Registry};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Health, chain};
use crate::backoff::Backoff;
use crate::drain::Drain;

/// A session that worked this long has outlived whatever ended the one before.
const HEALTHY: Duration = Duration::from_secs(60);
const BEAT: Duration = Duration::from_secs(5);

/// What a running worker is given. Clones share one state.
#[derive(Clone, Debug)]
pub struct Context {
    /// Unique among the instances that share the work, the same after a restart.
    pub instance: String,
    /// Cancelled when the process is to end.
    pub stop: CancellationToken,
    /// By when all must have ended, once it is cancelled.
    pub drain: Drain,
    pub health: Health,
    pub metrics: Metrics,
    /// For what is better awaited; the worker's own thread may `block_on` it.
    pub runtime: Handle,
}

/// How a session that failed is followed up.
pub trait Session {
    /// Whether a new session is of no use, because somebody must change something or another instance has taken
    /// over.
    fn is_final(&self) -> bool;
}

impl Context {
    pub(super) fn new(instance: String, runtime: Handle) -> Self {
        Self {
            instance,
            stop: CancellationToken::new(),
            drain: Drain::default(),
            health: Health::default(),
            metrics: Metrics::default(),
            runtime,
        }
    }

    /// Runs `session` again and again, with growing pauses, until one ends well or finally or the process is to
    /// stop. Each session opens its clients anew and takes its state from Kafka, so no outage of Kafka, the
    /// registry or the site ends the process.
    pub fn sessions<E>(&self, mut session: impl FnMut() -> Result<(), E>) -> Result<(), E>
    where
        E: std::error::Error + Session + 'static,
    {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let mut last = String::new();
        loop {
            let started = Instant::now();
            let Err(error) = session() else { return Ok(()) };
            if error.is_final() {
                return Err(error);
            }
            if self.stop.is_cancelled() {
                return Ok(());
            }
            if started.elapsed() > HEALTHY {
                backoff.reset();
            }
            let message = chain(&error);
            if message != last {
                warn!(error = %message, "starting over");
            }
            self.health.waiting_for(format!("a new attempt after: {message}"));
            last = message;
            if !self.pause(backoff.next_delay()) {
                return Ok(());
            }
        }
    }

    /// To be asked several times a second during work that waits: the worker's thread is alive. False when the
    /// process is to stop.
    pub fn goes_on(&self) -> bool {
        self.health.beat();
        !self.stop.is_cancelled()
    }

    /// Waits for `work` on the worker's thread; `None` when the process is to stop before it is done. The thread
    /// counts as alive meanwhile: `work` must have a deadline of its own.
    pub fn wait_for<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.runtime.block_on(async {
            let mut work = std::pin::pin!(work);
            loop {
                self.health.beat();
                tokio::select! {
                    done = &mut work => return Some(done),
                    () = self.stop.cancelled() => return None,
                    () = tokio::time::sleep(BEAT) => {}
                }
            }
        })
    }

    /// Waits on the worker's thread; false when the process is to stop.
    pub fn pause(&self, time: Duration) -> bool {
        // A timer must be made within the runtime.
        self.wait_for(async move { tokio::time::sleep(time).await })
            .is_some()
    }
}

/// What `/metrics` shows. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// Registers `metric` as `naru_<name>`, `help` being a phrase without a full stop, and returns it.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(format!("naru_{name}"), help, metric.clone());
        metric
    }

    pub(super) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}
