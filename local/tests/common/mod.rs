//! What the tests of this crate share.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use standstill_core::runtime::Command;
use standstill_local::{LocalRuntime, StateDir};

/// One of this crate's examples, which cargo builds together with the tests.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --examples`", path.display());
    path
}

/// A runtime with a state directory and a place for files of its own.
pub struct Machine {
    pub place: tempfile::TempDir,
    pub state: StateDir,
    pub runtime: LocalRuntime,
}

impl Machine {
    pub fn new(lease: Duration) -> Self {
        let place = tempfile::Builder::new().prefix("standstill-local-").tempdir().unwrap();
        let state = StateDir::at(&place.path().join("state")).unwrap();
        let expectation = Arc::new(|wanted: &str, result: &serde_json::Value| {
            Ok(result["stdout"].as_str().is_some_and(|said| said.contains(wanted)))
        });
        let runtime =
            LocalRuntime::new(&example("agent"), Some(Vec::new()), &state, lease, expectation).unwrap();
        Self { place, state, runtime }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A shell script that runs in this machine's own place.
    pub fn script(&self, text: &str) -> Command {
        let mut command = Command::new(["sh", "-c", text]);
        command.directory = Some(self.place.path().to_owned());
        command
    }

    /// A runner process of its own, which may be killed.
    pub fn runner(&self, lease: Duration, arguments: &[&str]) -> Runner {
        let mut child = std::process::Command::new(example("runner"))
            .arg(example("agent"))
            .arg(self.state.path())
            .arg(lease.as_millis().to_string())
            .args(arguments)
            .current_dir(self.place.path())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Runner { child, said }
    }
}

impl Drop for Machine {
    /// Waits for keepers that are just letting go: they write into the directory that is removed next.
    fn drop(&mut self) {
        for run in fs::read_dir(self.state.path().join("runs")).into_iter().flatten().flatten() {
            for keeper in fs::read_dir(run.path().join("keepers")).into_iter().flatten().flatten() {
                let known = fs::read_to_string(keeper.path().join("keeper.json")).ok();
                let known = known.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
                let Some(pid) = known.and_then(|keeper| u32::try_from(keeper["pid"].as_u64()?).ok()) else {
                    continue;
                };
                let deadline = Instant::now() + Duration::from_secs(5);
                while is_alive(pid) && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }
}

/// A runner process; killed at the latest when the test ends.
pub struct Runner {
    pub child: Child,
    said: BufReader<ChildStdout>,
}

impl Runner {
    /// The next line that it says.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.said.read_line(&mut line).unwrap() > 0, "the runner ended");
        line.trim_end().to_owned()
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Signals the runner's whole process group, as a terminal does.
    pub fn signal_group(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        assert!(
            std::process::Command::new("kill").args(["-s", name, "--", &group]).status().unwrap().success()
        );
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(pid: u32, name: &str) {
    let sent = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits until something is so; how long that took.
pub fn until(what: &str, within: Duration, mut so: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    started.elapsed()
}

/// The number that a process wrote into a file.
pub fn number(path: &Path) -> u32 {
    let mut number = None;
    until(&format!("a number in {}", path.display()), Duration::from_secs(10), || {
        number = fs::read_to_string(path).ok().and_then(|text| text.strip_suffix('\n')?.trim().parse().ok());
        number.is_some()
    });
    number.unwrap()
}

/// Whether a process runs.
pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// The parent of a process.
pub fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}
