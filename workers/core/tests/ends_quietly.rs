//! What is logged when a worker's Kafka clients end in order. A test of its own process: the log is the process's.

#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use naru_contract::Kafka;
use naru_worker_core::kafka::consumer::{Event, GroupConsumer};
use rdkafka::mocking::MockCluster;
use tracing_subscriber::fmt::MakeWriter;

const WITHIN: Duration = Duration::from_secs(20);

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn a_member_that_ends_logs_no_error() {
    let lines = Lines::default();
    // Takes over what libraries log as well.
    tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_ansi(false)
        .init();
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("in", 2, 1).unwrap();
    let kafka = Kafka {
        bootstrap_servers: brokers.bootstrap_servers(),
        properties: Default::default(),
    };
    let member = GroupConsumer::join(&kafka, "group", "pod-1", "in").unwrap();
    let deadline = Instant::now() + WITHIN;
    loop {
        assert!(Instant::now() < deadline, "no partitions were assigned");
        if let Event::Assigned(assigned) = member.poll(Duration::from_millis(100)).unwrap() {
            assert_eq!(assigned.len(), 2);
            break;
        }
    }
    member.leave(Duration::from_secs(1));
    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("partitions are assigned"), "{logged}");
    assert!(!logged.contains("ERROR"), "{logged}");
    assert!(!logged.contains("did not close in time"), "{logged}");
}
