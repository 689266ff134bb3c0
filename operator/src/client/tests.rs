//! The guard around a scripted API server.

use std::time::Duration;

use http::{Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
    client::{Body, ClientBuilder},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};
use tower_test::mock;

use super::{Guard, Refused, fenced};
use crate::{
    leader::{Fence, NotLeader},
    metrics::Metrics,
};

type Server = mock::Handle<Request<Body>, Response<Body>>;

fn guarded(fence: Fence) -> (Client, Server) {
    let (service, server) = mock::pair();
    let client = ClientBuilder::new(service, "shop")
        .with_layer(&Guard::new(fence))
        .build();
    (client, server)
}

async fn read(client: &Client) -> kube::Result<ConfigMap> {
    Api::<ConfigMap>::default_namespaced(client.clone())
        .get("x")
        .await
}

async fn write(client: &Client) -> kube::Result<ConfigMap> {
    Api::<ConfigMap>::default_namespaced(client.clone())
        .patch(
            "x",
            &PatchParams::apply("test"),
            &Patch::Apply(ConfigMap::default()),
        )
        .await
}

async fn answer(server: &mut Server) {
    let (_, send) = server.next_request().await.unwrap();
    let body = serde_json::to_vec(&ConfigMap::default()).unwrap();
    send.send_response(Response::new(Body::from(body)));
}

/// What the guard said, of an error that it is the cause of.
fn refusal(result: kube::Result<ConfigMap>) -> Refused {
    match result {
        Err(kube::Error::Service(error)) => *error.downcast().unwrap(),
        other => panic!("not refused by the guard: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_standby_reads_and_changes_nothing() {
    let (client, mut server) = guarded(Fence::closed());
    let refused = refusal(write(&client).await);
    assert!(
        matches!(refused, Refused::Fenced { source: NotLeader }),
        "{refused}"
    );
    let (result, ()) = tokio::join!(read(&client), answer(&mut server));
    result.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_leader_writes_until_its_fence_falls() {
    let fence = Fence::closed();
    let (client, mut server) = guarded(fence.clone());
    fence.extend(Instant::now() + Duration::from_secs(7)).unwrap();
    let (result, ()) = tokio::join!(write(&client), answer(&mut server));
    result.unwrap();
    tokio::time::advance(Duration::from_secs(7)).await;
    assert!(matches!(refusal(write(&client).await), Refused::Fenced { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_write_on_its_way_is_given_up_when_the_fence_falls() {
    let fence = Fence::closed();
    let (client, mut server) = guarded(fence.clone());
    let end = Instant::now() + Duration::from_secs(3);
    fence.extend(end).unwrap();
    let silent = async {
        let (_, send) = server.next_request().await.unwrap();
        // The request lives as long as the other side waits for the answer.
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(send);
    };
    let write = async {
        let refused = refusal(write(&client).await);
        assert_eq!(Instant::now(), end);
        refused
    };
    let (refused, ()) = tokio::join!(write, silent);
    assert_eq!(
        refused.to_string(),
        "the API server did not answer PATCH /api/v1/namespaces/shop/configmaps/x within 3000 ms"
    );
}

#[tokio::test(start_paused = true)]
async fn each_request_has_a_deadline_also_without_an_election() {
    let (client, _server) = guarded(Fence::default());
    let begin = Instant::now();
    assert!(matches!(refusal(write(&client).await), Refused::Late { .. }));
    assert_eq!(begin.elapsed().as_secs(), 10);
    assert!(matches!(refusal(read(&client).await), Refused::Late { .. }));
    assert_eq!(begin.elapsed().as_secs(), 40);
}

#[tokio::test]
async fn a_list_that_stops_half_way_is_given_up() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let config = Config::new(address.parse().unwrap());
    let client = fenced(config, &Metrics::default().api, Fence::default()).unwrap();
    let half = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(connection.read_buf(&mut request).await.unwrap(), 0);
        }
        let list =
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"items\":[";
        connection.write_all(list).await.unwrap();
        connection
    };
    let request = Request::get("/api/v1/configmaps").body(Body::empty()).unwrap();
    let (answer, connection) = tokio::join!(client.send(request), half);
    let answer = answer.unwrap();
    // From here on time passes by itself.
    tokio::time::pause();
    let began = Instant::now();
    let body = tokio::time::timeout(Duration::from_secs(3600), answer.into_body().collect_bytes()).await;
    assert!(body.expect("it is not waited for without an end").is_err());
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(295),
        "a watch may be silent for so long: {took:?}"
    );
    drop(connection);
}
