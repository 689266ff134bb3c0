//! What the operator talks to besides the API server: each Kafka cluster, registry and Connect cluster is an
//! endpoint with its own circuit breaker, so that a silent one slows only the resources that need it.

mod breaker;
mod cache;

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::Notify;

use self::breaker::{Admission, Breaker};
pub(crate) use self::cache::Cache;
pub use self::cache::Freshness;

/// How long a call waits for its turn. A resource that waits holds a place among the ones that are worked on.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a call waits for the answer to another one, which may speak of thousands of things.
const SHARED: Duration = Duration::from_secs(2);
/// Calls that wait for their turn at an endpoint that is not known to answer.
const MOST_WAITING: u32 = 3;
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

/// How soon an answer can be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// The endpoint only has to say what it knows.
    Soon,
    /// The endpoint has something to do first, which may take as long as it likes.
    MayTakeLong,
}

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// It was not this call's turn in time: the endpoint is busy with others of ours. Says nothing about the endpoint.
    Busy,
    Silent(Silence),
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
    /// Who waits for that.
    waiting: AtomicU32,
}

impl Endpoint {
    /// Makes a request when it is its turn, or says at once that the endpoint is known to be silent. The request
    /// must have a deadline of its own, and begin when it is first polled.
    pub(crate) async fn call<T>(
        &self,
        answers: Answers,
        request: impl Future<Output = Result<T, Unanswered>>,
    ) -> Result<T, NoAnswer> {
        let turn = self.turn(answers).await?;
        turn.end(request.await)
    }

    /// Waits until a request may begin.
    pub(crate) async fn turn(&self, answers: Answers) -> Result<Turn<'_>, NoAnswer> {
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut waiting = None;
        loop {
            // Before the look, or a call that ends in between would go unnoticed.
            let ended = self.ended.notified();
            let admission = self.breaker().begin(answers, Instant::now());
            match admission {
                Admission::Begun(begun) => {
                    return Ok(Turn {
                        endpoint: self,
                        answers,
                        begun,
                        ended: false,
                    });
                }
                Admission::Refused(silence) => return Err(NoAnswer::Silent(silence)),
                Admission::Full if waiting.is_none() => waiting = Some(self.wait()?),
                Admission::Full => {}
            }
            if tokio::time::timeout_at(end, ended).await.is_err() {
                return Err(NoAnswer::Busy);
            }
        }
    }

    /// Waits to be the one that asks for all who wait behind it: they do with its answer. None: the one before takes longer
    /// than anybody waits. At a silent endpoint nobody waits for the one that finds out whether it still is.
    pub(crate) async fn alone<'a>(
        &self,
        asking: &'a tokio::sync::Mutex<()>,
    ) -> Result<Option<tokio::sync::MutexGuard<'a, ()>>, NoAnswer> {
        if let Ok(alone) = asking.try_lock() {
            return Ok(Some(alone));
        }
        if let Some(silence) = self.silence() {
            return Err(NoAnswer::Silent(silence));
        }
        Ok(tokio::time::timeout(SHARED, asking.lock()).await.ok())
    }

    /// Joins those who wait. Each of them holds a pass, of which a controller has so many: at an endpoint that may well be
    /// silent few wait, and the others come again later.
    fn wait(&self) -> Result<Waiting<'_>, NoAnswer> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(&self.waiting);
        if before >= MOST_WAITING && !self.breaker().answers() {
            return Err(NoAnswer::Busy);
        }
        Ok(waiting)
    }

    /// Since when and why there is no answer, once that is known.
    pub(crate) fn silence(&self) -> Option<Silence> {
        self.breaker().silence().cloned()
    }

    /// Whether a call is under way that may take long.
    pub(crate) fn is_at_work(&self) -> bool {
        self.breaker().is_at_work()
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // A panic elsewhere cannot leave a half-made count behind.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those who wait.
struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call under way. One that is given up makes room too.
pub(crate) struct Turn<'a> {
    endpoint: &'a Endpoint,
    answers: Answers,
    begun: u64,
    ended: bool,
}

impl Turn<'_> {
    /// The request has ended.
    pub(crate) fn end<T>(mut self, answer: Result<T, Unanswered>) -> Result<T, NoAnswer> {
        let (answers, begun) = (self.answers, self.begun);
        match answer {
            Ok(answer) => {
                self.tell(|breaker| breaker.answered(answers));
                Ok(answer)
            }
            Err(Unanswered { cause, telling: true }) => {
                let now = (Instant::now(), Timestamp::now());
                let jitter = rand::random_range(0.8..1.2);
                let silence = self.tell(|breaker| breaker.unanswered(answers, begun, cause, now, jitter));
                Err(NoAnswer::Silent(silence))
            }
            Err(Unanswered {
                cause,
                telling: false,
            }) => Err(NoAnswer::Silent(Silence { cause, since: None })),
        }
    }

    fn tell<T>(&mut self, end: impl FnOnce(&mut Breaker) -> T) -> T {
        self.ended = true;
        let result = end(&mut self.endpoint.breaker());
        self.endpoint.ended.notify_waiters();
        result
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let answers = self.answers;
            self.tell(|breaker| breaker.abandoned(answers));
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

    /// Whether one of them is so.
    pub(crate) fn any(&self, is_so: impl Fn(&T) -> bool) -> bool {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.values().any(|(_, entry)| is_so(entry))
    }

    /// Takes out what nobody has asked for in a while. Whoever drops it knows whether that blocks.
    pub(crate) fn prune(&self, now: Instant) -> Vec<Arc<T>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = entries.extract_if(|_, (used, _)| now.saturating_duration_since(*used) >= UNUSED);
        unused.map(|(_, (_, unused))| unused).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

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

    fn silence(no_answer: NoAnswer) -> Silence {
        match no_answer {
            NoAnswer::Silent(silence) => silence,
            NoAnswer::Busy => Silence {
                cause: "busy".to_owned(),
                since: None,
            },
        }
    }

    #[tokio::test]
    async fn fifty_at_a_black_hole_are_told_within_moments_and_one_request_is_made() {
        let (endpoint, asked) = (Endpoint::default(), AtomicU32::new(0));
        let began = Instant::now();
        let calls = (0..50).map(|_| async {
            let told = endpoint
                .call(Answers::Soon, black_hole(&asked))
                .await
                .unwrap_err();
            (began.elapsed(), told)
        });
        let told = futures::future::join_all(calls).await;
        let late = told.iter().filter(|(after, _)| *after > PATIENCE * 2).count();
        assert_eq!(late, 1, "all but the one that asked");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let again = Instant::now();
        let silence = silence(
            endpoint
                .call(Answers::Soon, black_hole(&asked))
                .await
                .unwrap_err(),
        );
        assert!(again.elapsed() < PATIENCE && silence.since.is_some(), "{silence}");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn few_wait_at_an_endpoint_that_has_never_answered_and_all_at_one_that_has() {
        let (endpoint, asked) = (Endpoint::default(), AtomicU32::new(0));
        let told_at_once = async || {
            let began = Instant::now();
            let calls = (0..16).map(|_| async {
                _ = endpoint.call(Answers::Soon, black_hole(&asked)).await;
                began.elapsed() < PATIENCE / 2
            });
            let told = futures::future::join_all(calls).await;
            told.into_iter().filter(|at_once| *at_once).count()
        };
        assert_eq!(told_at_once().await, 12, "one asks and three wait");

        let endpoint = Endpoint::default();
        assert!(endpoint.call(Answers::Soon, async { Ok(()) }).await.is_ok());
        let calls = (0..16).map(|_| {
            endpoint.call(Answers::Soon, async {
                tokio::task::yield_now().await;
                Ok(())
            })
        });
        let answers = futures::future::join_all(calls).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_makes_room() {
        let endpoint = Endpoint::default();
        let given_up = endpoint.call(Answers::Soon, std::future::pending::<Result<(), Unanswered>>());
        assert!(tokio::time::timeout(Duration::ZERO, given_up).await.is_err());
        assert_eq!(endpoint.call(Answers::Soon, async { Ok(1) }).await, Ok(1));
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
            assert!(endpoint.call(Answers::Soon, slow).await.is_err());
        }
        assert_eq!(endpoint.call(Answers::Soon, async { Ok(1) }).await, Ok(1));
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
        assert_eq!(pool.prune(now).len(), 0);
        let same = pool.get(&"kafka:9092", || Ok::<_, Infallible>(2)).unwrap();
        assert!(Arc::ptr_eq(&one, &same));
        drop(one);
        assert_eq!(pool.prune(now + UNUSED * 2), [Arc::new(1)]);
        assert_eq!(*pool.get(&"kafka:9092", || Ok::<_, Infallible>(3)).unwrap(), 3);
    }

    #[test]
    fn what_takes_long_to_drop_holds_up_nobody_else() {
        use std::sync::mpsc;

        /// As a client of Kafka's, which joins its threads.
        struct Slow(Mutex<mpsc::Receiver<()>>);

        impl Drop for Slow {
            fn drop(&mut self) {
                let _ = self.0.lock().unwrap().recv_timeout(Duration::from_secs(20));
            }
        }

        let (joined, joins) = mpsc::channel();
        let pool = Pool::<&str, Slow>::default();
        drop(pool.get(&"kafka:9092", || Ok::<_, Infallible>(Slow(Mutex::new(joins)))));
        let unused = pool.prune(Instant::now() + UNUSED * 2);
        assert_eq!(unused.len(), 1, "it is not dropped under the lock");
        let dropped = std::thread::spawn(move || drop(unused));
        let began = Instant::now();
        drop(pool.get(&"kafka:9092", || {
            Ok::<_, Infallible>(Slow(Mutex::new(mpsc::channel().1)))
        }));
        assert!(began.elapsed() < Duration::from_secs(10));
        joined.send(()).unwrap();
        dropped.join().unwrap();
    }
}
