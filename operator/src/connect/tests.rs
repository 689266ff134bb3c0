//! The client against a Connect cluster in memory.

use serde_json::json;

use super::{
    fake::{self, Fake, error, http},
    *,
};
use crate::leader::Fence;

#[tokio::test]
async fn a_connector_is_registered_read_and_deleted() {
    let fake = Fake::start().await;
    let connect = fake.client(Mask::default());
    assert_eq!(connect.config("shop.items").await, Ok(None));
    assert_eq!(connect.status("shop.items").await, Ok(None));

    connect
        .put_config("shop.items", &Config::from([("topics", "items")]))
        .await
        .unwrap();
    let found = connect.config("shop.items").await.unwrap().unwrap();
    assert_eq!(found, Config::from([("name", "shop.items"), ("topics", "items")]));

    connect.delete("shop.items").await.unwrap();
    connect.delete("shop.items").await.unwrap();
    assert_eq!(connect.config("shop.items").await, Ok(None));
}

#[tokio::test]
async fn a_failed_task_shows_with_its_trace_and_without_secrets() {
    let fake = Fake::start().await;
    fake.world(|world| {
        let status = json!({
            "name": "a", "type": "sink",
            "connector": { "state": "RUNNING", "worker_id": "w" },
            "tasks": [
                { "id": 0, "state": "RUNNING", "worker_id": "w" },
                { "id": 1, "state": "FAILED", "worker_id": "w", "trace": "wrong password geheim" },
                { "id": 2, "state": "SOMETHING_NEW", "worker_id": "w" },
            ],
        });
        world.statuses.insert("a".to_owned(), status);
    });
    let connect = fake.client(Mask::new(["geheim"]));
    let status = connect.status("a").await.unwrap().unwrap();
    assert_eq!(status.state, State::Running);
    let tasks: Vec<_> = status
        .tasks
        .iter()
        .map(|task| (task.id, task.state, task.trace.as_deref()))
        .collect();
    let expected = [
        (0, State::Running, None),
        (1, State::Failed, Some("wrong password ***")),
        (2, State::Other, None),
    ];
    assert_eq!(tasks, expected);
    connect.restart_failed("a").await.unwrap();
}

#[tokio::test]
async fn a_refusal_says_what_connect_said_without_secrets_on_one_line_and_cut() {
    let fake = Fake::start().await;
    let connect = fake.client(Mask::new(["geheim"]));
    let message = format!("Invalid value geheim:\n  {}", "x".repeat(1000));
    fake.instead(400, error(400, &message));
    let refused = connect
        .put_config("a", &Config::from([("password", "geheim")]))
        .await
        .unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("(status 400): Invalid value ***: xxx"), "{text}");
    assert!(!text.contains("geheim") && !text.contains('\n'), "{text}");
    let Error::Refused { message, .. } = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(message.chars().count(), LONGEST_MESSAGE + "...".len());
}

#[tokio::test]
async fn a_look_at_all_connectors_that_is_refused_shows_nothing_of_what_connect_says() {
    let fake = Fake::start().await;
    let connect = fake.client(Mask::new(["geheim"]));
    fake.instead(500, error(500, "cannot expand shop.other: password=streng"));
    let refused = connect.look("a").await.unwrap_err();
    assert!(
        matches!(refused, Error::Refused { status: 500, .. }),
        "{refused:?}"
    );
    let text = refused.to_string();
    assert!(
        text.contains("list its connectors") && !text.contains("streng"),
        "{text}"
    );
}

#[tokio::test]
async fn a_rebalance_is_no_refusal() {
    let fake = Fake::start().await;
    let connect = fake.client(Mask::default());
    let conflict = error(
        409,
        "Cannot complete request momentarily due to stale configuration",
    );
    for _ in 0..4 {
        fake.instead(409, conflict.clone());
    }
    let rebalancing = Err(Error::Rebalancing {
        address: fake.address.to_string(),
    });
    assert_eq!(connect.put_config("a", &Config::default()).await, rebalancing);
    assert_eq!(connect.restart_failed("a").await, rebalancing);
    assert_eq!(connect.delete("a").await, rebalancing);
    assert_eq!(connect.status("a").await.map(|_| ()), rebalancing);
}

#[tokio::test]
async fn another_server_is_not_mistaken_for_connect() {
    let fake = Fake::start().await;
    let connect = fake.client(Mask::default());
    let cases = [
        (404, "<html>not found</html>"),
        (200, "<html>welcome</html>"),
        (200, "[1]"),
        (502, ""),
    ];
    for (status, body) in cases {
        fake.instead(status, body);
        let error = connect.config("a").await.unwrap_err();
        assert!(
            matches!(error, Error::NotConnect { .. }),
            "{status} {body}: {error}"
        );
        assert!(!error.to_string().contains("html"), "{error}");
    }
    // Nothing was unregistered, so a deletion must not be taken for done.
    fake.instead(404, "<html>not found</html>");
    assert!(matches!(connect.delete("a").await, Err(Error::NotConnect { .. })));
}

#[tokio::test]
async fn without_the_lead_connectors_are_looked_at_and_not_changed() {
    let fake = Fake::start().await;
    let clusters = Clusters::new(http()).behind(Fence::closed());
    let connect = Connect::new(clusters.get(&fake.address), Mask::default());
    assert_eq!(connect.config("a").await, Ok(None));
    let config = Config::default();
    let refusals = [
        connect.put_config("a", &config).await,
        connect.create_paused("a", &config).await,
        connect.restart_failed("a").await,
        connect.pause("a").await,
        connect.resume("a").await,
        connect.stop("a").await,
        connect.delete_offsets("a").await,
        connect.delete("a").await,
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Err(Error::Fenced { .. })), "{refusal:?}");
    }
    let requests = fake.world(|world| world.requests.clone());
    assert!(
        requests.iter().all(|request| request.starts_with("GET ")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn an_unreachable_cluster_is_named_without_credentials() {
    // A port that was free a moment ago, so that nobody listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let address = Address::parse(&format!("http://ada:lovelace@127.0.0.1:{port}")).unwrap();
    let cluster = Clusters::new(http()).get(&address);
    let error = Connect::new(cluster, Mask::default())
        .status("a")
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!(
            "kafka connect at \"http://127.0.0.1:{port}\" does not answer since "
        )),
        "{text}"
    );
    assert!(text.to_lowercase().contains("connection refused"), "{text}");
    assert!(!text.contains("lovelace"), "{text}");
}

#[tokio::test]
async fn nobody_waits_for_the_one_that_looks_at_a_silent_cluster() {
    // Connections are accepted for it, and nothing is ever said.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = Address::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    let connect = Connect::new(Clusters::new(http()).get(&address), Mask::default());
    assert!(connect.look("a").await.is_err());
    // Until it is asked again, all are told at once anyway.
    let told = loop {
        let began = std::time::Instant::now();
        let looks = (0..16).map(|_| async {
            assert!(connect.look("a").await.is_err());
            began.elapsed() < CONNECT_DEADLINE / 2
        });
        let told = futures::future::join_all(looks).await;
        if told.contains(&false) {
            break told;
        }
        tokio::task::yield_now().await;
    };
    let at_once = told.iter().filter(|at_once| **at_once).count();
    assert_eq!(at_once, 15, "all but the one that asks");
}

#[tokio::test]
async fn five_hundred_connectors_are_looked_at_with_one_request() {
    let fake = Fake::start().await;
    let names: Vec<String> = (0..500).map(|number| format!("shop.items-{number}")).collect();
    fake.world(|world| {
        for name in &names {
            fake::register(world, name, Config::from([("topics", "items")]), "RUNNING");
        }
    });
    let connect = fake.client(Mask::default());
    let looks = names.iter().map(|name| connect.look(name));
    for found in futures::future::join_all(looks).await {
        let found = found.unwrap().unwrap();
        assert_eq!(found.config.get("topics"), Some("items"));
        assert_eq!(found.status.unwrap().state, State::Running);
    }
    let requests = fake.world(|world| world.requests.clone());
    assert_eq!(requests, ["GET /connectors?expand=status&expand=info"]);
}

#[tokio::test]
async fn a_connector_that_we_changed_is_asked_for_by_name_until_the_next_look() {
    let fake = Fake::start().await;
    let connect = fake.client(Mask::default());
    for number in ["1", "2"] {
        connect
            .put_config("a", &Config::from([("tasks.max", number)]))
            .await
            .unwrap();
        let found = connect.look("a").await.unwrap().unwrap();
        assert_eq!(found.config.get("tasks.max"), Some(number));
    }
    connect.cluster.look().await.unwrap();
    fake.world(|world| world.requests.clear());
    connect.look("a").await.unwrap().unwrap();
    assert!(fake.world(|world| world.requests.is_empty()));
}

#[tokio::test]
async fn a_connector_that_the_list_leaves_out_is_not_taken_for_missing() {
    let fake = Fake::start().await;
    fake.world(|world| {
        world
            .configs
            .insert("a".to_owned(), Config::from([("tasks.max", "1")]))
    });
    let found = fake.client(Mask::default()).look("a").await.unwrap().unwrap();
    assert_eq!((found.config.get("tasks.max"), found.status), (Some("1"), None));
    assert_eq!(fake.client(Mask::default()).look("b").await, Ok(None));
}

#[tokio::test]
async fn a_connector_is_paused_resumed_and_stopped_before_its_offsets_go() {
    let fake = Fake::start().await;
    let connect = fake.client(Mask::default());
    connect
        .create_paused("a", &Config::from([("tasks.max", "1")]))
        .await
        .unwrap();
    let state = async || connect.look("a").await.unwrap().unwrap().status.unwrap().state;
    assert_eq!(state().await, State::Paused);
    connect.resume("a").await.unwrap();
    assert_eq!(state().await, State::Running);
    connect.pause("a").await.unwrap();
    assert_eq!(state().await, State::Paused);
    assert!(matches!(
        connect.delete_offsets("a").await,
        Err(Error::Refused { status: 400, .. })
    ));
    connect.stop("a").await.unwrap();
    connect.delete_offsets("a").await.unwrap();
}

#[tokio::test]
async fn a_look_finds_a_place_beside_changes_that_take_long_and_a_change_too_many_is_no_outage() {
    let fake = Fake::start().await;
    let clusters = Clusters::new(http());
    let connect = Connect::new(clusters.get(&fake.address), Mask::default());
    // It answers: eight at once may ask.
    connect.cluster.look().await.unwrap();
    let held = fake.hold("PUT ");
    let changes = (0..8).map(|number| {
        let connect = connect.clone();
        tokio::spawn(async move {
            let name = format!("shop.items-{number}");
            connect.put_config(&name, &Config::default()).await
        })
    });
    let changes: Vec<_> = changes.collect();
    fake.asked("PUT ", 8).await;
    let busy = connect.put_config("shop.last", &Config::default()).await;
    assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
    assert!(matches!(
        ReconcileError::from(busy.unwrap_err()),
        ReconcileError::Busy { .. }
    ));
    connect.cluster.look().await.unwrap();
    assert!(clusters.are_changing());
    held.add_permits(8);
    for change in changes {
        change.await.unwrap().unwrap();
    }
    assert!(!clusters.are_changing());
}

#[tokio::test]
async fn a_look_that_comes_late_does_not_replace_a_newer_one() {
    let fake = Fake::start().await;
    let connect = fake.client(Mask::default());
    connect.cluster.look().await.unwrap();
    let held = fake.hold("GET /connectors?");
    let cluster = Arc::clone(&connect.cluster);
    let old = tokio::spawn(async move { cluster.look().await });
    fake.asked("GET /connectors?", 2).await;
    fake.world(|world| {
        world.held = None;
        fake::register(world, "a", Config::from([("tasks.max", "1")]), "RUNNING")
    });
    connect.cluster.look().await.unwrap();
    held.add_permits(1);
    assert!(old.await.unwrap().unwrap().is_empty(), "it was asked before");
    fake.world(|world| world.requests.clear());
    assert!(connect.look("a").await.unwrap().is_some());
    assert_eq!(
        fake.world(|world| world.requests.clone()),
        Vec::<String>::new(),
        "the newer look knew it"
    );
}
