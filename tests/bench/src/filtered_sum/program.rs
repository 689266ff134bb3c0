//! A process that is measured, seen from outside.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use snafu::ResultExt;

use super::{error::Error, pause};

/// The kernel counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;

/// A process of ours, ended with SIGKILL when this is dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) started: Instant,
    log: PathBuf,
}

impl Program {
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self, Error> {
        let file = std::fs::File::create(log).whatever_context("unable to create a log file")?;
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn();
        let child =
            child.with_whatever_context(|_| format!("unable to start {:?}", command.get_program()))?;
        Ok(Self {
            child,
            started,
            log: log.to_owned(),
        })
    }

    /// What it wrote to its standard output, once it has ended by itself. Not much.
    pub(crate) fn output(&mut self, within: Duration) -> Result<(String, Duration), Error> {
        let ended = loop {
            match self
                .child
                .try_wait()
                .whatever_context("unable to wait for a process")?
            {
                Some(status) if status.success() => break self.started.elapsed(),
                Some(status) => {
                    return Err(Error::new(format!(
                        "it ended with {status}: {}",
                        self.last_line()
                    )));
                }
                None if self.started.elapsed() > within => return Err(Error::new("it did not end in time")),
                None => pause(Duration::from_millis(1)),
            }
        };
        let mut text = String::new();
        if let Some(output) = &mut self.child.stdout {
            output
                .read_to_string(&mut text)
                .whatever_context("unable to read what a process wrote")?;
        }
        Ok((text, ended))
    }

    pub(crate) fn expect_running(&mut self) -> Result<(), Error> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(Error::new(format!("it ended by itself: {}", self.last_line()))),
        }
    }

    fn last_line(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().last().unwrap_or_default().to_owned()
    }

    /// User and system, of all threads since the start, seconds.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        let ticks = fields.split(' ').skip(11).take(2);
        ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
    }

    /// The most resident memory that it ever had, 10^6 bytes.
    pub(crate) fn peak_mb(&self) -> f64 {
        self.status_mb("VmHWM:")
    }

    /// Its resident memory, 10^6 bytes.
    pub(crate) fn rss_mb(&self) -> f64 {
        self.status_mb("VmRSS:")
    }

    fn status_mb(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or(0.0) * 1024.0 / 1e6
    }

    /// SIGTERM, then its end.
    pub(crate) fn end(mut self) -> Result<(), Error> {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status();
        sent.whatever_context("unable to end a process")?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if self
                .child
                .try_wait()
                .whatever_context("unable to wait for a process")?
                .is_some()
            {
                return Ok(());
            }
            pause(Duration::from_millis(20));
        }
        Err(Error::new("it did not end on SIGTERM"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of an answer with status 200 to GET `path` on a loopback port.
pub(crate) fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1)?.eq("200").then(|| body.to_owned())
}
