//! What the operator was started with. No client in here: the pure phases take it.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use clap::Parser;

use crate::{connect::Address, controller::Error};

/// Flags, each with an environment variable; the chart sets the latter.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "naru-operator",
    version,
    about = "Turns pipelines declared in YAML into workers and connectors."
)]
pub struct Settings {
    /// Kafka brokers of resources that name none: host:port, separated by commas.
    #[arg(long, env = "NARU_KAFKA_BOOTSTRAP_SERVERS")]
    pub kafka_bootstrap_servers: Option<String>,
    /// Schema registry (Confluent API) of resources that name none.
    #[arg(long, env = "NARU_REGISTRY_URL")]
    pub registry_url: Option<String>,
    /// Kafka Connect of resources that name none.
    #[arg(long, env = "NARU_CONNECT_URL")]
    pub connect_url: Option<String>,
    /// The only namespace that is looked after. Not given: all of them.
    #[arg(long, env = "NARU_NAMESPACE")]
    pub namespace: Option<String>,
    /// Image of the workers.
    #[arg(long, env = "NARU_WORKER_IMAGE")]
    pub worker_image: String,
    /// `imagePullPolicy` of the workers.
    #[arg(long, env = "NARU_WORKER_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub worker_image_pull_policy: String,
    /// Secrets that the workers' image is pulled with, separated by commas. Each namespace with workers has its own of
    /// these names.
    #[arg(long, env = "NARU_WORKER_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub worker_image_pull_secrets: Vec<String>,
    /// Log filter of the workers, as for the operator's own `RUST_LOG`.
    #[arg(long, env = "NARU_WORKER_LOG", default_value = "info")]
    pub worker_log: String,
    /// Address for /livez, /readyz and /metrics.
    #[arg(long, env = "NARU_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// File with the log filter, as in `RUST_LOG`. It wins over that, and is followed while the operator runs.
    #[arg(long, env = "NARU_LOG_FILE")]
    pub log_file: Option<PathBuf>,
    /// Time between two looks at the consumer lag, 1s to 1h.
    #[arg(long, env = "NARU_AUTOSCALE_EVERY", default_value = "5s", value_parser = time_between_looks)]
    pub autoscale_every: Duration,
    /// How long fewer workers must have been enough before there are fewer.
    #[arg(long, env = "NARU_SCALE_IN_AFTER", default_value = "5m", value_parser = humantime::parse_duration)]
    pub scale_in_after: Duration,
    /// Time after which a resource is looked at although nothing told that it changed, 1s to 1h.
    #[arg(long, env = "NARU_RESYNC", default_value = "30s", value_parser = time_between_looks)]
    pub resync: Duration,
    /// Whether to work only while holding the Lease, since other operators want to work as well.
    #[arg(long, env = "NARU_LEADER_ELECT")]
    pub leader_elect: bool,
    /// The Lease, in the operator's own namespace.
    #[arg(long, env = "NARU_LEASE_NAME", default_value = "naru-operator")]
    pub lease_name: String,
    /// How long others leave a Lease alone that is not renewed, 5s to 5m. The operator stops after 7/10 of it.
    #[arg(long, env = "NARU_LEASE_DURATION", default_value = "10s", value_parser = lease_duration)]
    pub lease_duration: Duration,
}

fn lease_duration(text: &str) -> Result<Duration, String> {
    duration(text, 5..=300, "must be from 5s to 5m")
}

fn time_between_looks(text: &str) -> Result<Duration, String> {
    duration(text, 1..=3600, "must be from 1s to 1h")
}

fn duration(text: &str, seconds: RangeInclusive<u64>, expected: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_secs(*seconds.start())..=Duration::from_secs(*seconds.end());
    if range.contains(&duration) {
        Ok(duration)
    } else {
        Err(expected.to_owned())
    }
}

impl Settings {
    /// What is wrong with the defaults, which nobody else checks: those of a resource the API server has seen. Says
    /// nothing of their text, which may hold a password.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |what: &str, value: &str, problem: String| {
            Err(format!(
                "the default {what} (the chart's value defaults.{value}) cannot be used: {problem}"
            ))
        };
        if let Some(url) = &self.registry_url {
            let (what, value) = ("schema registry", "registry.url");
            if let Err(problem) = Address::parse(url) {
                return wrong(what, value, format!("it is no address: {problem}"));
            }
            if url.contains('@') {
                let problem =
                    "it has credentials in it, which the ConfigMaps of all workers would show; remove them";
                return wrong(what, value, problem.to_owned());
            }
        }
        if let Some(Err(problem)) = self.connect_url.as_deref().map(Address::parse) {
            return wrong(
                "Kafka Connect",
                "connect.url",
                format!("it is no address: {problem}"),
            );
        }
        let brokers = self
            .kafka_bootstrap_servers
            .iter()
            .flat_map(|brokers| brokers.split(','));
        let is_broker = |broker: &str| {
            let parts = broker.rsplit_once(':');
            parts.is_some_and(|(host, port)| {
                !host.is_empty() && !host.contains(['@', '/', ' ']) && port.parse::<u16>().is_ok()
            })
        };
        if !brokers.into_iter().all(is_broker) {
            let problem = "expected host:port of one or more brokers, separated by commas";
            return wrong("Kafka cluster", "kafka.bootstrapServers", problem.to_owned());
        }
        Ok(())
    }

    /// The brokers that a resource names, or the default ones.
    pub fn bootstrap_servers(&self, own: Option<&String>) -> Result<String, Error> {
        own.or(self.kafka_bootstrap_servers.as_ref())
            .cloned()
            .ok_or_else(|| missing("kafka.bootstrapServers", "defaults.kafka.bootstrapServers"))
    }

    /// The registry that a resource names, or the default one.
    pub fn registry_url(&self, own: Option<&String>) -> Result<String, Error> {
        own.or(self.registry_url.as_ref())
            .cloned()
            .ok_or_else(|| missing("registry.url", "defaults.registry.url"))
    }

    /// The Connect cluster that a resource names, or the default one.
    pub fn connect_url(&self, own: Option<&String>) -> Result<String, Error> {
        own.or(self.connect_url.as_ref())
            .cloned()
            .ok_or_else(|| missing("connect.url", "defaults.connect.url"))
    }
}

fn missing(field: &str, value: &str) -> Error {
    Error::invalid(format!(
        "spec.{field} is not set and there is no default: set it, or the chart's value {value}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flag: &str, value: &str) -> Result<(), String> {
        Settings::parse_from(["naru-operator", "--worker-image", "w", flag, value]).check()
    }

    #[test]
    fn a_default_with_credentials_is_refused_without_showing_them() {
        let refused = check("--registry-url", "http://ada:geheim@registry:8081").unwrap_err();
        assert!(
            refused.contains("defaults.registry.url") && refused.contains("credentials"),
            "{refused}"
        );
        assert!(
            !refused.contains("geheim") && !refused.contains("ada"),
            "{refused}"
        );
    }

    #[test]
    fn times_between_looks_without_end_or_pause_are_refused() {
        for flag in ["--resync", "--autoscale-every"] {
            let parse =
                |value| Settings::try_parse_from(["naru-operator", "--worker-image", "w", flag, value]);
            for value in ["1s", "1m30s", "1h"] {
                assert!(parse(value).is_ok(), "{flag} {value}");
            }
            for value in ["0s", "999ms", "61m"] {
                let refused = parse(value).unwrap_err().to_string();
                assert!(refused.contains("must be from 1s to 1h"), "{refused}");
            }
        }
    }

    #[test]
    fn defaults_that_are_no_addresses_are_refused_at_the_start() {
        for (flag, value) in [
            ("--registry-url", "registry:8081"),
            ("--registry-url", "ftp://registry"),
            ("--connect-url", "http://ada:geheim@:x"),
            ("--kafka-bootstrap-servers", "kafka"),
            ("--kafka-bootstrap-servers", "kafka:9092,,"),
            ("--kafka-bootstrap-servers", "ada:geheim@kafka:9092"),
            ("--kafka-bootstrap-servers", "PLAINTEXT://kafka:9092"),
        ] {
            let refused = check(flag, value).unwrap_err();
            assert!(refused.contains("the chart's value defaults."), "{refused}");
            assert!(!refused.contains("geheim"), "{refused}");
        }
        for (flag, value) in [
            ("--registry-url", "http://registry:8081/apis"),
            ("--connect-url", "https://ada:geheim@connect:8083"),
            ("--kafka-bootstrap-servers", "kafka-0:9092,kafka-1:9092"),
        ] {
            assert_eq!(check(flag, value), Ok(()));
        }
    }
}
