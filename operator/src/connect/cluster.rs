//! A Connect cluster: requests with deadlines and a breaker, and one look at all its connectors at once.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use reqwest::{StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Address, Answer, Answers, Config, ConnectorStatus, Error, LONGEST_ANSWER, LONGEST_MESSAGE, Mask,
    NoAnswer, Unanswered, cause, cut, deadline,
};
use crate::{
    endpoint::{Endpoint, Pool, Turn},
    leader::Fence,
    metrics::External,
};

/// A look at all connectors is used for so long. There is one every few seconds.
const RECENT: Duration = Duration::from_secs(10);

/// The Connect clusters in use.
#[derive(Debug)]
pub struct Clusters {
    http: reqwest::Client,
    external: External,
    pool: Pool<Address, Cluster>,
    fence: Fence,
}

impl Clusters {
    pub fn new(http: reqwest::Client) -> Self {
        Self {
            http,
            external: External::default(),
            pool: Pool::default(),
            fence: Fence::default(),
        }
    }

    /// Counts the requests there.
    pub fn counted(mut self, external: External) -> Self {
        self.external = external;
        self
    }

    /// The same, which change nothing without the lead.
    pub fn behind(mut self, fence: Fence) -> Self {
        self.fence = fence;
        self
    }

    /// The cluster at this address. Does no I/O.
    pub fn get(&self, address: &Address) -> Arc<Cluster> {
        let made = self.pool.get(address, || {
            Ok::<_, Infallible>(Cluster {
                http: self.http.clone(),
                external: self.external.clone(),
                address: address.clone(),
                endpoint: Endpoint::default(),
                seen: Mutex::default(),
                looking: tokio::sync::Mutex::default(),
                fence: self.fence.clone(),
            })
        });
        match made {
            Ok(cluster) => cluster,
            Err(never) => match never {},
        }
    }

    /// Whether a change is under way: one that is given up now may take effect later.
    pub fn are_changing(&self) -> bool {
        self.pool.any(|cluster| cluster.endpoint.is_at_work())
    }

    /// Drops what is remembered of clusters that no resource uses any more.
    pub fn prune(&self, now: Instant) {
        drop(self.pool.prune(now));
    }
}

/// A Connect cluster.
#[derive(Debug)]
pub struct Cluster {
    http: reqwest::Client,
    external: External,
    address: Address,
    endpoint: Endpoint,
    seen: Mutex<Seen>,
    /// Held by the one that looks, for all who wait behind it.
    looking: tokio::sync::Mutex<()>,
    fence: Fence,
}

/// All connectors of a cluster, as they were at one time. Traces in it may hold secrets.
pub type Connectors = BTreeMap<String, Registered>;

#[derive(Debug, Default)]
struct Seen {
    /// With the time before the request.
    last: Option<(Instant, Arc<Connectors>)>,
    /// When connectors were changed by us, if the last look may have been before.
    changed: BTreeMap<String, Instant>,
}

/// A connector as it is registered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Registered {
    pub config: Config,
    /// None: Connect has accepted the connector, but not yet started it.
    pub status: Option<ConnectorStatus>,
}

impl Cluster {
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Looks at all connectors with one request.
    pub async fn look(&self) -> Result<Arc<Connectors>, Error> {
        #[derive(Deserialize)]
        struct Document {
            info: Info,
            status: Option<ConnectorStatus>,
        }
        #[derive(Deserialize)]
        struct Info {
            config: Config,
        }
        let began = Instant::now();
        let mut url: Url = self.address.join(&["connectors"]);
        url.set_query(Some("expand=status&expand=info"));
        let answer = self.send(self.http.get(url), Answers::Soon).await?;
        // It may speak of any connector, and none of their secrets is known here.
        self.accepted(&answer, "list its connectors", None)?;
        let documents: BTreeMap<String, Document> = self.parse(&answer)?;
        let connectors = documents.into_iter().map(|(name, Document { info, status })| {
            let config = info.config;
            (name, Registered { config, status })
        });
        let connectors: Arc<Connectors> = Arc::new(connectors.collect());
        let mut seen = self.seen();
        // One that began later may have come sooner.
        if seen.last.as_ref().is_none_or(|(last, _)| *last < began) {
            seen.last = Some((began, Arc::clone(&connectors)));
            seen.changed.retain(|_, changed| *changed >= began);
        }
        Ok(connectors)
    }

    /// A connector as a recent look has it. None: it must be asked for by name, since we have changed it since then,
    /// or the look did not have it (Connect leaves out connectors that it has not started yet).
    pub(super) async fn recent(&self, name: &str) -> Result<Option<Registered>, Error> {
        if let Some(found) = self.remembered(name) {
            return Ok(found);
        }
        let looking = self.endpoint.alone(&self.looking).await;
        // Connect is slow. It may still be quick about a single connector.
        let Some(_looking) = looking.map_err(|no_answer| self.unanswered(no_answer))? else {
            return Ok(None);
        };
        // Another one may have looked meanwhile.
        if let Some(found) = self.remembered(name) {
            return Ok(found);
        }
        Ok(self.look().await?.get(name).cloned())
    }

    /// None: it is time for a look.
    fn remembered(&self, name: &str) -> Option<Option<Registered>> {
        let seen = self.seen();
        if seen.changed.contains_key(name) {
            return Some(None);
        }
        let (began, connectors) = seen.last.as_ref()?;
        (began.elapsed() < RECENT).then(|| connectors.get(name).cloned())
    }

    /// We have changed this connector.
    pub(super) fn changed(&self, name: &str) {
        self.seen().changed.insert(name.to_owned(), Instant::now());
    }

    /// A request that changes something: none without the lead, and none that lasts longer than it.
    pub(super) async fn change(&self, request: reqwest::RequestBuilder) -> Result<Answer, Error> {
        let answers = Answers::MayTakeLong;
        self.fence.check()?;
        let turn = self.turn(answers).await?;
        // Not before its turn: the wait for that is none of the request's time.
        let within = self.fence.within(deadline(answers))?;
        self.send_within(request, turn, answers, within).await
    }

    pub(super) async fn send(
        &self,
        request: reqwest::RequestBuilder,
        answers: Answers,
    ) -> Result<Answer, Error> {
        let turn = self.turn(answers).await?;
        self.send_within(request, turn, answers, deadline(answers)).await
    }

    async fn turn(&self, answers: Answers) -> Result<Turn<'_>, Error> {
        let turn = self.endpoint.turn(answers).await;
        turn.map_err(|no_answer| self.unanswered(no_answer))
    }

    fn unanswered(&self, no_answer: NoAnswer) -> Error {
        let address = self.address.to_string();
        match no_answer {
            NoAnswer::Busy => Error::Busy { address },
            NoAnswer::Silent(silence) => Error::Unreachable { address, silence },
        }
    }

    async fn send_within(
        &self,
        request: reqwest::RequestBuilder,
        turn: Turn<'_>,
        answers: Answers,
        deadline: Duration,
    ) -> Result<Answer, Error> {
        let request = async {
            let mut response = request.timeout(deadline).send().await?;
            let (status, mut body) = (response.status(), Vec::new());
            while let Some(chunk) = response.chunk().await? {
                // One byte more than what is allowed, for a clear message.
                if body.len() > LONGEST_ANSWER {
                    break;
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Answer { status, body })
        };
        let request = async {
            let start = Instant::now();
            let answer: Result<Answer, reqwest::Error> = request.await;
            let status = answer.as_ref().map(|answer| answer.status);
            let endpoint = self.address.to_string();
            self.external.observe_http("connect", &endpoint, &status, start);
            answer.map_err(|error| Unanswered {
                cause: cause(&error),
                telling: answers == Answers::Soon || error.is_connect(),
            })
        };
        let answer = turn.end(request.await);
        let answer = answer.map_err(|no_answer| self.unanswered(no_answer))?;
        if answer.body.len() > LONGEST_ANSWER {
            return Err(self.not_connect(format!("the answer is longer than {LONGEST_ANSWER} bytes")));
        }
        Ok(answer)
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Error> {
        // The position only: serde's message may quote a value.
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.not_connect(format!(
                "unexpected JSON at line {}, column {}",
                error.line(),
                error.column()
            ))
        })
    }

    /// Whether Connect did what it was asked for. What it says instead is shown behind a mask, and without one not at all.
    pub(super) fn accepted(
        &self,
        answer: &Answer,
        doing: &'static str,
        mask: Option<&Mask>,
    ) -> Result<(), Error> {
        let address = self.address.to_string();
        match (answer.status, answer.connect_error()) {
            (status, _) if status.is_success() => Ok(()),
            (StatusCode::CONFLICT, _) => Err(Error::Rebalancing { address }),
            (status, Some(message)) => Err(Error::Refused {
                address,
                doing,
                status: status.as_u16(),
                message: mask.map_or_else(
                    || "what it says is in its log, and not shown here since it may hold secrets".to_owned(),
                    |mask| cut(&mask.apply(&message), LONGEST_MESSAGE),
                ),
            }),
            (status, None) => {
                Err(self.not_connect(format!("status {status} without Connect's error message")))
            }
        }
    }

    fn not_connect(&self, cause: String) -> Error {
        Error::NotConnect {
            address: self.address.to_string(),
            cause,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic elsewhere cannot leave a half-made look behind.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
