//! Connectors whose Secrets and topics come and go.

use std::time::Instant;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use naru_api::SinkConnector;
use naru_tests::{
    cluster::{apply, copy_credentials_as, ensure, eventually, with_namespace},
    connect::{Connector, registered},
    said::{events, fails, holds, says, told, version},
};

use crate::{Quiet, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_goes_on_whatever_is_wrong_and_a_new_secret_reaches_exactly_the_one_that_uses_it() {
    with_namespace("secrets", |client, namespace| async move {
        let quiet = Quiet::of(&namespace);
        apply(&namespace, &quiet.job).await.unwrap();
        for name in ["one", "two"] {
            copy_credentials_as(&client, &namespace, name).await;
            let sink = quiet
                .sink
                .replace("name: joongna-mysql", &format!("name: {name}"));
            let sink = sink.replace("credentialsSecret: mysql", &format!("credentialsSecret: {name}"));
            apply(&namespace, &sink).await.unwrap();
        }
        let sinks = Api::<SinkConnector>::namespaced(client.clone(), &namespace);
        let running = holds("Ready", "Running");
        for name in ["one", "two"] {
            says(&sinks, name, SOON, running).await;
        }
        let one = version(&sinks, "one").await.unwrap();
        let names = [format!("{namespace}.one"), format!("{namespace}.two")];
        let before = both(&client, &names).await.unwrap();

        // Wrong edits.
        let topics = |topics: &str| {
            let patch = serde_json::json!({ "spec": { "topics": [topics] } });
            let sinks = &sinks;
            async move {
                sinks
                    .patch("two", &PatchParams::default(), &Patch::Merge(&patch))
                    .await
                    .unwrap()
            }
        };
        let dead_letters = format!("naru.{namespace}.two.sink.dead-letters");
        topics(&dead_letters).await;
        says(
            &sinks,
            "two",
            SOON,
            fails("Valid", "InvalidSpec").saying("topics: "),
        )
        .await;
        says(&sinks, "two", SOON, holds("Degraded", "LastKnownGood")).await;
        topics("nowhere").await;
        says(
            &sinks,
            "two",
            SOON,
            fails("DependenciesReady", "TopicMissing").saying("\"nowhere\""),
        )
        .await;
        assert_eq!(
            both(&client, &names).await.unwrap(),
            before,
            "both go on as they were"
        );
        topics(&format!("{namespace}.items")).await;
        says(&sinks, "two", SOON, running).await;

        // No Secret.
        let secrets = Api::<Secret>::namespaced(client.clone(), &namespace);
        let secret = secrets.get("two").await.unwrap();
        secrets.delete("two", &DeleteParams::default()).await.unwrap();
        let missing = fails("DependenciesReady", "SecretMissing").saying("\"two\"");
        says(&sinks, "two", SOON, missing).await;
        says(&sinks, "two", SOON, holds("Degraded", "LastKnownGood")).await;
        assert_eq!(
            both(&client, &names).await.unwrap(),
            before,
            "both go on as they were"
        );

        // Another Secret, which the database refuses, and the right one again.
        let mut refused = Secret {
            data: secret.data.clone(),
            ..Secret::default()
        };
        refused.metadata.name = Some("two".to_owned());
        let password = ByteString(b"not-the-password".to_vec());
        refused
            .data
            .as_mut()
            .unwrap()
            .insert("password".to_owned(), password);
        secrets.create(&Default::default(), &refused).await.unwrap();
        let rotated = Instant::now();
        let note = told(
            &client,
            (&namespace, "two"),
            SOON,
            "SecretRotated",
            &["connection.password"],
        )
        .await;
        println!(
            "a new Secret reached its connector after {:.1} s",
            rotated.elapsed().as_secs_f64()
        );
        assert!(
            !note.contains("not-the-password") && !note.contains("username"),
            "{note}"
        );
        let failed = says(&sinks, "two", SOON, holds("Degraded", "TaskFailed")).await;
        assert!(!failed.message.contains("not-the-password"), "{}", failed.message);
        let now = both(&client, &names).await.unwrap();
        assert_eq!(now[0], before[0], "the other one is as it was");
        assert_ne!(now[1].config, before[1].config);

        let right = serde_json::json!({ "data": secret.data });
        secrets
            .patch("two", &PatchParams::default(), &Patch::Merge(&right))
            .await
            .unwrap();
        let mended = Instant::now();
        says(&sinks, "two", SOON, running).await;
        println!(
            "the right Secret mended it after {:.1} s",
            mended.elapsed().as_secs_f64()
        );
        eventually("both run as at first", SOON, || async {
            let now = both(&client, &names).await?;
            ensure(now == before, || format!("{:?}", now[1].state))
        })
        .await;
        assert_eq!(
            version(&sinks, "one").await.unwrap(),
            one,
            "nothing was said of the other one"
        );
        for reason in ["SecretRotated", "DriftRepaired", "TasksRestarted"] {
            let told = events(&client, &namespace, "one", reason).await.unwrap();
            assert!(told.is_empty(), "{told:?}");
        }
    })
    .await;
}

async fn both(client: &Client, names: &[String; 2]) -> Result<[Connector; 2], String> {
    let both = [
        registered(client, &names[0]).await?,
        registered(client, &names[1]).await?,
    ];
    let running = both[0].runs();
    running
        .then_some(both)
        .ok_or_else(|| "the first one does not run".to_owned())
}
