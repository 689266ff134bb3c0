//! The resources that live through histories, and the services that they need.

use std::sync::Arc;

use axum::{Router, routing::get};
use futures::FutureExt;
use naru_api::{FilteredSum, ScrapeJob, SinkConnector};
use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

use crate::{
    controller::{Context, Pass},
    filtered_sum, kafka, scrape_job, sink_connector,
};

/// A resource, and what is done to it.
pub(super) struct Subject<K> {
    pub(super) kind: &'static str,
    pub(super) reconcile: fn(Arc<K>, Arc<Context>) -> Pass,
    /// JSON.
    pub(super) spec: &'static str,
    /// Fields below the spec, and their new values in JSON. With the first one it can work.
    pub(super) edits: [(&'static str, &'static str); 4],
    /// Topics that there are, with their partitions.
    pub(super) topics: &'static [(&'static str, i32)],
}

pub(super) const FILTERED_SUM: Subject<FilteredSum> = Subject {
    kind: filtered_sum::KIND,
    reconcile: |sum, context| filtered_sum::reconcile(sum, context).boxed(),
    spec: r#"{ "input": { "topic": "items" }, "filter": "price <= 1000", "sum": { "field": "price" },
        "output": { "topic": "totals" } }"#,
    edits: [
        ("/commitInterval", r#""200ms""#),
        ("/commitInterval", r#""100ms""#),
        ("/scaling", r#"{ "maxReplicas": 2 }"#),
        ("/deletionPolicy", r#""Delete""#),
    ],
    topics: &[("items", 3), ("totals", 3), ("naru.shop.it.sum.dead-letters", 1)],
};

pub(super) const SCRAPE_JOB: Subject<ScrapeJob> = Subject {
    kind: scrape_job::KIND,
    reconcile: |job, context| scrape_job::reconcile(job, context).boxed(),
    spec: r#"{ "source": { "urlTemplate": "https://example.org/product/{id}", "start": 1,
            "head": { "sitemap": { "url": "https://example.org/sitemap.xml", "pattern": "/product/(\\d+)" } } },
        "extract": { "fields": [{ "name": "id", "type": "long", "required": true, "from": [{ "url": "/product/(\\d+)" }] }] },
        "output": { "topic": "items", "key": "id" } }"#,
    edits: [
        ("/output/key", r#""id""#),
        ("/output/key", r#""nothing""#),
        ("/politeness", r#"{ "maxConcurrent": 2 }"#),
        ("/deletionPolicy", r#""Delete""#),
    ],
    topics: &[
        ("items", 3),
        ("naru.shop.it.fetcher.dead-letters", 1),
        ("naru.shop.it.frontier", 12),
        ("naru.shop.it.head", 1),
    ],
};

pub(super) const SINK_CONNECTOR: Subject<SinkConnector> = Subject {
    kind: sink_connector::KIND,
    reconcile: |sink, context| sink_connector::reconcile(sink, context).boxed(),
    spec: r#"{ "topics": ["items"], "mysql": { "url": "jdbc:mysql://mysql:3306/shop", "credentialsSecret": "mysql",
        "table": "items", "key": "seq" } }"#,
    edits: [
        ("/tasksMax", "2"),
        ("/mysql/table", r#""goods""#),
        ("/deletionPolicy", r#""Orphan""#),
        ("/deletionPolicy", r#""ResetOffsetsAndDelete""#),
    ],
    topics: &[("items", 3)],
};

/// What all operators share: brokers in memory with the one client of them, and a registry.
pub(super) struct Services {
    brokers: MockCluster<'static, DefaultProducerContext>,
    pub(super) kafka: Arc<kafka::Clusters>,
    /// Workers are told of it, and so it is the same in each life.
    pub(super) registry_url: String,
    _runtime: Runtime,
}

impl Services {
    pub(super) fn new(topics: &[(&str, i32)]) -> Self {
        let brokers = MockCluster::new(1).unwrap();
        for (topic, partitions) in topics {
            brokers.create_topic(topic, *partitions, 1).unwrap();
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let registry_url = format!("http://{}", listener.local_addr().unwrap());
        let registry = Router::new().route("/subjects", get(async || "[]"));
        runtime.spawn(async move { axum::serve(listener, registry).await });
        let kafka = Arc::<kafka::Clusters>::default();
        let names: Vec<_> = topics.iter().map(|(topic, _)| *topic).collect();
        kafka.get(&brokers.bootstrap_servers()).unwrap().trust(&names);
        Self {
            brokers,
            kafka,
            registry_url,
            _runtime: runtime,
        }
    }

    pub(super) fn bootstrap_servers(&self) -> String {
        self.brokers.bootstrap_servers()
    }
}
