//! A stored object that cannot be read, such as one of an older version of the types, stops no watch.

use futures::{StreamExt, pin_mut};
use http::{Request, Response};
use kube::{
    Api, Client, Resource,
    client::Body,
    core::DeserializeGuard,
    runtime::{WatchStreamExt, watcher},
};
use naru_api::{FilteredSum, ScrapeJob, SinkConnector};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower_test::mock;

use crate::examples::example;

/// What is seen of a list of objects.
async fn seen<K>(objects: Vec<Value>) -> Vec<Result<String, String>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let count = objects.len();
    let (service, mut server) = mock::pair::<Request<Body>, Response<Body>>();
    let list = json!({
        "apiVersion": K::api_version(&()), "kind": format!("{}List", K::kind(&())),
        "metadata": { "resourceVersion": "1" }, "items": objects,
    });
    let answer = async move {
        let (_, send) = server.next_request().await.unwrap();
        send.send_response(Response::new(Body::from(list.to_string().into_bytes())));
        server
    };
    let api = Api::<DeserializeGuard<K>>::all(Client::new(service, "shop"));
    let objects = watcher(api, watcher::Config::default()).applied_objects();
    pin_mut!(objects);
    let read = async {
        let mut seen = Vec::new();
        while seen.len() < count {
            let object = objects.next().await.unwrap().unwrap();
            seen.push(match object.0 {
                Ok(object) => Ok(object.meta().name.clone().unwrap()),
                Err(unreadable) => Err(unreadable.metadata.name.unwrap()),
            });
        }
        seen
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), async {
        tokio::join!(answer, read).1
    })
    .await
    .expect("the watch goes on")
}

fn named(mut object: Value, name: &str) -> Value {
    object["metadata"]["name"] = json!(name);
    object["metadata"]["resourceVersion"] = json!("1");
    object
}

async fn others_are_seen<K>(kind: &str)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let good = example(kind);
    let unreadable = [json!({}), json!("text"), json!({ "spec": 1 }), Value::Null].map(|spec| {
        let mut object = good.clone();
        object["spec"] = spec;
        object
    });
    let mut objects = vec![named(good.clone(), "first")];
    objects.extend(
        unreadable
            .into_iter()
            .zip(1..)
            .map(|(object, number)| named(object, &format!("bad-{number}"))),
    );
    objects.push(named(good, "last"));
    let mut seen = seen::<K>(objects).await;
    seen.sort();
    let bad = (1..=4).map(|number| Err(format!("bad-{number}")));
    let expected: Vec<_> = ["first", "last"]
        .map(|name| Ok(name.to_owned()))
        .into_iter()
        .chain(bad)
        .collect();
    assert_eq!(seen, expected, "{kind}");
}

#[tokio::test]
async fn an_object_that_cannot_be_read_hides_no_other() {
    others_are_seen::<ScrapeJob>("ScrapeJob").await;
    others_are_seen::<FilteredSum>("FilteredSum").await;
    others_are_seen::<SinkConnector>("SinkConnector").await;
}
