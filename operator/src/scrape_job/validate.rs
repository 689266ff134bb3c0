//! What can be wrong with a ScrapeJob that a schema cannot see. Pure: no client.

use std::collections::BTreeSet;

use kube::ResourceExt;
use naru_api::{Robots, Rollout, ScrapeJob, ScrapeJobSpec, Start};
use naru_contract as contract;
use naru_rules::{extract, url_template::UrlTemplate};

use crate::{autoscale::times, controller::Error, names::Names, settings::Settings, worker::Parent};

/// A ScrapeJob that can work.
#[derive(Clone, Debug)]
pub struct ValidScrapeJob {
    pub parent: Parent,
    pub rollout: Rollout,
    pub bootstrap_servers: String,
    pub registry_url: String,
    /// Partitions that the output topic is created with.
    pub output_partitions: i32,
    /// Partitions of the frontier: the most fetchers that can work at once.
    pub frontier_partitions: i32,
    /// The Avro schema of the records, as JSON. The fetchers register the same one.
    pub schema: String,
    /// What the workers are told.
    pub document: contract::ScrapeWorker,
}

impl ValidScrapeJob {
    /// What its topics and workers are called.
    pub fn names(&self) -> Names<'_> {
        Names {
            namespace: &self.parent.namespace,
            name: &self.parent.name,
        }
    }
}

/// The most fetchers that the spec allows at any time.
pub fn most_fetchers(spec: &ScrapeJobSpec) -> i32 {
    spec.scaling.most_replicas().min(polite_fetchers(spec))
}

/// The most fetchers that the politeness allows: each needs a request of its own under way, and so does the planner.
pub fn polite_fetchers(spec: &ScrapeJobSpec) -> i32 {
    let requests = i32::try_from(spec.politeness.max_concurrent).unwrap_or(i32::MAX);
    (requests - 1).max(1)
}

/// Compiles all rules of the spec and fills in the defaults.
pub fn validate(settings: &Settings, job: &ScrapeJob) -> Result<ValidScrapeJob, Error> {
    let spec = &job.spec;
    let parent = Parent::of(job);
    let names = Names {
        namespace: &parent.namespace,
        name: &parent.name,
    };
    UrlTemplate::parse(&spec.source.url_template)
        .map_err(|error| Error::invalid(format!("source.urlTemplate: {}", chain(&error))))?;
    validate_pattern(&spec.source.head.sitemap.pattern)?;
    validate_fields(spec)?;
    times::check(&spec.scaling)?;
    let schema = extract::RecordSchema::new(&spec.output.topic, &spec.extract.fields)
        .map_err(|error| Error::invalid(format!("extract.fields: {}", chain(&error))))?;
    let kafka = spec.kafka.as_ref().map(|kafka| &kafka.bootstrap_servers);
    let registry = spec.registry.as_ref().map(|registry| &registry.url);
    let bootstrap_servers = settings.bootstrap_servers(kafka)?;
    let registry_url = settings.registry_url(registry)?;
    let document = contract::ScrapeWorker {
        job: format!("{}/{}", parent.namespace, job.name_any()),
        kafka: contract::Kafka {
            bootstrap_servers: bootstrap_servers.clone(),
            properties: Default::default(),
        },
        registry: contract::Registry {
            url: registry_url.clone(),
        },
        source: source(spec),
        frontier: contract::Frontier {
            topic: names.frontier_topic(),
            head_topic: names.head_topic(),
            group: names.fetcher_group(),
            range_size: spec.source.range_size.into(),
        },
        politeness: contract::Politeness {
            max_requests_per_second: spec.politeness.max_requests_per_second,
            max_concurrent: spec.politeness.max_concurrent,
            respect_robots: spec.politeness.robots == Robots::Respect,
            user_agent: spec.politeness.user_agent.clone(),
            request_timeout_ms: spec.politeness.request_timeout.as_millis(),
        },
        retry: contract::Retry {
            fixed_times: spec.retry.fixed.times,
            fixed_delay_ms: spec.retry.fixed.delay.as_millis(),
            exponential_times: spec.retry.exponential.times,
            exponential_base_ms: spec.retry.exponential.base.as_millis(),
            exponential_max_ms: spec.retry.exponential.max.as_millis(),
        },
        fields: spec.extract.fields.clone(),
        output: contract::Output {
            topic: spec.output.topic.clone(),
            key: spec.output.key.clone(),
            dead_letter_topic: names.fetcher_dead_letter_topic(),
        },
    };
    Ok(ValidScrapeJob {
        rollout: spec.rollout.clone(),
        bootstrap_servers,
        registry_url,
        output_partitions: spec.output.partitions,
        frontier_partitions: most_fetchers(spec),
        schema: schema.json().to_owned(),
        document,
        parent,
    })
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn source(spec: &ScrapeJobSpec) -> contract::Source {
    contract::Source {
        url_template: spec.source.url_template.clone(),
        start: match spec.source.start {
            Start::Latest => contract::Start::Latest,
            Start::Id(id) => contract::Start::Id(id),
        },
        head: contract::Head {
            url: spec.source.head.sitemap.url.clone(),
            pattern: spec.source.head.sitemap.pattern.clone(),
            every_ms: spec.source.head.every.as_millis(),
        },
    }
}

fn validate_pattern(pattern: &str) -> Result<(), Error> {
    let field = "source.head.sitemap.pattern";
    let regex = regex::Regex::new(pattern).map_err(|error| {
        // The message shows the pattern over several lines and names the reason in the last.
        let message = error.to_string();
        let reason = message
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        Error::invalid(format!(
            "{field}: regular expression {pattern:?} does not parse: {reason}"
        ))
    })?;
    if regex.captures_len() < 2 {
        return Err(Error::invalid(format!(
            "{field} {pattern:?} has no group: put the id in brackets, as in /product/(\\d+)"
        )));
    }
    Ok(())
}

fn validate_fields(spec: &ScrapeJobSpec) -> Result<(), Error> {
    let fields = &spec.extract.fields;
    extract::compile(fields).map_err(|error| Error::invalid(format!("extract.fields: {error}")))?;
    let mut seen = BTreeSet::new();
    if let Some(double) = fields.iter().find(|field| !seen.insert(&field.name)) {
        return Err(Error::invalid(format!(
            "extract.fields: there are two fields with the name {:?}",
            double.name
        )));
    }
    let key = &spec.output.key;
    match fields.iter().find(|field| field.name == *key) {
        Some(field) if field.required => Ok(()),
        Some(_) => Err(Error::invalid(format!(
            "output.key: field {key:?} is not required, and a record needs a key"
        ))),
        None => {
            let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
            Err(Error::invalid(format!(
                "output.key: there is no field {key:?}, only {}",
                names.join(", ")
            )))
        }
    }
}
