//! Requests to what lies outside Kubernetes: Kafka, schema registries, Kafka Connect.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use super::{durations, lock};

/// An endpoint that nobody has asked for so long is of no resource any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// Time between two looks for such.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Endpoints with series of their own. They come from specs, and people may write many.
const MOST_ENDPOINTS: usize = 200;
/// The endpoint of all that are too many.
const OTHERS: &str = "other";

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Endpoint {
    /// `kafka`, `registry` or `connect`.
    system: &'static str,
    /// host:port, several separated by commas.
    endpoint: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Answered {
    system: &'static str,
    endpoint: String,
    /// `ok`, an HTTP status, or one word for why there was none.
    code: String,
}

/// Counts requests by endpoint and answer.
#[derive(Clone, Debug)]
pub struct External {
    answered: Family<Answered, Counter>,
    durations: Family<Endpoint, Histogram, fn() -> Histogram>,
    asked: Arc<Mutex<AllAsked>>,
}

#[derive(Debug, Default)]
struct AllAsked {
    by_endpoint: BTreeMap<Endpoint, Asked>,
    /// When the ones that nobody asks any more were last looked for.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Asked {
    last: Instant,
    codes: Vec<String>,
}

/// Counts for nobody.
impl Default for External {
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}

impl External {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let external = Self {
            answered: Family::default(),
            durations: Family::new_with_constructor(durations),
            asked: Arc::default(),
        };
        registry.register(
            "external_requests",
            "Requests to Kafka, schema registries and Kafka Connect, by answer",
            external.answered.clone(),
        );
        registry.register(
            "external_request_duration_seconds",
            "Time that Kafka, schema registries and Kafka Connect took to answer",
            external.durations.clone(),
        );
        external
    }

    /// Counts a request.
    ///
    /// `system` is `kafka`, `registry` or `connect`; `endpoint` is an address or bootstrap servers, of which only host
    /// and port are kept; `code` is `ok`, an HTTP status, or one word of a small set, such as `timeout`.
    pub fn observe(&self, system: &'static str, endpoint: &str, code: &str, took: Duration) {
        self.observe_at(system, endpoint, code, took, Instant::now());
    }

    /// Counts an HTTP request that began at `start`.
    pub fn observe_http(
        &self,
        system: &'static str,
        endpoint: &str,
        answer: &Result<reqwest::StatusCode, &reqwest::Error>,
        start: Instant,
    ) {
        let code = match answer {
            Ok(status) => status.as_str(),
            Err(error) if error.is_timeout() => "timeout",
            Err(error) if error.is_connect() => "unreachable",
            Err(_) => "error",
        };
        self.observe(system, endpoint, code, start.elapsed());
    }

    fn observe_at(&self, system: &'static str, endpoint: &str, code: &str, took: Duration, now: Instant) {
        let mut asked = lock(&self.asked);
        let mut endpoint = Endpoint {
            system,
            endpoint: hosts(endpoint),
        };
        let swept = |swept| now.saturating_duration_since(swept) < SWEEP_EVERY;
        if !asked.swept.is_some_and(swept) {
            asked.swept = Some(now);
            self.forget(&mut asked.by_endpoint, now);
        }
        let asked = &mut asked.by_endpoint;
        if !asked.contains_key(&endpoint) && asked.len() >= MOST_ENDPOINTS {
            OTHERS.clone_into(&mut endpoint.endpoint);
        }
        let entry = asked.entry(endpoint.clone()).or_insert_with(|| Asked {
            last: now,
            codes: Vec::new(),
        });
        entry.last = now;
        if !entry.codes.iter().any(|known| known == code) {
            entry.codes.push(code.to_owned());
        }
        self.answered.get_or_create(&answered(&endpoint, code)).inc();
        self.durations
            .get_or_create(&endpoint)
            .observe(took.as_secs_f64());
    }

    fn forget(&self, asked: &mut BTreeMap<Endpoint, Asked>, now: Instant) {
        asked.retain(|endpoint, asked| {
            let keep = now.saturating_duration_since(asked.last) < FORGOTTEN_AFTER;
            if !keep {
                self.durations.remove(endpoint);
                for code in &asked.codes {
                    self.answered.remove(&answered(endpoint, code));
                }
            }
            keep
        });
    }
}

fn answered(endpoint: &Endpoint, code: &str) -> Answered {
    Answered {
        system: endpoint.system,
        endpoint: endpoint.endpoint.clone(),
        code: code.to_owned(),
    }
}

/// Host and port of each address: no scheme, no path, and above all no credentials. Pure.
fn hosts(endpoint: &str) -> String {
    let host = |address: &str| {
        let authority = address.split_once("://").map_or(address, |(_, rest)| rest);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        host.trim().to_owned()
    };
    endpoint.split(',').map(host).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn an_endpoint_is_host_and_port_without_credentials() {
        let cases = [
            ("http://connect:8083", "connect:8083"),
            (
                "https://ada:geheim@connect:8083/path?token=geheim",
                "connect:8083",
            ),
            (
                "https://registry.example.org/apis/ccompat/v7",
                "registry.example.org",
            ),
            ("kafka-0:9092, kafka-1:9092", "kafka-0:9092,kafka-1:9092"),
            ("http://[::1]:8083/", "[::1]:8083"),
            ("http://ada:p@ss@connect", "connect"),
        ];
        for (address, expected) in cases {
            assert_eq!(hosts(address), expected, "{address}");
        }
    }

    #[test]
    fn endpoints_without_end_share_one_series_and_a_forgotten_one_makes_room() {
        let mut registry = Registry::default();
        let external = External::new(&mut registry);
        let start = Instant::now();
        for i in 0..2 * MOST_ENDPOINTS {
            external.observe_at("connect", &format!("http://c{i}"), "200", Duration::ZERO, start);
        }
        let series = text(&registry).matches("external_requests_total{").count();
        assert_eq!(series, MOST_ENDPOINTS + 1);
        assert!(text(&registry).contains("endpoint=\"other\",code=\"200\"} 200\n"));
        let later = start + FORGOTTEN_AFTER;
        // Nothing new need be asked for that.
        external.observe_at("connect", "http://c0", "timeout", Duration::ZERO, later);
        let left = text(&registry);
        assert_eq!(left.matches("external_requests_total{").count(), 1, "{left}");
        assert!(left.contains("{system=\"connect\",endpoint=\"c0\",code=\"timeout\"} 1\n"));
        assert_eq!(
            left.matches("external_request_duration_seconds_count{").count(),
            1,
            "{left}"
        );
    }
}
