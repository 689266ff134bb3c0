//! Whether a registry takes a new schema for a topic beside those that it has.

use std::{sync::Arc, time::Instant};

use naru_api::condition::reason;
use reqwest::{StatusCode, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;

use super::{LONGEST_ANSWER, Registry, Schema};
use crate::{
    controller::{Error, drift},
    endpoint::Freshness,
};

/// Longest part of an answer that is shown, characters.
const EXCERPT: usize = 300;
/// The media type of requests in Confluent's API.
const SCHEMA_REGISTRY: &str = "application/vnd.schemaregistry.v1+json";

/// A schema that a registry does not take.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The registry's address.
    pub url: String,
    /// What the registry says, if it says anything: Apicurio does not.
    pub says: Option<String>,
    /// The schema that the new one does not go with.
    pub latest: Option<Arc<Schema>>,
}

impl Registry {
    /// Asks whether the values of a topic may have this schema from now on; none if they may. A topic without any
    /// schema takes each.
    pub async fn refuses(
        &self,
        topic: &str,
        schema: &str,
        freshness: Freshness,
    ) -> Result<Option<Refusal>, Error> {
        /// Of `POST /compatibility/subjects/{subject}/versions/{version}`.
        #[derive(Deserialize)]
        struct Verdict {
            is_compatible: bool,
            #[serde(default)]
            messages: Vec<String>,
        }
        let (asked, question) = (Instant::now(), (topic.to_owned(), drift::hash(&schema)));
        if self.compatible.get(&question, freshness, asked).is_some() {
            return Ok(None);
        }
        let path = format!("compatibility/subjects/{topic}-value/versions/latest?verbose=true");
        let body = json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
        let request = self.http.post(self.address(&path));
        let request = request.header(CONTENT_TYPE, SCHEMA_REGISTRY).body(body);
        let (status, answer) = self.send(request, LONGEST_ANSWER).await?;
        let refused = |what: String| {
            Error::dependency(
                reason::REGISTRY_REFUSED,
                format!(
                    "the schema registry at {:?}, asked whether subject \"{topic}-value\" takes another schema, answers with {what}",
                    self.url
                ),
            )
        };
        let verdict = match status {
            StatusCode::NOT_FOUND => Verdict {
                is_compatible: true,
                messages: Vec::new(),
            },
            StatusCode::OK => {
                serde_json::from_slice(&answer).map_err(|error| refused(format!("no JSON: {error}")))?
            }
            status => return Err(refused(format!("status {}", status.as_u16()))),
        };
        if verdict.is_compatible {
            self.compatible.put(question, (), asked);
            return Ok(None);
        }
        Ok(Some(Refusal {
            url: self.url.clone(),
            // What follows the first one repeats the schemas.
            says: verdict
                .messages
                .first()
                .map(|says| says.chars().take(EXCERPT).collect()),
            latest: self.value_schema(topic, Freshness::now()).await?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::{
        Json, Router,
        extract::{Path, RawQuery},
        response::IntoResponse,
        routing::{get, post},
    };
    use serde_json::Value;

    use super::*;
    use crate::registry::Registries;

    const NEW: &str = r#"{"type":"record","name":"Item","fields":[{"name":"seller","type":"string"}]}"#;

    type Questions = Arc<Mutex<Vec<(String, Value)>>>;

    /// A registry that takes nothing for the topic `items`, anything for `sales`, and that knows no other.
    async fn registry() -> (Arc<Registry>, Questions) {
        let questions = Questions::default();
        let asked = Arc::clone(&questions);
        let verdict =
            async move |Path(subject): Path<String>, RawQuery(query): RawQuery, Json(body): Json<Value>| {
                let question = (format!("{subject}?{}", query.unwrap_or_default()), body);
                asked.lock().unwrap().push(question);
                match subject.as_str() {
                    "items-value" => {
                        Json(json!({ "is_compatible": false, "messages": ["no default", "{old: 1}"] }))
                            .into_response()
                    }
                    "sales-value" => Json(json!({ "is_compatible": true })).into_response(),
                    "secret-value" => StatusCode::FORBIDDEN.into_response(),
                    _ => StatusCode::NOT_FOUND.into_response(),
                }
            };
        let latest = || async { Json(json!({ "schema": NEW.replace("seller", "price") })) };
        let router = Router::new()
            .route("/compatibility/subjects/{subject}/versions/latest", post(verdict))
            .route("/subjects/{subject}/versions/latest", get(latest));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (Registries::new(crate::connect::fake::http()).get(&url), questions)
    }

    async fn refuses(registry: &Registry, topic: &str, freshness: Freshness) -> Option<Refusal> {
        registry.refuses(topic, NEW, freshness).await.unwrap()
    }

    #[tokio::test]
    async fn a_schema_is_asked_for_beside_the_latest_one_and_a_refusal_tells_what_that_is() {
        let (registry, questions) = registry().await;
        let refusal = refuses(&registry, "items", Freshness::now()).await.unwrap();
        assert_eq!(refusal.says.as_deref(), Some("no default"));
        assert_eq!(refusal.latest.unwrap().fields[0].name, "price");
        let body = json!({ "schema": NEW, "schemaType": "AVRO" });
        assert_eq!(
            *questions.lock().unwrap(),
            [("items-value?verbose=true".to_owned(), body)]
        );
    }

    #[tokio::test]
    async fn a_topic_without_a_schema_takes_each() {
        let (registry, _) = registry().await;
        assert!(refuses(&registry, "new", Freshness::now()).await.is_none());
    }

    #[tokio::test]
    async fn only_that_a_schema_is_taken_is_remembered_and_not_for_an_edit() {
        let (registry, questions) = registry().await;
        let count = || questions.lock().unwrap().len();
        for _ in 0..3 {
            assert!(refuses(&registry, "sales", Freshness::Recent).await.is_none());
        }
        assert_eq!(count(), 1);
        assert!(refuses(&registry, "sales", Freshness::now()).await.is_none());
        assert_eq!(count(), 2);
        for _ in 0..2 {
            assert!(refuses(&registry, "items", Freshness::Recent).await.is_some());
        }
        assert_eq!(count(), 4);
    }

    #[tokio::test]
    async fn a_registry_that_does_not_say_is_a_dependency_that_fails() {
        let (registry, _) = registry().await;
        let error = registry
            .refuses("secret", NEW, Freshness::now())
            .await
            .unwrap_err();
        assert_eq!(error.reason(), reason::REGISTRY_REFUSED);
        assert!(error.to_string().ends_with("with status 403"), "{error}");
    }
}
