//! Revisions, rollouts and health, case by case.

use clap::Parser;
use k8s_openapi::api::{core::v1::ConfigMap, policy::v1::PodDisruptionBudget};
use naru_api::condition::reason;
use serde_json::json;

use super::{
    health::health,
    revision::{failed, running},
    rollout::{Seen, choose, proof_seconds, proved},
    *,
};
use crate::{controller::conditions::There, settings::Settings};

fn settings(image: &str) -> Settings {
    Settings::try_parse_from(["naru-operator", "--worker-image", image]).unwrap()
}

fn revision(image: &str, document: &str) -> Revision {
    let parent = Parent {
        namespace: "shop".to_owned(),
        name: "items".to_owned(),
        owner: vec![OwnerReference {
            api_version: "naru.dev/v1alpha1".to_owned(),
            kind: "ScrapeJob".to_owned(),
            name: "items".to_owned(),
            uid: "0001".to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }],
        pipeline: None,
    };
    let worker = |name: &str, component, replicas| Worker {
        name: format!("items-{name}"),
        component,
        command: &["naru-scrape"],
        replicas,
        patience: Duration::ZERO,
    };
    let declared = Declared {
        parent: &parent,
        config_maps: "items-scrape".to_owned(),
        component: "scrape",
        document: document.to_owned(),
        rollout: &Rollout::default(),
        workers: vec![
            worker("planner", "planner", Some(1)),
            worker("fetcher", "fetcher", None),
        ],
    };
    Revision::of(&settings(image), &declared)
}

/// A Deployment as it is applied.
pub(crate) fn example() -> Deployment {
    revision("naru/workers:1", "{}").deployments.remove(1)
}

/// All children of a resource, as they are applied.
pub(crate) fn examples() -> (ConfigMap, Vec<Deployment>, PodDisruptionBudget) {
    let mut revision = revision("naru/workers:1", "{}");
    (
        revision.config_map.unwrap(),
        revision.deployments,
        revision.budgets.remove(0),
    )
}

/// A Deployment as it is after its controller has seen it.
fn live(deployment: &Deployment, replicas: i32, updated: i32, ready: i32) -> Deployment {
    let mut live = deployment.clone();
    live.metadata.generation = Some(1);
    live.spec.as_mut().unwrap().replicas = Some(replicas);
    live.status = serde_json::from_value(json!({
        "observedGeneration": 1, "replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready,
        "availableReplicas": ready,
    }))
    .unwrap();
    live
}

fn stalled(deployment: &Deployment) -> Deployment {
    let mut live = live(deployment, 1, 1, 0);
    live.status.as_mut().unwrap().conditions = serde_json::from_value(json!([
        { "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" },
    ]))
    .unwrap();
    live
}

fn all(revision: &Revision, fetchers: i32) -> Vec<Deployment> {
    vec![
        live(&revision.deployments[0], 1, 1, 1),
        live(&revision.deployments[1], fetchers, fetchers, fetchers),
    ]
}

#[test]
fn a_revision_changes_with_the_document_and_the_image_and_its_config_map_says_so() {
    let one = revision("naru/workers:1", "{}");
    assert_eq!(one, revision("naru/workers:1", "{}"));
    let config_map = one.config_map.clone().unwrap();
    assert_eq!(config_map.name_any(), format!("items-scrape-{}", one.hash));
    assert_eq!(config_map.immutable, Some(true));
    for deployment in &one.deployments {
        assert_eq!(running(deployment), Some(one.hash.as_str()));
        let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        let volume = pod.volumes.as_ref().unwrap()[0].config_map.as_ref().unwrap();
        assert_eq!(volume.name, config_map.name_any());
    }
    assert_ne!(one.hash, revision("naru/workers:2", "{}").hash);
    assert_ne!(one.hash, revision("naru/workers:1", "{\"a\":1}").hash);
}

#[test]
fn workers_that_are_scaled_go_one_by_one_and_lie_on_several_nodes() {
    let revision = revision("naru/workers:1", "{}");
    let names: Vec<_> = revision.budgets.iter().map(ResourceExt::name_any).collect();
    // One planner could never go.
    assert_eq!(names, ["items-fetcher"]);
    let budget = revision.budgets[0].spec.clone().unwrap();
    assert_eq!(json!(budget.max_unavailable), json!(1));
    assert_eq!(budget.min_available, None);
    let fetchers = revision.deployments[1].spec.clone().unwrap();
    assert_eq!(budget.selector.as_ref(), Some(&fetchers.selector));
    let spread = fetchers
        .template
        .spec
        .unwrap()
        .topology_spread_constraints
        .unwrap();
    assert_eq!(spread[0].label_selector, Some(fetchers.selector));
    assert_eq!(spread[0].when_unsatisfiable, "ScheduleAnyway");
}

#[test]
fn a_progress_deadline_is_set_and_the_time_of_proof_is_below_it() {
    let spec = example().spec.unwrap();
    assert_eq!(
        (spec.progress_deadline_seconds, spec.min_ready_seconds),
        (Some(120), Some(10))
    );
    let rollout = serde_json::from_value(json!({ "progressDeadline": "10s" })).unwrap();
    assert_eq!(proof_seconds(&rollout), 5);
}

fn kept(revision: &Revision) -> ConfigMap {
    revision.config_map.clone().unwrap()
}

#[test]
fn a_rollout_without_progress_gives_way_to_the_last_good_workers_until_the_next_edit() {
    let (good, bad, next) = (
        revision("naru/workers:1", "{}"),
        revision("naru/workers:1", "{\"bad\":1}"),
        revision("naru/workers:1", "{\"next\":1}"),
    );
    let stuck = vec![stalled(&bad.deployments[0]), stalled(&bad.deployments[1])];
    let seen = |deployments, auto_rollback| Seen {
        deployments,
        auto_rollback,
        last_good: Some((good.hash.as_str(), kept(&good))),
        failing: Some("exit code 1"),
    };
    // Only where it is asked for.
    assert_eq!(choose(&bad, &seen(&stuck, false)), bad);
    let back = choose(&bad, &seen(&stuck, true));
    assert_eq!(back.hash, good.hash);
    assert_eq!(back.config_map, None);
    for (deployment, before) in back.deployments.iter().zip(&good.deployments) {
        assert_eq!(
            deployment.spec.as_ref().unwrap().template,
            before.spec.as_ref().unwrap().template
        );
        assert_eq!(failed(deployment), Some((bad.hash.as_str(), "exit code 1")));
    }
    // The pods of the bad revision are gone, and with them the reason.
    let after = all(&back, 1);
    let later = Seen {
        failing: None,
        ..seen(&after, true)
    };
    assert_eq!(choose(&bad, &later), back);
    assert_eq!(choose(&next, &later), next);
    assert_eq!(choose(&good, &later), good);
    // Whoever no longer wants it back gets what is declared.
    let unwanted = Seen {
        auto_rollback: false,
        ..later
    };
    assert_eq!(choose(&bad, &unwanted), bad);
}

#[test]
fn without_a_good_revision_there_is_nothing_to_go_back_to() {
    let bad = revision("naru/workers:1", "{\"bad\":1}");
    let stuck = vec![stalled(&bad.deployments[1])];
    let mut seen = Seen {
        deployments: &stuck,
        auto_rollback: true,
        ..Seen::default()
    };
    assert_eq!(choose(&bad, &seen), bad);
    seen.last_good = Some((bad.hash.as_str(), kept(&bad)));
    assert_eq!(choose(&bad, &seen), bad);
    // Somebody has emptied the ConfigMap.
    seen.last_good = Some(("0", ConfigMap::default()));
    assert_eq!(choose(&bad, &seen), bad);
}

#[test]
fn only_workers_of_all_kinds_prove_a_revision() {
    let revision = revision("naru/workers:1", "{}");
    let hash = revision.hash.as_str();
    assert!(proved(hash, 2, &all(&revision, 1)));
    assert!(!proved(hash, 2, &all(&revision, 0)), "no fetcher has ever run");
    assert!(!proved("other", 2, &all(&revision, 1)));
    assert!(!proved(hash, 2, &all(&revision, 1)[..1]));
    let mut ready = all(&revision, 2);
    ready[1].status.as_mut().unwrap().available_replicas = Some(1);
    assert!(!proved(hash, 2, &ready), "ready for a moment");
}

#[test]
fn health_follows_from_what_is_there() {
    let (old, new) = (
        revision("naru/workers:1", "{}"),
        revision("naru/workers:1", "{\"new\":1}"),
    );
    let hash = Some(new.hash.as_str());
    let planner = live(&new.deployments[0], 1, 1, 1);
    let fetcher = &new.deployments[1];
    let back = choose(
        &new,
        &Seen {
            deployments: &[stalled(fetcher)],
            auto_rollback: true,
            last_good: Some((old.hash.as_str(), kept(&old))),
            failing: Some("exit code 1"),
        },
    );
    let rolled_back = live(&back.deployments[1], 1, 1, 1);
    // (case, declared, fetcher, failing, ready, reason, progressing, degraded, there, message)
    let cases = [
        (
            "all run",
            hash,
            live(fetcher, 3, 3, 3),
            None,
            reason::RUNNING,
            None,
            None,
            There::Declared,
        ),
        (
            "none are needed",
            hash,
            live(fetcher, 0, 0, 0),
            None,
            reason::IDLE,
            None,
            None,
            There::Declared,
        ),
        (
            "more come up",
            hash,
            live(fetcher, 3, 3, 1),
            None,
            reason::STARTING,
            Some(reason::STARTING),
            None,
            There::Declared,
        ),
        (
            "they are replaced",
            hash,
            live(fetcher, 3, 1, 1),
            None,
            reason::ROLLING_OUT,
            Some(reason::ROLLING_OUT),
            None,
            There::Declared,
        ),
        (
            "one fails",
            hash,
            live(fetcher, 1, 1, 0),
            Some("exit code 1"),
            reason::WORKER_FAILING,
            None,
            Some(reason::WORKER_FAILING),
            There::Declared,
        ),
        (
            "no progress",
            hash,
            stalled(fetcher),
            None,
            reason::ROLLOUT_STALLED,
            None,
            Some(reason::ROLLOUT_STALLED),
            There::Declared,
        ),
        (
            "rolled back",
            hash,
            rolled_back,
            None,
            reason::ROLLED_BACK,
            None,
            Some(reason::ROLLED_BACK),
            There::Declared,
        ),
        (
            "an edit is not applied",
            hash,
            live(&old.deployments[1], 1, 1, 1),
            None,
            reason::STARTING,
            None,
            None,
            There::Before,
        ),
        (
            "a bad edit",
            None,
            live(&old.deployments[1], 1, 1, 1),
            None,
            reason::STARTING,
            None,
            None,
            There::Before,
        ),
    ];
    for (case, declared, fetcher, failing, word, progressing, degraded, there) in cases {
        let found = health(
            declared,
            &[("planner", Some(&planner)), ("fetchers", Some(&fetcher))],
            failing,
        );
        let words = (
            found.why.reason,
            found.progressing.as_ref().map(|why| why.reason),
            found.degraded.as_ref().map(|why| why.reason),
        );
        assert_eq!(words, (word, progressing, degraded), "{case}");
        assert_eq!(found.there, there, "{case}");
        assert_eq!(
            found.ready,
            [reason::RUNNING, reason::IDLE].contains(&word),
            "{case}"
        );
        if let Some(failing) = failing {
            assert!(
                found.why.message.contains(failing),
                "{case}: {}",
                found.why.message
            );
        }
    }
    let one = health(hash, &[("planner", Some(&planner)), ("fetchers", None)], None);
    assert_eq!(
        (one.there, one.why.message.as_str()),
        (There::Declared, "planner 1 of 1 ready, no fetchers")
    );
    let old = live(&old.deployments[0], 1, 1, 1);
    let one = health(hash, &[("planner", Some(&old)), ("fetchers", None)], None);
    assert_eq!(one.there, There::Before);
    assert_eq!(health(hash, &[("workers", None)], None).there, There::Nothing);
}
