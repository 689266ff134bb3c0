//! Whole passes against an API server in memory, brokers in memory and a registry on loopback.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    routing::{get, post},
};
use k8s_openapi::api::apps::v1::Deployment;
use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};
use serde_json::{Value, json};

use super::*;
use crate::controller::{Context, fake::Memory};

const JOB: &str = "/apis/naru.dev/v1alpha1/namespaces/shop/scrapejobs/joongna";
const FETCHER: &str = "/apis/apps/v1/namespaces/shop/deployments/joongna-fetcher";

struct World {
    context: Arc<Context>,
    api: Memory,
    _brokers: MockCluster<'static, DefaultProducerContext>,
}

impl World {
    /// With the example's job, which nobody has looked at yet. The registry holds the schema `price: long` of its
    /// output topic, and takes no required field beside it.
    async fn new() -> Self {
        let brokers = MockCluster::new(1).unwrap();
        for (topic, partitions) in [
            ("joongna.items", 4),
            ("naru.shop.joongna.fetcher.dead-letters", 1),
            ("naru.shop.joongna.frontier", 12),
            ("naru.shop.joongna.head", 1),
        ] {
            brokers.create_topic(topic, partitions, 1).unwrap();
        }
        let verdict = |Json(question): Json<Value>| async move {
            let schema: Value = serde_json::from_str(question["schema"].as_str().unwrap()).unwrap();
            let fields = schema["fields"].as_array().unwrap();
            let seller = fields.iter().find(|field| field["name"] == "seller");
            let compatible = seller.is_none_or(|seller| seller["type"].is_array());
            Json(json!({ "is_compatible": compatible }))
        };
        let latest = || async {
            let schema = json!({ "type": "record", "name": "naru.joongna_items", "fields": [
                { "name": "productSeq", "type": "long" }, { "name": "title", "type": "string" },
                { "name": "price", "type": "long" },
            ]});
            Json(json!({ "schema": schema.to_string() }))
        };
        let router = Router::new()
            .route("/subjects", get(|| async { Json(["joongna.items-value"]) }))
            .route("/subjects/joongna.items-value/versions/latest", get(latest))
            .route(
                "/compatibility/subjects/joongna.items-value/versions/latest",
                post(verdict),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let settings = settings(&[
            "--kafka-bootstrap-servers",
            &brokers.bootstrap_servers(),
            "--registry-url",
            &registry,
        ]);
        let (context, server) = Context::test(settings);
        let kafka = context.kafka.get(&brokers.bootstrap_servers()).unwrap();
        kafka.trust(&["naru.shop.joongna.frontier", "naru.shop.joongna.head"]);
        let api = Memory::serve(server);
        let mut job = serde_json::to_value(job(|yaml| yaml)).unwrap();
        job["metadata"]["generation"] = 1.into();
        job["metadata"]["resourceVersion"] = "1".into();
        api.world(|world| world.objects.insert(JOB.to_owned(), job));
        Self {
            context: Arc::new(context),
            api,
            _brokers: brokers,
        }
    }

    /// One pass over the resource as it is stored. Returns the requests.
    async fn pass(&self) -> Vec<String> {
        let job: ScrapeJob = self.api.object(JOB);
        let pass = super::super::reconcile(Arc::new(job), Arc::clone(&self.context));
        // What went wrong is told by the status.
        _ = tokio::time::timeout(Duration::from_secs(20), pass)
            .await
            .expect("a pass ends");
        self.api.requests()
    }

    /// Somebody edits the spec.
    fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let _: ScrapeJob = self.api.edit(JOB, |job| {
            let generation = job["metadata"]["generation"].as_i64().unwrap();
            job["metadata"]["generation"] = (generation + 1).into();
            edit(&mut job["spec"]);
        });
    }

    /// Status, reason and message.
    fn condition(&self, condition_type: &str) -> (String, String) {
        let conditions = self.api.object::<ScrapeJob>(JOB).status.unwrap().conditions;
        let mut conditions = conditions.into_iter();
        let found = conditions.find(|condition| condition.condition_type == condition_type);
        let found = found.unwrap();
        (format!("{}/{}", found.status, found.reason), found.message)
    }

    fn fetchers(&self) -> Deployment {
        self.api.object(FETCHER)
    }
}

/// Adds a field to a spec.
fn seller(required: bool) -> impl FnOnce(&mut Value) {
    move |spec| {
        let fields = spec["extract"]["fields"].as_array_mut().unwrap();
        fields.retain(|field| field["name"] != "seller");
        fields.push(json!({ "name": "seller", "type": "string", "required": required,
            "from": [{ "json": "$..product.nickName" }] }));
    }
}

#[tokio::test]
async fn an_edit_that_makes_an_incompatible_schema_is_told_and_changes_no_worker() {
    let world = World::new().await;
    world.pass().await;
    let before = world.fetchers();
    assert_eq!(world.condition("Valid").0, "True/Accepted");

    world.edit(seller(true));
    for _ in 0..3 {
        let requests = world.pass().await;
        assert!(
            requests
                .iter()
                .all(|request| request == "PATCH scrapejobs/joongna/status"),
            "{requests:?}"
        );
    }
    assert_eq!(world.fetchers(), before);
    let (valid, message) = world.condition("Valid");
    assert_eq!(valid, "False/SchemaIncompatible");
    assert!(
        message.contains("for topic \"joongna.items\"")
            && message.contains("field \"seller\" is new and required"),
        "{message}"
    );
    assert_eq!(world.condition("Ready").0, "False/SchemaIncompatible");
    assert_eq!(world.condition("Degraded").0, "True/LastKnownGood");

    world.edit(seller(false));
    world.pass().await;
    assert_eq!(world.condition("Valid").0, "True/Accepted");
    assert_ne!(
        world.fetchers().spec.unwrap().template,
        before.spec.unwrap().template
    );
}

#[tokio::test]
async fn a_job_that_was_created_suspended_says_how_many_fetchers_it_may_have() {
    let world = World::new().await;
    world.edit(|spec| spec["suspend"] = true.into());
    assert_eq!(world.pass().await, ["PATCH scrapejobs/joongna/status"]);
    let job: ScrapeJob = world.api.object(JOB);
    let most = super::super::most_fetchers(&job.spec);
    assert_eq!(job.status.unwrap().max_replicas, Some(most));
}
