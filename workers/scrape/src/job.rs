//! The contract document, checked and compiled.

use std::time::Duration;

use naru_contract::{Politeness, Retry, ScrapeWorker};
use naru_rules::extract::{AvroError, CompileError, Extractor, FieldType, RecordSchema, compile};
use naru_rules::url_template::{UrlTemplate, UrlTemplateError};
use regex::Regex;
use reqwest::{Client, Url, redirect};
use snafu::{OptionExt, ResultExt, Snafu, ensure};

const CONNECT: Duration = Duration::from_secs(5);

/// Why a job cannot be worked on until its spec is changed.
#[derive(Debug, Snafu)]
pub enum JobError {
    #[snafu(transparent)]
    Template { source: UrlTemplateError },
    #[snafu(transparent)]
    Rules { source: CompileError },
    #[snafu(transparent)]
    Schema { source: AvroError },
    #[snafu(display("output.key is {key:?}, which is none of the fields"))]
    NoKey { key: String },
    #[snafu(display("output.key is field {key:?}, which must be required and not a list"))]
    BadKey { key: String },
    #[snafu(display("head.url {url:?} is not a URL"))]
    HeadUrl { source: url::ParseError, url: String },
    #[snafu(display("head.pattern {pattern:?} does not parse"))]
    HeadPattern { source: regex::Error, pattern: String },
    #[snafu(display("head.pattern {pattern:?} has no group, expected one around the id"))]
    HeadGroup { pattern: String },
    #[snafu(display("{field} is {found}, expected {expected}"))]
    Limit {
        field: &'static str,
        found: String,
        expected: &'static str,
    },
    #[snafu(display("unable to create an HTTP client"))]
    CreateClient { source: reqwest::Error },
}

/// What a fetcher needs of a job.
#[derive(Debug)]
pub struct FetchJob {
    pub template: UrlTemplate,
    pub extractor: Extractor,
    pub schema: RecordSchema,
    /// Position of the key's field.
    pub key: usize,
}

/// What a planner needs of a job.
#[derive(Debug)]
pub struct PlanJob {
    pub head: Url,
    /// robots.txt of the head's site.
    pub robots: Url,
    pub pattern: Regex,
    pub retry: Retry,
}

impl FetchJob {
    pub fn new(config: &ScrapeWorker) -> Result<Self, JobError> {
        let template = UrlTemplate::parse(&config.source.url_template)?;
        let extractor = compile(&config.fields)?;
        let key = &config.output.key;
        let position = config.fields.iter().position(|field| field.name == *key);
        let position = position.context(NoKeySnafu { key })?;
        let field = &config.fields[position];
        ensure!(
            field.required && field.field_type != FieldType::StringArray,
            BadKeySnafu { key }
        );
        let rate = config.politeness.max_requests_per_second;
        ensure!(
            rate.is_finite() && rate > 0.0,
            LimitSnafu {
                field: "politeness.maxRequestsPerSecond",
                found: rate.to_string(),
                expected: "a number above 0"
            }
        );
        let schema = RecordSchema::new(&config.output.topic, &config.fields)?;
        Ok(Self {
            template,
            extractor,
            schema,
            key: position,
        })
    }
}

impl PlanJob {
    pub fn new(config: &ScrapeWorker) -> Result<Self, JobError> {
        let head = &config.source.head;
        let url = Url::parse(&head.url).context(HeadUrlSnafu { url: &head.url })?;
        let pattern = Regex::new(&head.pattern).context(HeadPatternSnafu {
            pattern: &head.pattern,
        })?;
        ensure!(
            pattern.captures_len() > 1,
            HeadGroupSnafu {
                pattern: &head.pattern
            }
        );
        ensure!(
            config.frontier.range_size > 0,
            LimitSnafu {
                field: "frontier.rangeSize",
                found: "0",
                expected: "at least 1"
            }
        );
        let robots = url.join("/robots.txt").context(HeadUrlSnafu { url: &head.url })?;
        Ok(Self {
            head: url,
            robots,
            pattern,
            retry: config.retry.clone(),
        })
    }
}

/// A client that says who it is and waits no longer than the job wants. It follows no redirects: see
/// [`crate::polite`].
pub fn client(politeness: &Politeness) -> Result<Client, JobError> {
    Client::builder()
        .user_agent(&politeness.user_agent)
        .connect_timeout(CONNECT)
        .timeout(Duration::from_millis(politeness.request_timeout_ms))
        .redirect(redirect::Policy::none())
        .build()
        .context(CreateClientSnafu)
}
