//! The pure phases, case by case.

mod endings;
mod passes;
mod secrets;

use clap::Parser;
use serde_json::{Value, json};

use super::{plan::Wanted, *};
use crate::{
    connect::{Config, ConnectorStatus, Registered, State, TaskStatus},
    settings::Settings,
};

pub(super) fn settings() -> Settings {
    let defaults = [
        "naru-operator",
        "--worker-image",
        "w",
        "--connect-url",
        "http://connect:8083",
    ];
    Settings::parse_from(
        defaults
            .into_iter()
            .chain(["--kafka-bootstrap-servers", "kafka:9092"]),
    )
}

pub(super) fn sink(spec: &Value) -> SinkConnector {
    serde_json::from_value(json!({
        "apiVersion": "naru.dev/v1alpha1", "kind": "SinkConnector",
        "metadata": { "name": "items", "namespace": "shop", "generation": 1 },
        "spec": spec,
    }))
    .unwrap()
}

fn mysql() -> SinkConnector {
    sink(&json!({
        "topics": ["b.items", "a.items"], "tasksMax": 2,
        "mysql": { "url": "jdbc:mysql://mysql:3306/shop", "credentialsSecret": "mysql", "table": "items", "key": "seq" },
    }))
}

fn secrets() -> Config {
    Config::from([("connection.username", "ada"), ("connection.password", "geheim")])
}

#[test]
fn a_mysql_sink_is_an_upserting_jdbc_sink_that_reads_committed_records_from_the_start() {
    let valid = validate(&settings(), &mysql()).unwrap();
    assert_eq!(valid.connector, "shop.items");
    assert_eq!(valid.store.secrets()["connection.password"].secret, "mysql");
    let expected = Config::from([
        ("batch.size", "1000"),
        ("collection.name.format", "items"),
        ("connection.password", "geheim"),
        ("connection.url", "jdbc:mysql://mysql:3306/shop"),
        ("connection.username", "ada"),
        ("connector.class", "io.debezium.connector.jdbc.JdbcSinkConnector"),
        ("consumer.override.auto.offset.reset", "earliest"),
        ("consumer.override.isolation.level", "read_committed"),
        ("consumer.override.max.poll.records", "1000"),
        ("delete.enabled", "false"),
        ("errors.deadletterqueue.context.headers.enable", "true"),
        (
            "errors.deadletterqueue.topic.name",
            "naru.shop.items.sink.dead-letters",
        ),
        ("errors.deadletterqueue.topic.replication.factor", "-1"),
        ("errors.tolerance", "all"),
        ("insert.mode", "upsert"),
        ("primary.key.fields", "seq"),
        ("primary.key.mode", "record_value"),
        ("schema.evolution", "basic"),
        ("quote.identifiers", "true"),
        ("tasks.max", "2"),
        ("topics", "a.items,b.items"),
        ("use.time.zone", "UTC"),
    ]);
    assert_eq!(build::build(&valid, &secrets()).0, expected.0);
}

#[test]
fn any_other_connector_is_configured_as_written() {
    let spec = json!({
        "topics": ["items"], "class": "org.example.Sink",
        "config": { "url": "http://store", "consumer.override.isolation.level": "read_uncommitted" },
        "configSecrets": { "token": { "secret": "store", "key": "token" } },
    });
    let valid = validate(&settings(), &sink(&spec)).unwrap();
    let expected = Config::from([
        ("connector.class", "org.example.Sink"),
        ("consumer.override.auto.offset.reset", "earliest"),
        ("consumer.override.isolation.level", "read_uncommitted"),
        ("tasks.max", "1"),
        ("token", "geheim"),
        ("topics", "items"),
        ("url", "http://store"),
    ]);
    assert_eq!(
        build::build(&valid, &Config::from([("token", "geheim")])).0,
        expected.0
    );
}

#[test]
fn mistakes_are_named_with_the_way_out() {
    let class = |more: &Value| {
        let mut spec = json!({ "topics": ["items"], "class": "org.example.Sink" });
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        sink(&spec)
    };
    let url = |url: &str| {
        let mysql = json!({ "url": url, "credentialsSecret": "mysql", "table": "items", "key": "seq" });
        sink(&json!({ "topics": ["items"], "mysql": mysql }))
    };
    let mut nowhere = settings();
    nowhere.connect_url = None;
    let cases = [
        (
            "no Connect anywhere",
            &nowhere,
            mysql(),
            "spec.connect.url is not set and there is no default: set it, or the chart's value defaults.connect.url",
        ),
        (
            "an address that is none",
            &settings(),
            class(&json!({ "connect": { "url": "http://ada:geheim@:x" } })),
            "connect.url is not an address: empty host",
        ),
        (
            "a key of ours",
            &settings(),
            class(&json!({ "configSecrets": { "topics": { "secret": "a", "key": "b" } } })),
            "configSecrets sets \"topics\", which naru sets from topics",
        ),
        (
            "a value from two places",
            &settings(),
            class(
                &json!({ "config": { "token": "x" }, "configSecrets": { "token": { "secret": "a", "key": "b" } } }),
            ),
            "config and configSecrets both set \"token\": remove one of them",
        ),
        (
            "credentials in plain sight",
            &settings(),
            url("jdbc:mysql://mysql/shop?useSSL=false&Password=geheim"),
            "mysql.url has the parameter \"Password\": credentials belong into the Secret that \
             mysql.credentialsSecret names",
        ),
        (
            "its own dead letters",
            &settings(),
            sink(&json!({ "topics": ["naru.shop.items.sink.dead-letters"], "class": "org.example.Sink" })),
            "topics: \"naru.shop.items.sink.dead-letters\" takes what this connector cannot read, and must not be its input",
        ),
    ];
    for (case, settings, sink, expected) in cases {
        let error = validate(settings, &sink).unwrap_err();
        assert_eq!(
            (error.reason(), error.sentence().as_str()),
            ("InvalidSpec", expected),
            "{case}"
        );
    }
}

fn task(id: i32, state: State, trace: Option<&str>) -> TaskStatus {
    TaskStatus {
        id,
        state,
        trace: trace.map(str::to_owned),
    }
}

fn status(state: State, tasks: Vec<TaskStatus>) -> ConnectorStatus {
    ConnectorStatus {
        state,
        trace: None,
        tasks,
    }
}

#[test]
fn what_is_to_be_done_follows_from_what_is() {
    let desired = Config::from([("a", "1"), ("b", "2")]);
    let registered = || Config::from([("a", "1"), ("b", "2"), ("name", "shop.items")]);
    let other = || Config::from([("a", "1"), ("b", "3"), ("name", "shop.items")]);
    let more = || Config::from([("a", "1"), ("b", "2"), ("c", "3"), ("name", "shop.items")]);
    let well = || status(State::Running, vec![task(0, State::Running, None)]);
    let failed = || {
        status(
            State::Running,
            vec![task(0, State::Running, None), task(1, State::Failed, None)],
        )
    };
    let broken = || status(State::Failed, vec![]);
    let paused = || status(State::Paused, vec![task(0, State::Paused, None)]);
    let stopped = || status(State::Stopped, vec![]);
    // (case, registered, status, what is wanted besides the configuration, plan)
    let cases = [
        ("not registered", None, None, "", Plan::Create),
        ("a value differs", Some(other()), Some(well()), "", Plan::Update),
        ("a key is too many", Some(more()), Some(well()), "", Plan::Update),
        (
            "the configuration comes before a restart",
            Some(other()),
            Some(failed()),
            "restart",
            Plan::Update,
        ),
        (
            "a failed task behind a running connector",
            Some(registered()),
            Some(failed()),
            "restart",
            Plan::RestartFailed,
        ),
        (
            "a connector that failed itself",
            Some(registered()),
            Some(broken()),
            "restart",
            Plan::RestartFailed,
        ),
        (
            "restarted a moment ago",
            Some(registered()),
            Some(failed()),
            "",
            Plan::Nothing,
        ),
        (
            "all is well",
            Some(registered()),
            Some(well()),
            "restart",
            Plan::Nothing,
        ),
        (
            "not yet started",
            Some(registered()),
            None,
            "restart",
            Plan::Nothing,
        ),
        (
            "paused by somebody",
            Some(registered()),
            Some(paused()),
            "restart",
            Plan::Nothing,
        ),
        (
            "suspended",
            Some(registered()),
            Some(well()),
            "suspend",
            Plan::Pause,
        ),
        (
            "suspended and edited",
            Some(other()),
            Some(paused()),
            "suspend",
            Plan::Update,
        ),
        (
            "suspended, a task failed",
            Some(registered()),
            Some(failed()),
            "suspend restart",
            Plan::Pause,
        ),
        (
            "suspended and paused",
            Some(registered()),
            Some(paused()),
            "suspend",
            Plan::Nothing,
        ),
        (
            "suspended and stopped",
            Some(registered()),
            Some(stopped()),
            "suspend",
            Plan::Nothing,
        ),
        (
            "suspended, it cannot start",
            Some(registered()),
            Some(broken()),
            "suspend restart",
            Plan::Nothing,
        ),
        (
            "no longer suspended",
            Some(registered()),
            Some(paused()),
            "ours",
            Plan::Resume,
        ),
        (
            "no longer suspended, and Connect has not paused it yet",
            Some(registered()),
            Some(well()),
            "ours",
            Plan::Resume,
        ),
        (
            "no longer suspended, and a task failed",
            Some(registered()),
            Some(failed()),
            "ours restart",
            Plan::Resume,
        ),
        (
            "stopped by somebody while suspended",
            Some(registered()),
            Some(stopped()),
            "ours",
            Plan::Nothing,
        ),
    ];
    for (case, config, status, wanted, expected) in cases {
        let found = config.map(|config| Registered { config, status });
        let wanted = Wanted {
            config: &desired,
            suspend: wanted.contains("suspend"),
            paused_by_us: wanted.contains("ours"),
            restart: wanted.contains("restart"),
        };
        assert_eq!(plan::plan(wanted, found.as_ref()), expected, "{case}");
    }
}

#[test]
fn the_registry_of_the_converters_comes_before_the_default_one() {
    let key = "value.converter.schema.registry.url";
    let default = "http://registry:8081".to_owned();
    let url = |config: &Config| settle::registry_url(config, Some(&default)).map(str::to_owned);
    assert_eq!(url(&Config::default()).as_deref(), Some("http://registry:8081"));
    assert_eq!(
        url(&Config::from([(key, "http://a:1,http://b:1")])).as_deref(),
        Some("http://a:1")
    );
    assert_eq!(url(&Config::from([(key, "http://ada:geheim@a:1")])), None);
    assert_eq!(settle::registry_url(&Config::default(), None), None);
}

fn seen(plan: Plan, status: Option<ConnectorStatus>) -> Seen {
    Seen {
        plan,
        status,
        suspend: false,
        paused_by_us: false,
        held: false,
        next: None,
        drifted: vec![],
        lost: false,
        rotated: vec![],
    }
}

#[test]
fn readiness_says_how_the_tasks_are() {
    let trace = "org.apache.kafka.connect.errors.ConnectException: Exiting\n\tat a.b.C(C.java:1)\nCaused by: \
                 java.lang.X: middle\n\tat d.E\nCaused by: java.sql.SQLException: Access denied\n\t... 4 more\n";
    let running = || task(0, State::Running, None);
    let broken = ConnectorStatus {
        state: State::Failed,
        trace: Some("X: no such class".to_owned()),
        tasks: vec![],
    };
    let denied = "org.apache.kafka.connect.errors.ConnectException: Exiting caused by: java.sql.SQLException: Access denied";
    let failed = |plan| {
        (
            plan,
            Some(status(
                State::Running,
                vec![running(), task(1, State::Failed, Some(trace))],
            )),
        )
    };
    // (plan, status, ready, reason, message)
    let cases = [
        (
            (Plan::Create, None),
            false,
            "Registering",
            "the connector is registered and about to start".to_owned(),
        ),
        (
            (Plan::Nothing, Some(status(State::Running, vec![]))),
            false,
            "Starting",
            "tasks 0 of 0 running".to_owned(),
        ),
        (
            (
                Plan::Nothing,
                Some(status(
                    State::Running,
                    vec![running(), task(1, State::Unassigned, None)],
                )),
            ),
            false,
            "Starting",
            "tasks 1 of 2 running".to_owned(),
        ),
        (
            (Plan::Nothing, Some(status(State::Running, vec![running()]))),
            true,
            "Running",
            "tasks 1 of 1 running".to_owned(),
        ),
        (
            (
                Plan::Nothing,
                Some(status(State::Paused, vec![task(0, State::Paused, None)])),
            ),
            false,
            "PausedInConnect",
            "somebody has paused the connector in Connect".to_owned(),
        ),
        (
            failed(Plan::Nothing),
            false,
            "TaskFailed",
            format!("tasks 1 of 2 running; task 1 failed: {denied}"),
        ),
        (
            failed(Plan::RestartFailed),
            false,
            "TaskFailed",
            format!("tasks 1 of 2 running; task 1 failed: {denied}"),
        ),
        (
            (Plan::Nothing, Some(broken)),
            false,
            "ConnectorFailed",
            "the connector failed: X: no such class".to_owned(),
        ),
    ];
    for ((plan, status), ready, reason, message) in cases {
        let found = seen(plan, status).health();
        assert_eq!(
            (found.ready, found.why.reason, found.why.message),
            (ready, reason, message)
        );
    }
}
