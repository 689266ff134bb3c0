//! What the charts promise about an installation.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is the test's answer")]

use kube::{Api, Client, ResourceExt};
use naru_api::ScrapeJob;
use naru_tests::{
    cluster::{helm, kubectl, kubectl_with, release, repository, with_namespace},
    joongna::Pipeline,
};

#[tokio::test(flavor = "multi_thread")]
async fn helm_test_finds_the_installation_right() {
    let answer = helm(&["test", "naru", "--namespace", "naru-system", "--timeout", "2m"]).await;
    assert!(answer.unwrap().contains("Phase:          Succeeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_stay_with_all_that_was_declared_when_their_chart_goes_and_are_its_own_when_it_comes_back()
 {
    with_namespace("kept", |client, namespace| async move {
        // Of no use to an operator that has no address of a registry for it; it only has to be there.
        let (_, _, yaml) = Pipeline::in_namespace(&namespace, "");
        let job = yaml.split("\n---\n").next().unwrap();
        kubectl_with(&["--namespace", &namespace, "apply", "--filename", "-"], job)
            .await
            .unwrap();
        let before = uid(&client, &namespace).await;
        helm(&["uninstall", "naru-crds", "--namespace", "naru-system", "--wait"])
            .await
            .unwrap();
        assert_eq!(uid(&client, &namespace).await, before);
        release(".").await;
        assert_eq!(uid(&client, &namespace).await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_chart_changes_the_definitions_that_are_there() {
    let newer = tempfile::tempdir().unwrap();
    let definition = newer.path().join("templates/scrapejobs.yaml");
    for file in [
        "Chart.yaml",
        "templates/scrapejobs.yaml",
        "templates/sinkconnectors.yaml",
        "templates/filteredsums.yaml",
    ] {
        let to = newer.path().join(file);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(repository().join("charts/naru-crds").join(file), to).unwrap();
    }
    let yaml = std::fs::read_to_string(&definition).unwrap();
    let column =
        "  - additionalPrinterColumns:\n    - {name: Newer, type: string, jsonPath: .metadata.name}\n";
    let yaml = yaml.replace("  - additionalPrinterColumns:\n", column);
    std::fs::write(&definition, yaml).unwrap();
    let columns = [
        "get",
        "crd",
        "scrapejobs.naru.dev",
        "--output",
        "jsonpath={.spec.versions[*].additionalPrinterColumns[*].name}",
    ];
    assert!(!kubectl(&columns).await.unwrap().contains("Newer"));
    let newer = newer.path().to_string_lossy();
    helm(&[
        "upgrade",
        "naru-crds",
        &newer,
        "--namespace",
        "naru-system",
        "--wait",
    ])
    .await
    .unwrap();
    assert!(kubectl(&columns).await.unwrap().contains("Newer"));
    release(".").await;
    assert!(!kubectl(&columns).await.unwrap().contains("Newer"));
}

async fn uid(client: &Client, namespace: &str) -> Option<String> {
    let jobs = Api::<ScrapeJob>::namespaced(client.clone(), namespace);
    jobs.get("joongna").await.unwrap().uid()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_in_its_namespace_is_all_that_a_limited_operator_needs_to_be_ready() {
    with_namespace("limited", |_, namespace| async move {
        let chart = repository().join("charts/naru");
        let images = std::fs::read_to_string(repository().join("target/images/tags")).unwrap();
        let tag = |name: &str| {
            let prefix = format!("naru/{name}:");
            images
                .lines()
                .find_map(|image| image.strip_prefix(&prefix))
                .unwrap()
                .to_owned()
        };
        let sets = [
            format!("watchNamespace={namespace}"),
            format!("image.tag={}", tag("operator")),
            format!("workers.image.tag={}", tag("workers")),
        ];
        let chart = chart.to_string_lossy();
        let mut install = vec![
            "install",
            "limited",
            &chart,
            "--namespace",
            &namespace,
            "--wait",
            "--timeout",
            "2m",
        ];
        install.extend(sets.iter().flat_map(|set| ["--set", set]));
        helm(&install).await.unwrap();
        helm(&["test", "limited", "--namespace", &namespace])
            .await
            .unwrap();
        let account = format!("system:serviceaccount:{namespace}:limited-naru");
        for (place, expected) in [(namespace.as_str(), true), ("default", false)] {
            let may = ["auth", "can-i", "list", "scrapejobs.naru.dev", "--as", &account];
            let may = kubectl(&[&may[..], &["--namespace", place]].concat()).await;
            assert_eq!(may.is_ok(), expected, "{account} in {place}: {may:?}");
        }
    })
    .await;
}
