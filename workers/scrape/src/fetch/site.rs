//! One page after another, each to its end: a record, a dead letter, or gone.

use std::sync::Arc;

use naru_contract::Retry;
use naru_rules::extract::{Missing, Value};
use naru_worker_core::avro::wire;
use naru_worker_core::kafka::config::MAX_RECORD_BYTES;
use reqwest::{Url, header};
use tracing::debug;

use super::answer::{Meaning, doubt, meaning};
use super::charset;
use super::metrics::Metrics;
use super::outcome::{Outcome, Settled};
use crate::body::{self, BodyError};
use crate::job::FetchJob;
use crate::polite::{self, Answer, AskError, Part};
use crate::retry::{Attempts, Next};

/// Largest body of a page after decompression, bytes.
const LARGEST: usize = 8 << 20;

/// The pages of the site, as one fetcher asks for them.
pub(super) struct Pages {
    job: Arc<FetchJob>,
    schema_id: u32,
    site: Arc<polite::Site>,
    retry: Retry,
    metrics: Metrics,
}

/// Why a page did not settle at one attempt.
enum Trouble {
    /// Another attempt may help.
    Passing(String),
    /// The site wants to be left alone for a while, and will be.
    Held(String),
}

impl Pages {
    pub(super) fn new(
        job: Arc<FetchJob>,
        schema_id: u32,
        site: Arc<polite::Site>,
        retry: Retry,
        metrics: Metrics,
    ) -> Self {
        Self {
            job,
            schema_id,
            site,
            retry,
            metrics,
        }
    }

    /// To be called when partitions come or go.
    pub(super) fn set_part(&self, assigned: usize, all: usize) {
        self.site.set_part(Part::Fetcher { assigned, all });
        self.metrics
            .requests_under_way
            .set(self.site.requests_under_way().into());
    }

    /// Asks for page `id`, as often and as late as it takes. Safe to cancel.
    pub(super) async fn settle(&self, id: u64) -> Settled {
        let url = self.job.template.url(id);
        if let Err(refusal) = self.site.allows(&url).await {
            let reason = refusal.to_string();
            return Settled {
                id,
                url,
                attempts: 0,
                outcome: Outcome::DeadLetter { reason },
            };
        }
        let mut attempts = 0;
        let mut tried = Attempts::new(&self.retry);
        let outcome = loop {
            attempts += 1;
            let trouble = match self.attempt(&url).await {
                Ok(outcome) => break outcome,
                Err(trouble) => trouble,
            };
            let (Trouble::Held(reason) | Trouble::Passing(reason)) = &trouble;
            match tried.failed(matches!(trouble, Trouble::Held(_))) {
                Next::Free => debug!(id, %reason, "waiting for the site"),
                Next::After(delay) => {
                    self.metrics.retries.inc();
                    debug!(id, %reason, ?delay, "trying again");
                    tokio::time::sleep(delay).await;
                }
                Next::GiveUp => {
                    break Outcome::DeadLetter {
                        reason: reason.clone(),
                    };
                }
            }
        };
        Settled {
            id,
            url,
            attempts,
            outcome,
        }
    }

    /// The outcome of an id whose page made [`Self::settle`] panic.
    pub(super) fn broke_on(&self, id: u64) -> Settled {
        tracing::error!(
            id,
            "reading a page broke the program: its id becomes a dead letter"
        );
        Settled {
            id,
            url: self.job.template.url(id),
            attempts: 1,
            outcome: Outcome::DeadLetter {
                reason: "reading the page broke the program, which is a fault of naru's".to_owned(),
            },
        }
    }

    async fn attempt(&self, url: &Url) -> Result<Outcome, Trouble> {
        let answer = match self.site.get(url).await {
            Ok(answer) => answer,
            // Sites also redirect who asks too much, to a page that is none of ours.
            Err(AskError::Refused { source }) => {
                return Err(Trouble::Passing(format!(
                    "it redirects where nothing may be asked for: {source}"
                )));
            }
            Err(error) => {
                self.metrics.count_answer(None);
                return Err(Trouble::Passing(error.to_string()));
            }
        };
        let Answer {
            response,
            held,
            permit,
        } = answer;
        let status = response.status();
        self.metrics.count_answer(Some(status));
        match meaning(status) {
            Meaning::Page => {}
            Meaning::Gone => return Ok(Outcome::Gone),
            Meaning::GiveUp => {
                return Ok(Outcome::DeadLetter {
                    reason: format!("the site answered {status}"),
                });
            }
            Meaning::TryAgain => {
                let reason = format!("the site answered {status}");
                return Err(if held {
                    Trouble::Held(reason)
                } else {
                    Trouble::Passing(reason)
                });
            }
        }
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let content_type = header(header::CONTENT_TYPE);
        let body = match body::read(response, LARGEST).await {
            Ok(body) => body,
            Err(error @ BodyError::TooLarge { .. }) => {
                return Ok(Outcome::DeadLetter {
                    reason: error.to_string(),
                });
            }
            Err(error) => return Err(Trouble::Passing(error.to_string())),
        };
        drop(permit);
        self.read(&charset::decode(&body, content_type.as_deref()), url)
    }

    /// What the text of a page says.
    fn read(&self, text: &str, url: &Url) -> Result<Outcome, Trouble> {
        let record = match self.job.extractor.extract(text, url.as_str()) {
            Ok(record) => record,
            Err(missing) => {
                if let Some(doubt) = doubt(text) {
                    return Err(Trouble::Passing(doubt.to_owned()));
                }
                let Missing { page_is_empty, .. } = missing;
                return Ok(if page_is_empty {
                    Outcome::Gone
                } else {
                    Outcome::DeadLetter {
                        reason: missing.to_string(),
                    }
                });
            }
        };
        let key = record
            .get(self.job.key)
            .and_then(Option::as_ref)
            .and_then(Value::as_key);
        let Some(key) = key else {
            return Ok(Outcome::DeadLetter {
                reason: "the record has no key".to_owned(),
            });
        };
        let datum = match self.job.schema.encode(record) {
            Ok(datum) => datum,
            Err(error) => {
                return Ok(Outcome::DeadLetter {
                    reason: naru_worker_core::run::chain(&error),
                });
            }
        };
        let value = wire::encode(self.schema_id, &datum);
        let size = key.len() + value.len();
        if size > MAX_RECORD_BYTES {
            let reason = format!("the record has {size} bytes, more than {MAX_RECORD_BYTES}");
            return Ok(Outcome::DeadLetter { reason });
        }
        Ok(Outcome::Record {
            key: key.into_bytes(),
            value,
        })
    }
}
