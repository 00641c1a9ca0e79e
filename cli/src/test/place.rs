//! Where a test works, and this program run in it as a user would.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use standstill_core::{Error, Result, secret::Secret};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The longest that a run of a test may take.
const DEADLINE: Duration = Duration::from_mins(10);

/// A test's own directory, state, repository and password: the user's are not touched.
pub struct Place {
    root: TempDir,
    program: PathBuf,
    commands: AtomicUsize,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<i32>,
    pub report: Value,
    pub stderr: String,
}

impl Ended {
    /// What it said was wrong, in one line.
    pub fn why(&self) -> String {
        let message = self.report["error"]["message"].as_str().map(str::to_owned);
        let said =
            message.or_else(|| self.stderr.lines().rev().find(|line| !line.is_empty()).map(str::to_owned));
        let status = self.status.map_or_else(|| "a signal".to_owned(), |status| format!("status {status}"));
        format!("it ended with {status}: {}", said.unwrap_or_else(|| "it said nothing".to_owned()))
    }
}

impl Place {
    pub fn new() -> Result<Self> {
        let failed = |cause: std::io::Error| {
            Error::failed("no temporary directory can be made for the test")
                .remedy("Set TMPDIR to a directory with room.")
                .because(cause)
        };
        let root = tempfile::Builder::new().prefix("blueprint-test-").tempdir().map_err(failed)?;
        // A server of another user must pass through to its own files; it cannot list the directory.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).map_err(failed)?;
        for (name, mode) in [("app", 0o711), ("state", 0o700), ("tmp", 0o711), ("said", 0o700)] {
            let path = root.path().join(name);
            fs::create_dir(&path).map_err(failed)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(failed)?;
        }
        let program = std::env::current_exe()
            .map_err(|cause| Error::failed("this program's own file cannot be found").because(cause))?;
        let place = Self { root, program, commands: AtomicUsize::new(0) };
        let password = Secret::new(uuid::Uuid::now_v7().simple().to_string());
        place.write("password", password.expose())?;
        Ok(place)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Where the application's own files are: what templates call `place`.
    pub fn application(&self) -> PathBuf {
        self.path("app")
    }

    /// Leaves everything where it is; its path.
    pub fn keep(self) -> PathBuf {
        self.root.keep()
    }

    /// Writes a file for this user alone.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        let failed = |cause| Error::failed(format!("{} cannot be written", path.display())).because(cause);
        fs::write(&path, text).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(path)
    }

    /// Writes a values file.
    pub fn values(&self, name: &str, parameters: &serde_json::Map<String, Value>) -> Result<PathBuf> {
        self.write(name, &json!({"parameters": parameters}).to_string())
    }

    /// The journals of all runs.
    pub fn journals(&self) -> Vec<PathBuf> {
        let runs = fs::read_dir(self.path("state/standstill/runs")).into_iter().flatten().flatten();
        let mut journals: Vec<PathBuf> = runs.map(|run| run.path().join("journal.jsonl")).collect();
        journals.sort();
        journals
    }

    /// Starts this program with arguments, in this place.
    pub fn start(&self, arguments: &[&str]) -> Result<Started> {
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let said = |what: &str| -> Result<(fs::File, PathBuf)> {
            let path = self.path(&format!("said/{number}.{what}"));
            let failed =
                |cause| Error::failed(format!("{} cannot be written", path.display())).because(cause);
            Ok((fs::File::create(&path).map_err(failed)?, path.clone()))
        };
        let ((stdout, out), (stderr, err)) = (said("out")?, said("err")?);
        let child = Command::new(&self.program)
            .args(arguments)
            .env("XDG_STATE_HOME", self.path("state"))
            .env("TMPDIR", self.path("tmp"))
            .env("STANDSTILL_REPOSITORY", self.path("repository"))
            .env("STANDSTILL_PASSWORD_FILE", self.path("password"))
            .env_remove("STANDSTILL_PASSWORD")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            // An interrupt from a terminal ends the test, which then ends what it started.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|cause| Error::failed("this program cannot be started again").because(cause))?;
        Ok(Started { child, out, err })
    }

    /// Runs this program to its end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Ended> {
        self.start(arguments)?.wait().await
    }
}

/// This program, started.
pub struct Started {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Started {
    /// Sends it a signal; it may be gone.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It is this process' child and was not waited for, so the number is still its own.
            let _ = kill_process(pid, signal);
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_some())
    }

    /// Waits for its end.
    pub async fn wait(mut self) -> Result<Ended> {
        let begun = Instant::now();
        let status: ExitStatus = match tokio::time::timeout(DEADLINE, self.child.wait()).await {
            Ok(Ok(status)) => status,
            Ok(Err(cause)) => return Err(Error::failed("a run of the test was lost").because(cause)),
            Err(_) => {
                return Err(Error::failed(format!(
                    "a run of the test did not end within {:?}",
                    begun.elapsed()
                ))
                .remedy("Find out what it waits for: `--keep` leaves its journal."));
            }
        };
        let report = read(&self.out);
        let report = serde_json::from_str(&report).unwrap_or(Value::Null);
        Ok(Ended { status: status.code(), report, stderr: read(&self.err) })
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
