//! The names of everything that belongs to a resource, derived from its namespace and name.
//!
//! Names in Kafka carry the namespace, since a Kafka cluster knows none. The API server has bounded the name
//! (52 characters at most), so each result is within its limit: 63 for Kubernetes, 249 for Kafka.

/// Names that a resource gives to what it owns.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
}

impl Names<'_> {
    fn in_kafka(self, what: &str) -> String {
        format!("naru.{}.{}.{what}", self.namespace, self.name)
    }

    /// Topic of the ranges that a ScrapeJob's fetchers work on.
    pub fn frontier_topic(self) -> String {
        self.in_kafka("frontier")
    }

    /// Topic of a ScrapeJob's newest planned id.
    pub fn head_topic(self) -> String {
        self.in_kafka("head")
    }

    /// Topic of what a ScrapeJob could not make a record of.
    pub fn fetcher_dead_letter_topic(self) -> String {
        self.in_kafka("fetcher.dead-letters")
    }

    /// Topic of what a FilteredSum could not sum.
    pub fn sum_dead_letter_topic(self) -> String {
        self.in_kafka("sum.dead-letters")
    }

    /// Topic of what a SinkConnector could not read.
    pub fn sink_dead_letter_topic(self) -> String {
        self.in_kafka("sink.dead-letters")
    }

    /// Consumer group of a ScrapeJob's fetchers.
    pub fn fetcher_group(self) -> String {
        self.in_kafka("fetcher")
    }

    /// Consumer group of a FilteredSum's workers.
    pub fn sum_group(self) -> String {
        self.in_kafka("sum")
    }

    /// Name under which a SinkConnector is registered with Connect.
    pub fn connector(self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// Deployment of a ScrapeJob's planner.
    pub fn planner(self) -> String {
        format!("{}-planner", self.name)
    }

    /// Deployment of a ScrapeJob's fetchers.
    pub fn fetcher(self) -> String {
        format!("{}-fetcher", self.name)
    }

    /// ConfigMap of a ScrapeJob's planner and fetchers.
    pub fn scrape_config(self) -> String {
        format!("{}-scrape", self.name)
    }

    /// Deployment and ConfigMap of a FilteredSum's workers.
    pub fn sum(self) -> String {
        format!("{}-sum", self.name)
    }
}
