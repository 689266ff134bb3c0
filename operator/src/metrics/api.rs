//! Requests to the API server, counted in a layer of the Kubernetes client.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use axum::http::{Method, Request, Response, header::CONTENT_TYPE};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use tower::{Layer, Service};

use super::durations;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Asked {
    verb: &'static str,
    /// Plural, with the subresource: `deployments/scale`.
    resource: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Answered {
    verb: &'static str,
    resource: String,
    /// The status; `error` without an answer, `cancelled` if nobody waited for it any longer.
    code: String,
}

/// A layer that counts requests by what they ask for and how they were answered. The duration ends with the head of the
/// answer: a watch goes on.
#[derive(Clone, Debug)]
pub struct ApiRequests {
    answered: Family<Answered, Counter>,
    durations: Family<Asked, Histogram, fn() -> Histogram>,
}

impl ApiRequests {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let answered = Family::default();
        registry.register(
            "api_requests",
            "Requests to the Kubernetes API server, by answer",
            answered.clone(),
        );
        let families = Self {
            answered,
            durations: Family::new_with_constructor(durations),
        };
        registry.register(
            "api_request_duration_seconds",
            "Time until the Kubernetes API server began to answer",
            families.durations.clone(),
        );
        families
    }
}

impl<S> Layer<S> for ApiRequests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            requests: self.clone(),
            inner,
        }
    }
}

/// A service whose requests are counted.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    requests: ApiRequests,
    inner: S,
}

impl<S, B, C> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut counting = Counting {
            requests: self.requests.clone(),
            asked: asked(&request),
            code: "cancelled".to_owned(),
            start: Instant::now(),
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            match &answer {
                Ok(answer) => counting.ended(answer.status().as_str()),
                Err(_) => counting.ended("error"),
            }
            answer
        })
    }
}

/// Counts when it is dropped, and so a request that is given up as well.
struct Counting {
    requests: ApiRequests,
    asked: Asked,
    code: String,
    start: Instant,
}

impl Counting {
    fn ended(&mut self, code: &str) {
        code.clone_into(&mut self.code);
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let Asked { verb, resource } = self.asked.clone();
        let code = std::mem::take(&mut self.code);
        let answered = Answered { verb, resource, code };
        self.requests.answered.get_or_create(&answered).inc();
        self.requests
            .durations
            .get_or_create(&self.asked)
            .observe(self.start.elapsed().as_secs_f64());
    }
}

/// Verb and resource of a request, as audit logs and roles have them, except that server-side apply is a verb of its own.
/// Paths: <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>.
fn asked<B>(request: &Request<B>) -> Asked {
    let segments: Vec<&str> = request
        .uri()
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let below_version = match segments.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => &[],
    };
    let below_namespace = match below_version {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    let (resource, named) = match below_namespace {
        [] => ("discovery".to_owned(), true),
        [resource] => ((*resource).to_owned(), false),
        [resource, _] => ((*resource).to_owned(), true),
        [resource, _, subresource, ..] => (format!("{resource}/{subresource}"), true),
    };
    let watches = request.uri().query().is_some_and(|query| {
        query
            .split('&')
            .any(|pair| matches!(pair, "watch=true" | "watch=1"))
    });
    let applies = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|content| content.as_bytes().starts_with(b"application/apply-patch"));
    let verb = match (request.method(), named) {
        (&Method::GET, _) if watches => "watch",
        (&Method::GET, true) => "get",
        (&Method::GET, false) => "list",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) if applies => "apply",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ => "other",
    };
    Asked { verb, resource }
}

#[cfg(test)]
mod tests {
    use tower_test::mock;

    use super::*;

    #[test]
    fn a_request_has_the_verb_and_the_resource_of_a_role() {
        let cases = [
            ("GET", "/api/v1/configmaps?watch=true&limit=5", "watch configmaps"),
            (
                "GET",
                "/apis/naru.dev/v1alpha1/scrapejobs?limit=500",
                "list scrapejobs",
            ),
            (
                "GET",
                "/apis/apps/v1/namespaces/shop/deployments/total-sum/scale",
                "get deployments/scale",
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/shop/deployments/total-sum?force=true",
                "apply deployments",
            ),
            (
                "POST",
                "/apis/events.k8s.io/v1/namespaces/shop/events",
                "create events",
            ),
            (
                "PUT",
                "/apis/coordination.k8s.io/v1/namespaces/naru/leases/naru",
                "update leases",
            ),
            ("DELETE", "/api/v1/namespaces/shop/pods/a", "delete pods"),
            ("DELETE", "/api/v1/namespaces/shop/pods", "deletecollection pods"),
            ("GET", "/api/v1/namespaces/shop", "get namespaces"),
            ("GET", "/api/v1/namespaces", "list namespaces"),
            ("GET", "/apis", "get discovery"),
        ];
        for (method, uri, expected) in cases {
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .header(CONTENT_TYPE, "application/apply-patch+yaml")
                .body(())
                .unwrap();
            let Asked { verb, resource } = asked(&request);
            assert_eq!(format!("{verb} {resource}"), expected, "{method} {uri}");
        }
    }

    #[tokio::test]
    async fn requests_are_counted_by_answer_and_also_when_nobody_waits_any_longer() {
        let mut registry = Registry::default();
        let requests = ApiRequests::new(&mut registry);
        let (service, mut server) = mock::pair::<Request<()>, Response<()>>();
        let mut service = requests.layer(service);
        let ask = || Request::get("/api/v1/namespaces/a/secrets/b").body(()).unwrap();
        server.allow(3);
        std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        let answered = service.call(ask());
        server
            .next_request()
            .await
            .unwrap()
            .1
            .send_response(Response::builder().status(404).body(()).unwrap());
        answered.await.unwrap();
        std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        let broken = service.call(ask());
        server
            .next_request()
            .await
            .unwrap()
            .1
            .send_error("connection reset");
        broken.await.unwrap_err();
        std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        drop(service.call(ask()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for code in ["404", "error", "cancelled"] {
            let line = format!("api_requests_total{{verb=\"get\",resource=\"secrets\",code=\"{code}\"}} 1\n");
            assert!(text.contains(&line), "{code}: {text}");
        }
        assert!(
            text.contains("api_request_duration_seconds_count{verb=\"get\",resource=\"secrets\"} 3\n"),
            "{text}"
        );
    }
}
