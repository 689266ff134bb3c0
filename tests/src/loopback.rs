//! The real Kafka and the real schema registry as processes on free loopback ports, one set per test.
//!
//! `deploy/stack/local` starts them; dropping the handle kills them and deletes their data.

mod kafka;
mod process;

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use naru_contract as contract;

pub use kafka::{Consumed, Kafka, Proxied};
pub use process::{Process, program};

/// The first start of all resolves jars and makes start-up archives.
const START: Duration = Duration::from_secs(300);

/// A schema registry that keeps its schemas in `kafka`.
pub struct Registry {
    port: u16,
    _process: Process,
}

impl Registry {
    pub fn start(kafka: &Kafka) -> Self {
        let port = free_port();
        let process = Process::stack(&[
            "registry",
            "--port",
            &port.to_string(),
            "--kafka",
            kafka.address(),
        ]);
        eventually(START, "the registry answers", || {
            process.expect_running();
            answers_ok(port, "/apis/ccompat/v7/subjects")
        });
        Self {
            port,
            _process: process,
        }
    }

    pub fn contract(&self) -> contract::Registry {
        contract::Registry {
            url: format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port),
        }
    }
}

/// Waits until `condition` holds, and says what did not come true when it does not hold in time.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one loop that waits for a condition with a deadline"
)]
pub fn eventually(within: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "not within {} s: {what}",
            within.as_secs_f32()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A port that nothing listens on. Ports are handed out by the kernel in turn, so it stays free for a while.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it is bound").port()
}

/// Whether GET `path` is answered with 200.
pub fn answers_ok(port: u16, path: &str) -> bool {
    use std::io::{Read, Write};
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}
