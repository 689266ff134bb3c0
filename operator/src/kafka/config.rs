//! Whether a topic that was there keeps what is written to it for as long as the workers need it.
//!
//! A topic of ours is created so. One that somebody else made, by hand or by letting brokers make topics of themselves,
//! has the brokers' defaults, and those delete after a week: positions and waiting ranges would go, and pages be fetched
//! twice or never.

use std::time::{Duration, Instant};

use rdkafka::{
    admin::{AdminOptions, ConfigResource, ResourceSpecifier},
    error::KafkaError,
    types::RDKafkaErrorCode,
};

use super::{Cluster, DEADLINE, Error, MisconfiguredSnafu, RefusedSnafu, TopicSpec};

/// What decides which records are deleted. Other configuration is a matter of cost.
const VITAL: [&str; 2] = ["cleanup.policy", "retention.ms"];
/// How long it is remembered that a topic is as it must be, or that nobody says. People change that rarely.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Topics that are remembered at once. More than that, and the ones of long ago are looked for.
const MANY: usize = 4096;

impl Cluster {
    /// Refuses a topic that loses what the workers need.
    pub(super) async fn check_config(&self, topic: &TopicSpec) -> Result<(), Error> {
        let now = Instant::now();
        if vital(topic).next().is_none() || self.remembers(topic, now) {
            return Ok(());
        }
        let turn = self.turn().await?;
        let (specifier, options) = (
            [ResourceSpecifier::Topic(&topic.name)],
            AdminOptions::new().request_timeout(Some(DEADLINE)),
        );
        let request = async {
            match self.admin.get().describe_configs(&specifier, &options).await {
                // Brokers that cannot be asked are no silent ones.
                Err(KafkaError::AdminOp(RDKafkaErrorCode::UnsupportedFeature)) => Ok(Vec::new()),
                answer => answer,
            }
        };
        match self.ask(turn, request).await?.first() {
            Some(Ok(found)) => {
                if let Some((key, found, expected)) = wrong(topic, found) {
                    return MisconfiguredSnafu {
                        topic: &topic.name,
                        key,
                        found,
                        expected,
                    }
                    .fail();
                }
            }
            // Who may not look has to know.
            None
            | Some(Err(
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
            )) => tracing::debug!(topic = topic.name, "the configuration of a topic cannot be seen"),
            // It was made, or deleted, a moment ago. The next pass sees.
            Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition)) => return Ok(()),
            Some(Err(code)) => {
                return RefusedSnafu {
                    bootstrap_servers: &self.bootstrap_servers,
                    doing: format!("show the configuration of topic {:?}", topic.name),
                    code: *code,
                }
                .fail();
            }
        }
        let mut checked = self.checked();
        if checked.len() >= MANY {
            checked.retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED);
        }
        checked.insert(topic.name.clone(), now);
        Ok(())
    }

    /// As if the configuration of these topics had been seen to be right. Brokers in memory do not know the question.
    #[cfg(test)]
    pub(crate) fn trust(&self, topics: &[&str]) {
        let trusted = topics.iter().map(|topic| ((*topic).to_owned(), Instant::now()));
        self.checked().extend(trusted);
    }

    fn remembers(&self, topic: &TopicSpec, now: Instant) -> bool {
        let checked = self.checked();
        let at = checked.get(&topic.name);
        at.is_some_and(|at| now.saturating_duration_since(*at) < REMEMBERED)
    }
}

fn vital(topic: &TopicSpec) -> impl Iterator<Item = (&'static str, &'static str)> {
    let entries = topic.config.iter().map(|(key, value)| (*key, *value));
    entries.filter(|(key, _)| VITAL.contains(key))
}

/// The key, what it is, and what it must be. Pure.
fn wrong(topic: &TopicSpec, found: &ConfigResource) -> Option<(&'static str, String, &'static str)> {
    vital(topic).find_map(|(key, expected)| {
        let value = found.get(key)?.value.clone()?;
        (value != expected).then_some((key, value, expected))
    })
}
