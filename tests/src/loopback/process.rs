//! Processes of a test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use tempfile::NamedTempFile;

use super::eventually;

/// How much of a process's output a failed test shows.
const LINES_SHOWN: usize = 40;

/// A process that is killed when its handle is dropped. Its standard error is shown when the test fails.
pub struct Process {
    name: String,
    child: Mutex<Child>,
    errors: NamedTempFile,
}

impl Process {
    /// Starts one of the workspace's binaries, built beforehand by `cargo build -p <package>`.
    pub fn worker(package: &str, arguments: &[&str]) -> Self {
        Self::run(&program(package), arguments)
    }

    /// Starts a program.
    pub fn run(path: &Path, arguments: &[&str]) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::spawn(&name, Command::new(path).args(arguments).stdout(Stdio::null()))
    }

    pub(super) fn stack(arguments: &[&str]) -> Self {
        let script = workspace().join("deploy/stack/local");
        assert!(
            script.exists(),
            "{} is missing: it starts Kafka and the registry",
            script.display()
        );
        // The servers' own logs would drown what the tests say; their errors reach standard error.
        Self::spawn(
            arguments.first().unwrap_or(&"local"),
            Command::new(script).args(arguments).stdout(Stdio::null()),
        )
    }

    fn spawn(name: &str, command: &mut Command) -> Self {
        let errors = NamedTempFile::new().expect("the temporary folder is writable");
        let file = errors.reopen().expect("it was just made");
        let child = command.stdin(Stdio::null()).stderr(file).spawn();
        let child = child.unwrap_or_else(|error| unreachable!("unable to start {name:?}: {error}"));
        Self {
            name: name.to_owned(),
            child: Mutex::new(child),
            errors,
        }
    }

    /// What it has written to standard error.
    pub fn errors(&self) -> String {
        std::fs::read(self.errors.path()).map_or_else(
            |error| error.to_string(),
            |text| String::from_utf8_lossy(&text).into_owned(),
        )
    }

    pub fn is_running(&self) -> bool {
        let mut child = self.child.lock().expect("no test panics while it holds the lock");
        matches!(child.try_wait(), Ok(None))
    }

    /// Exit code, `None` after a signal, once it has ended.
    pub fn wait(&self, within: Duration) -> Option<i32> {
        eventually(within, &format!("{:?} has ended", self.name), || {
            !self.is_running()
        });
        let mut child = self.child.lock().expect("no test panics while it holds the lock");
        child.wait().expect("it has ended").code()
    }

    /// SIGKILL.
    pub fn kill(&self) {
        let mut child = self.child.lock().expect("no test panics while it holds the lock");
        let _ = child.kill();
        let _ = child.wait();
    }

    /// A signal by its name, such as `TERM`, `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let pid = self
            .child
            .lock()
            .expect("no test panics while it holds the lock")
            .id();
        let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "unable to send SIG{name} to {:?}",
            self.name
        );
    }

    pub(super) fn expect_running(&self) {
        assert!(
            self.is_running(),
            "{:?} ended although it was to run; its output says why",
            self.name
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let errors = self.errors();
            let lines = errors.lines().collect::<Vec<_>>();
            let last = lines.len().saturating_sub(LINES_SHOWN);
            println!(
                "--- end of the output of {:?}\n{}",
                self.name,
                lines[last..].join("\n")
            );
        }
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// A binary of the workspace: beside the running one (`target/<profile>`), or above the folder of a test
/// (`target/<profile>/deps`).
pub fn program(name: &str) -> PathBuf {
    let running = std::env::current_exe().expect("a running program has a path");
    let mut folders = running.ancestors().skip(1).take(2);
    folders
        .find_map(|folder| Some(folder.join(name)).filter(|found| found.is_file()))
        .unwrap_or_else(|| panic!("{name} is not built: run `cargo build -p {name}` first"))
}
