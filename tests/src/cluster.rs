//! The kind cluster that a test works on.

use std::{
    fmt::Display,
    future::Future,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use futures::FutureExt;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use tokio::time::Instant;

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// How long a command may take, and one that waits for pods.
const SHORT: Duration = Duration::from_secs(60);
const RELEASE: Duration = Duration::from_secs(400);

/// A client for the cluster that `KUBECONFIG` names.
pub async fn client() -> Client {
    // One TLS provider for all clients; a second installation is refused, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::try_default()
        .await
        .expect("no cluster: `make e2e` starts one and says where it is")
}

/// Waits until `condition` answers `Ok`. Panics after `deadline` with the last `Err`, which says what is missing.
pub async fn eventually<T, E, F>(what: &str, deadline: Duration, mut condition: impl FnMut() -> F) -> T
where
    E: Display,
    F: Future<Output = Result<T, E>>,
{
    let end = Instant::now() + deadline;
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(error) if Instant::now() > end => panic!("{what}: not within {deadline:?}: {error}"),
            Err(_) => tokio::time::sleep(EVERY).await,
        }
    }
}

/// That something is so; otherwise what is so instead. For conditions of [`eventually`].
pub fn ensure(is_so: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(otherwise()) }
}

/// Runs a test in a namespace of its own, where only pods start that keep to the restricted Pod Security Standard. It is
/// deleted afterwards. Of a test that fails, the pods' states are
/// shown first, and with `NARU_KEEP` set the namespace stays.
pub async fn with_namespace<F>(prefix: &str, test: impl FnOnce(Client, String) -> F)
where
    F: Future<Output = ()>,
{
    let client = client().await;
    let namespaces = Api::<Namespace>::all(client.clone());
    let mut namespace = Namespace::default();
    let suffix = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let name = format!("{prefix}-{:x}", suffix % 0xfff_ffff);
    namespace.metadata.name = Some(name.clone());
    let restricted = (
        "pod-security.kubernetes.io/enforce".to_owned(),
        "restricted".to_owned(),
    );
    namespace.metadata.labels = Some([restricted].into());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .expect("failed to create a namespace");
    let outcome = AssertUnwindSafe(test(client.clone(), name.clone()))
        .catch_unwind()
        .await;
    if outcome.is_err() {
        show_pods(&client, &name).await;
    }
    if outcome.is_ok() || std::env::var_os("NARU_KEEP").is_none() {
        match namespaces.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            // The test has deleted it.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => panic!("failed to delete namespace {name}: {error}"),
        }
    }
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn show_pods(client: &Client, namespace: &str) {
    let described = kubectl(&[
        "--namespace",
        namespace,
        "get",
        "naru,pods,deployments",
        "--output",
        "wide",
    ])
    .await;
    println!("{}", described.unwrap_or_else(|error| error));
    let Ok(pods) = Api::<Pod>::namespaced(client.clone(), namespace)
        .list(&ListParams::default())
        .await
    else {
        return;
    };
    for pod in pods {
        let name = pod.name_any();
        let log = kubectl(&["--namespace", namespace, "logs", &name, "--tail", "20"]).await;
        println!("--- {name}\n{}", log.unwrap_or_else(|error| error));
    }
}

/// Applies YAML in a namespace. What kubectl prints, or its complaint.
pub async fn apply(namespace: &str, yaml: &str) -> Result<String, String> {
    kubectl_with(&["--namespace", namespace, "apply", "--filename", "-"], yaml).await
}

/// Copies the Secret with the database's credentials to another namespace.
pub async fn copy_credentials(client: &Client, namespace: &str) {
    copy_credentials_as(client, namespace, "mysql").await;
}

/// The same, under another name.
pub async fn copy_credentials_as(client: &Client, namespace: &str, name: &str) {
    let secret = Api::<Secret>::namespaced(client.clone(), "naru-stack")
        .get("mysql")
        .await
        .expect("no Secret mysql");
    let mut copy = Secret {
        data: secret.data,
        type_: secret.type_,
        ..Secret::default()
    };
    copy.metadata.name = Some(name.to_owned());
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    secrets
        .create(&PostParams::default(), &copy)
        .await
        .expect("failed to copy Secret mysql");
}

/// Whether this many resources of naru are in a namespace, all of them ready; otherwise what they say.
pub async fn all_ready(namespace: &str, expected: usize) -> Result<(), String> {
    let columns = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.status.conditions[?(@.type=='Ready')].status} {.status.conditions[?(@.type=='Ready')].message}{'\\n'}{end}";
    let listed = kubectl(&["--namespace", namespace, "get", "naru", "--output", columns]).await?;
    let ready = listed
        .lines()
        .filter(|line| line.split(' ').nth(1) == Some("True"))
        .count();
    if ready == expected { Ok(()) } else { Err(listed) }
}

/// Installs the charts of a checkout of this repository, or upgrades to them. `.` is this tree.
pub async fn release(checkout: &str) {
    let script = repository().join("deploy/release");
    let released = command(&script.to_string_lossy(), &[checkout], None, RELEASE).await;
    released.expect("failed to install the charts");
}

/// The top folder of this repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What helm prints, or its complaint.
pub async fn helm(arguments: &[&str]) -> Result<String, String> {
    command("helm", arguments, None, RELEASE).await
}

/// What kubectl prints, or its complaint.
pub async fn kubectl(arguments: &[&str]) -> Result<String, String> {
    command("kubectl", arguments, None, SHORT).await
}

/// What kubectl prints when it reads `input`.
pub async fn kubectl_with(arguments: &[&str], input: &str) -> Result<String, String> {
    command("kubectl", arguments, Some(input), SHORT).await
}

/// What a query on the stack's database answers: a line per row, tabs between columns.
pub async fn mysql(query: &str) -> Result<String, String> {
    // The password stays inside the pod, which has it in its environment.
    let script = r#"exec mariadb --default-character-set=utf8mb4 --user="$MARIADB_USER" --password="$MARIADB_PASSWORD" --batch --skip-column-names naru --execute "$0""#;
    kubectl(&[
        "--namespace",
        "naru-stack",
        "exec",
        "mysql-0",
        "--",
        "sh",
        "-c",
        script,
        query,
    ])
    .await
}

/// What a command prints that runs where the stack's Kafka does.
pub async fn beside_kafka(command: &[&str]) -> Result<String, String> {
    beside_kafka_with(command, "").await
}

/// What it prints when it reads `input`.
pub async fn beside_kafka_with(command: &[&str], input: &str) -> Result<String, String> {
    let inside = ["--namespace", "naru-stack", "exec", "--stdin", "kafka-0", "--"];
    kubectl_with(&[&inside, command].concat(), input).await
}

/// Ends the first container of a pod with SIGKILL, as a crash would. Its kubelet starts it again.
pub async fn kill_container(client: &Client, namespace: &str, pod: &str) -> Result<(), String> {
    let pod = Api::<Pod>::namespaced(client.clone(), namespace)
        .get(pod)
        .await
        .map_err(|e| e.to_string())?;
    let node = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.clone())
        .ok_or("the pod has no node")?;
    let id = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref()?.first()?.container_id.clone())
        .ok_or("the pod has no container yet")?;
    let id = id.trim_start_matches("containerd://");
    let kill = [
        "exec",
        &node,
        "ctr",
        "--namespace",
        "k8s.io",
        "tasks",
        "kill",
        "--signal",
        "SIGKILL",
        id,
    ];
    command("docker", &kill, None, SHORT).await.map(|_| ())
}

async fn command(
    program: &str,
    arguments: &[&str],
    input: Option<&str>,
    deadline: Duration,
) -> Result<String, String> {
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let run = async {
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take();
        if let (Some(stdin), Some(input)) = (stdin.as_mut(), input) {
            tokio::io::AsyncWriteExt::write_all(stdin, input.as_bytes()).await?;
        }
        drop(stdin);
        child.wait_with_output().await
    };
    match tokio::time::timeout(deadline, run).await {
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Ok(output)) => Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Ok(Err(error)) => Err(format!("{program} does not run: {error}")),
        Err(_) => Err(format!("{program} did not end within {deadline:?}")),
    }
}
