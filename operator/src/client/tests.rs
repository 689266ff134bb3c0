//! The guard around a scripted API server.

use std::time::Duration;

use http::{Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    client::{Body, ClientBuilder},
};
use tokio::time::Instant;
use tower_test::mock;

use super::{Guard, Refused};
use crate::leader::{Fence, NotLeader};

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
