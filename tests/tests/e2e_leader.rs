//! Two operators, of which one acts, and the other one when it goes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's answer")]

use std::time::{Duration, Instant};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, Client, api::DeleteParams};
use naru_api::ScrapeJob;
use naru_tests::{
    cluster::{apply, ensure, eventually, helm, kill_container, release, repository, with_namespace},
    joongna::Pipeline,
    operator::{self, NAME, NAMESPACE},
    said::Says,
};

const SOON: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_operators_acts_and_the_other_one_when_it_ends_or_is_killed() {
    with_namespace("leader", |client, namespace| async move {
        // Another one for this namespace alone would not do: the one for all would act as well.
        let chart = repository().join("charts/naru").to_string_lossy().into_owned();
        let two = [
            "upgrade",
            NAME,
            &chart,
            "--namespace",
            NAMESPACE,
            "--reuse-values",
            "--set",
            "replicas=2",
        ];
        helm(&[&two[..], &["--wait", "--timeout", "3m"]].concat())
            .await
            .unwrap();
        let (leader, standby) = pair(&client).await;
        acts(&client, &namespace, 1).await;
        only_one_acts(&leader, &standby).await;

        let before = transitions(&client).await.unwrap();
        let ended = Instant::now();
        let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
        pods.delete(&leader, &DeleteParams::default()).await.unwrap();
        acts(&client, &namespace, 2).await;
        println!(
            "a clean end: an edit was acted upon {:.1} s later",
            ended.elapsed().as_secs_f64()
        );
        // The one that stood by, or the one that was started in the place of the first.
        assert_ne!(operator::leader(&client).await.unwrap(), leader);
        assert_eq!(
            transitions(&client).await.unwrap(),
            before + 1,
            "the lead changed once"
        );
        let (leader, standby) = pair(&client).await;
        only_one_acts(&leader, &standby).await;

        let killed = Instant::now();
        kill_container(&client, NAMESPACE, &leader).await.unwrap();
        acts(&client, &namespace, 3).await;
        println!(
            "a kill: an edit was acted upon {:.1} s later",
            killed.elapsed().as_secs_f64()
        );
        assert_eq!(
            transitions(&client).await.unwrap(),
            before + 2,
            "the lead changed once"
        );
        let (leader, standby) = pair(&client).await;
        only_one_acts(&leader, &standby).await;
        release(".").await;
    })
    .await;
}

/// The one that leads, and the one that waits for its turn and knows so.
async fn pair(client: &Client) -> (String, String) {
    eventually("one leads and the other one stands by", SOON, || async {
        let leader = operator::leader(client).await?;
        let ready = operator::ready(client).await?;
        let [standby] = &ready.iter().filter(|pod| **pod != leader).collect::<Vec<_>>()[..] else {
            return Err(format!("{leader} leads, of {ready:?}"));
        };
        let says = operator::ask(standby, "/readyz").await?;
        if ready.len() == 2 && says.starts_with(&format!("standby, leader is {leader}_")) {
            Ok((leader, (*standby).clone()))
        } else {
            Err(format!(
                "{leader} leads, of {ready:?}, and {standby} says {says:?}"
            ))
        }
    })
    .await
}

async fn only_one_acts(leader: &str, standby: &str) {
    let leads = |metrics: std::collections::BTreeMap<String, f64>| metrics["naru_operator_leader"];
    assert_eq!(leads(operator::metrics(leader).await.unwrap()), 1.0);
    assert_eq!(leads(operator::metrics(standby).await.unwrap()), 0.0);
    assert!(operator::passes(leader).await.unwrap() > 0.0);
    assert_eq!(operator::passes(standby).await.unwrap(), 0.0);
}

/// How often the lead has changed.
async fn transitions(client: &Client) -> Result<i32, String> {
    let leases = Api::<Lease>::namespaced(client.clone(), NAMESPACE);
    let lease = leases.get(NAME).await.map_err(|e| e.to_string())?;
    let transitions = lease.spec.and_then(|spec| spec.lease_transitions);
    transitions.ok_or_else(|| "the Lease counts no transitions".to_owned())
}

/// An edit of a resource is answered by its status. What it says does not matter.
async fn acts(client: &Client, namespace: &str, edit: u32) {
    let (_, _, yaml) = Pipeline::in_namespace(namespace, "");
    let job = yaml.split("\n---\n").next().unwrap();
    let job = job.replace("maxReplicas: 3", &format!("maxReplicas: {edit}"));
    apply(namespace, &job).await.unwrap();
    let jobs = Api::<ScrapeJob>::namespaced(client.clone(), namespace);
    eventually("an edit is acted upon", SOON, || async {
        let job = jobs.get("joongna").await.map_err(|e| e.to_string())?;
        let (observed, edited) = (job.observed(), job.metadata.generation);
        ensure(observed == edited, || {
            format!("generation {observed:?} of {edited:?}")
        })
    })
    .await;
}
