//! What the operator talks to besides the API server: each Kafka cluster, registry and Connect cluster is an
//! endpoint with its own circuit breaker, so that a silent one slows only the resources that need it.

mod breaker;
mod cache;

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::Notify;

use self::breaker::{Admission, Breaker};
pub(crate) use self::cache::Cache;
pub use self::cache::Freshness;

/// How long a call waits for its turn. A resource that waits holds a place among the ones that are worked on.
const PATIENCE: Duration = Duration::from_millis(500);
/// An endpoint that nobody has asked for so long is forgotten. Each resource asks every half minute.
const UNUSED: Duration = Duration::from_secs(300);

/// That an endpoint does not answer: why, and since when if that is known. Reads well behind "does not answer".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    pub cause: String,
    pub since: Option<Timestamp>,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(since) = self.since {
            // Without the date: conditions are kept free of whole timestamps, which make two equal failures differ.
            write!(f, " since {} UTC", since.strftime("%H:%M:%S"))?;
        }
        write!(f, ": {}", self.cause)
    }
}

/// A request without an answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) cause: String,
    /// Whether that says something about the endpoint. A request that makes the endpoint work for long does not.
    pub(crate) telling: bool,
}

/// The breaker of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Endpoint {
    breaker: Mutex<Breaker>,
    /// A call has ended.
    ended: Notify,
}

impl Endpoint {
    /// Makes a request when it is its turn, or says at once that the endpoint is known to be silent. The request
    /// must have a deadline of its own.
    pub(crate) async fn call<T>(
        &self,
        request: impl Future<Output = Result<T, Unanswered>>,
    ) -> Result<T, Silence> {
        let mut call = self.begin().await?;
        match request.await {
            Ok(answer) => {
                call.end(Breaker::answered);
                Ok(answer)
            }
            Err(Unanswered { cause, telling: true }) => {
                let now = (Instant::now(), Timestamp::now());
                let jitter = rand::random_range(0.8..1.2);
                let begun = call.begun;
                Err(call.end(|breaker| breaker.unanswered(begun, cause, now, jitter)))
            }
            Err(Unanswered {
                cause,
                telling: false,
            }) => Err(Silence { cause, since: None }),
        }
    }

    async fn begin(&self) -> Result<Call<'_>, Silence> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            // Before the look, or a call that ends in between would go unnoticed.
            let ended = self.ended.notified();
            match self.breaker().begin(Instant::now()) {
                Admission::Begun(begun) => {
                    return Ok(Call {
                        endpoint: self,
                        begun,
                        ended: false,
                    });
                }
                Admission::Refused(silence) => return Err(silence),
                Admission::Full => {}
            }
            if tokio::time::timeout_at(end, ended).await.is_err() {
                return Err(Silence {
                    cause: "requests before this one wait for their answers".to_owned(),
                    since: None,
                });
            }
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // A panic elsewhere cannot leave a half-made count behind.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way. One that is given up makes room too.
struct Call<'a> {
    endpoint: &'a Endpoint,
    begun: u64,
    ended: bool,
}

impl Call<'_> {
    fn end<T>(&mut self, end: impl FnOnce(&mut Breaker) -> T) -> T {
        self.ended = true;
        let result = end(&mut self.endpoint.breaker());
        self.endpoint.ended.notify_waiters();
        result
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Breaker::abandoned);
        }
    }
}

/// Everything of one kind that is talked to, made when it is first needed and dropped when nobody needs it any more.
#[derive(Debug)]
pub(crate) struct Pool<K, T>(Mutex<HashMap<K, (Instant, Arc<T>)>>);

impl<K, T> Default for Pool<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, T> Pool<K, T> {
    /// The one with this key.
    pub(crate) fn get<E>(&self, key: &K, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((used, found)) = entries.get_mut(key) {
            *used = now;
            return Ok(Arc::clone(found));
        }
        let made = Arc::new(make()?);
        entries.insert(key.clone(), (now, Arc::clone(&made)));
        Ok(made)
    }

    /// Drops what nobody has asked for in a while.
    pub(crate) fn prune(&self, now: Instant) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, (used, _)| now.saturating_duration_since(*used) < UNUSED);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;

    /// As a firewall that drops packets: nothing comes until the deadline.
    async fn black_hole(asked: &AtomicU32) -> Result<(), Unanswered> {
        asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(2)).await;
        Err(Unanswered {
            cause: "it took too long".to_owned(),
            telling: true,
        })
    }

    #[tokio::test]
    async fn fifty_at_a_black_hole_are_told_within_moments_and_one_request_is_made() {
        let (endpoint, asked) = (Endpoint::default(), AtomicU32::new(0));
        let began = Instant::now();
        let calls = (0..50).map(|_| async {
            let silence = endpoint.call(black_hole(&asked)).await.unwrap_err();
            (began.elapsed(), silence)
        });
        let told = futures::future::join_all(calls).await;
        let late = told.iter().filter(|(after, _)| *after > PATIENCE * 2).count();
        assert_eq!(late, 1, "all but the one that asked");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let again = Instant::now();
        let silence = endpoint.call(black_hole(&asked)).await.unwrap_err();
        assert!(again.elapsed() < PATIENCE && silence.since.is_some(), "{silence}");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_makes_room() {
        let endpoint = Endpoint::default();
        let given_up = endpoint.call(std::future::pending::<Result<(), Unanswered>>());
        assert!(tokio::time::timeout(Duration::ZERO, given_up).await.is_err());
        assert_eq!(endpoint.call(async { Ok(1) }).await, Ok(1));
    }

    #[tokio::test]
    async fn a_request_that_makes_an_endpoint_work_for_long_does_not_close_it_to_others() {
        let endpoint = Endpoint::default();
        for _ in 0..3 {
            let slow = async {
                Err::<(), _>(Unanswered {
                    cause: "it took too long".to_owned(),
                    telling: false,
                })
            };
            assert!(endpoint.call(slow).await.is_err());
        }
        assert_eq!(endpoint.call(async { Ok(1) }).await, Ok(1));
    }

    #[test]
    fn a_silence_says_since_when_and_why() {
        let mut silence = Silence {
            cause: "connection refused".to_owned(),
            since: None,
        };
        assert_eq!(silence.to_string(), ": connection refused");
        silence.since = Some("2026-01-01T00:00:00.5Z".parse().unwrap());
        assert_eq!(silence.to_string(), " since 00:00:00 UTC: connection refused");
    }

    #[test]
    fn what_nobody_asks_for_is_dropped() {
        let pool = Pool::<&str, u8>::default();
        let one = pool.get(&"kafka:9092", || Ok::<_, Infallible>(1)).unwrap();
        let now = Instant::now();
        pool.prune(now);
        let same = pool.get(&"kafka:9092", || Ok::<_, Infallible>(2)).unwrap();
        assert!(Arc::ptr_eq(&one, &same));
        pool.prune(now + UNUSED * 2);
        assert_eq!(*pool.get(&"kafka:9092", || Ok::<_, Infallible>(3)).unwrap(), 3);
    }
}
