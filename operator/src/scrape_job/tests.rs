//! The pure phases on the example that users start from.

mod passes;

use clap::Parser;
use k8s_openapi::api::core::v1::LocalObjectReference;
use naru_api::ScrapeJob;

use super::{build, validate};
use crate::{controller::Error, settings::Settings, worker::replicas};

const EXAMPLE: &str = include_str!("../../../deploy/examples/joongna/pipeline.yaml");

fn settings(arguments: &[&str]) -> Settings {
    let all = ["naru-operator", "--worker-image", "naru/workers:1"]
        .iter()
        .chain(arguments);
    Settings::try_parse_from(all).unwrap()
}

fn defaults() -> Settings {
    settings(&[
        "--kafka-bootstrap-servers",
        "kafka:9092",
        "--registry-url",
        "http://registry:8081",
    ])
}

pub(crate) fn job(edit: impl FnOnce(String) -> String) -> ScrapeJob {
    let yaml = edit(EXAMPLE.split("\n---\n").next().unwrap().to_owned());
    let mut job: ScrapeJob = serde_yaml::from_str(&yaml).unwrap();
    job.metadata.namespace = Some("shop".to_owned());
    job.metadata.uid = Some("0001".to_owned());
    job
}

#[test]
fn what_is_built_follows_from_the_spec_alone() {
    let settings = defaults();
    let valid = validate(&settings, &job(|yaml| yaml)).unwrap();
    let (one, two) = (build::build(&settings, &valid), build::build(&settings, &valid));
    // Else every pass would roll the workers.
    assert_eq!(one, two);
}

#[test]
fn only_the_autoscaler_says_how_many_fetchers_there_are() {
    let settings = defaults();
    let workers = build::build(&settings, &validate(&settings, &job(|yaml| yaml)).unwrap());
    assert_eq!(workers.deployments[1].spec.as_ref().unwrap().replicas, None);
    assert_eq!(replicas(&workers.deployments[0]), 1);
}

#[test]
fn a_change_of_the_document_rolls_the_workers_and_nothing_else_does() {
    let settings = defaults();
    let template = |job: &ScrapeJob| {
        let mut workers = build::build(&settings, &validate(&settings, job).unwrap());
        workers.deployments.remove(1).spec.unwrap().template
    };
    let before = template(&job(|yaml| yaml));
    let more_workers = template(&job(|yaml| yaml.replace("minReplicas: 1", "minReplicas: 2")));
    assert_eq!(before, more_workers);
    let other_rule = template(&job(|yaml| yaml.replace("main h1", "main h2")));
    assert_ne!(before, other_rule);
}

#[test]
fn a_rollout_waits_for_the_first_look_of_a_planner_that_may_ask_seldom() {
    let deadlines = |rate: &str| {
        let job = job(|yaml| {
            let (before, after) = yaml.split_once("maxRequestsPerSecond: ").unwrap();
            let (_, after) = after.split_once(',').unwrap();
            format!("{before}maxRequestsPerSecond: {rate},{after}")
        });
        let workers = build::build(&defaults(), &validate(&defaults(), &job).unwrap());
        let specs = workers.deployments.into_iter().map(|worker| worker.spec.unwrap());
        specs
            .map(|spec| spec.progress_deadline_seconds.unwrap())
            .collect::<Vec<_>>()
    };
    // Planner and fetchers.
    assert_eq!(deadlines("10"), [120 + 4, 120]);
    assert_eq!(deadlines("0.1"), [120 + 400, 120]);
    // Which Kubernetes takes for none.
    assert_eq!(deadlines("1e-300"), [i32::MAX, 120]);
}

#[test]
fn the_image_of_the_workers_is_pulled_with_the_secrets_of_the_settings() {
    let secrets = |settings: &Settings| {
        let valid = validate(&defaults(), &job(|yaml| yaml)).unwrap();
        let pod = build::build(settings, &valid)
            .deployments
            .remove(1)
            .spec
            .unwrap()
            .template
            .spec
            .unwrap();
        let names =
            |secrets: Vec<LocalObjectReference>| secrets.into_iter().map(|secret| secret.name).collect();
        pod.image_pull_secrets.map(names)
    };
    assert_eq!(secrets(&defaults()), None);
    let two = settings(&["--worker-image-pull-secrets", "registry,mirror"]);
    assert_eq!(
        secrets(&two),
        Some(vec!["registry".to_owned(), "mirror".to_owned()])
    );
}

#[test]
fn workers_hold_no_token_and_no_privilege() {
    let settings = defaults();
    let mut workers = build::build(&settings, &validate(&settings, &job(|yaml| yaml)).unwrap());
    let pod = workers.deployments.remove(0).spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(pod.security_context.unwrap().run_as_non_root, Some(true));
    let container = pod.containers[0].security_context.clone().unwrap();
    assert_eq!(container.read_only_root_filesystem, Some(true));
    assert_eq!(container.allow_privilege_escalation, Some(false));
}

#[test]
fn a_spec_that_cannot_work_is_refused_by_the_name_of_its_field() {
    let cases = [
        (
            r"/product/(\d+)'}",
            r"/product/\d+'}",
            "source.head.sitemap.pattern",
        ),
        (
            r"/product/(\d+)'}",
            r"/product/(\d+'}",
            "source.head.sitemap.pattern",
        ),
        ("css: main h1", "css: \"main >> h1\"", "field \"title\""),
        (
            "json: $..product.productPrice",
            "json: \"$..[\"",
            "field \"price\"",
        ),
        (
            "key: productSeq",
            "key: seq",
            "output.key: there is no field \"seq\"",
        ),
        (
            "key: productSeq",
            "key: category1",
            "output.key: field \"category1\" is not required",
        ),
    ];
    for (right, wrong, expected) in cases {
        let job = job(|yaml| {
            assert!(yaml.contains(right), "the example has {right:?}");
            yaml.replace(right, wrong)
        });
        match validate(&defaults(), &job) {
            Err(Error::Invalid { message }) => assert!(message.contains(expected), "{wrong:?}: {message}"),
            other => panic!("{wrong:?}: {other:?}"),
        }
    }
}

#[test]
fn without_an_address_anywhere_the_message_says_where_to_set_it() {
    let error = validate(&settings(&[]), &job(|yaml| yaml))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("spec.kafka.bootstrapServers") && error.contains("defaults.kafka.bootstrapServers")
    );
    let own = "\n  kafka: {bootstrapServers: \"other:9092\"}\n  registry: {url: \"http://other:8081\"}\n";
    let valid = validate(&settings(&[]), &job(|yaml| yaml + own)).unwrap();
    assert_eq!(valid.bootstrap_servers, "other:9092");
    assert_eq!(valid.document.registry.url, "http://other:8081");
}

#[test]
fn fetchers_are_bounded_by_the_requests_that_may_be_under_way() {
    for (requests, fetchers) in [(1, 1), (2, 1), (3, 2), (12, 3)] {
        let job = job(|yaml| yaml.replace("maxConcurrent: 12", &format!("maxConcurrent: {requests}")));
        assert_eq!(
            validate(&defaults(), &job).unwrap().frontier_partitions,
            fetchers,
            "{requests}"
        );
    }
}
