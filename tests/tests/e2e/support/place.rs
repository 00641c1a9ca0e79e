//! A directory of a test's own, and the binary run in it.

use std::{
    ffi::OsString,
    fs,
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

/// The longest that a command of a test may take, where it does not say otherwise.
const DEADLINE: Duration = Duration::from_mins(3);

/// The repository's password. Each test process has its own, so that a test that looks for it in other processes
/// does not find those of the tests beside it.
pub static PASSWORD: LazyLock<String> =
    LazyLock::new(|| format!("correct horse battery staple {}", std::process::id()));

/// A test's own state directory, temporary directory, repository and binary.
pub struct Place {
    root: TempDir,
    /// The binary, under a name that no other test's processes have.
    pub binary: PathBuf,
    /// Directories searched for programs before the usual ones.
    pub path: Vec<PathBuf>,
    /// More environment variables for every command.
    pub env: Vec<(String, OsString)>,
    commands: AtomicUsize,
}

impl Place {
    pub fn new() -> Self {
        // Short, because sockets lie in it; open, because servers run as other users.
        let base = std::env::var_os("STANDSTILL_BENCH_DIR").map_or_else(|| "/tmp".into(), PathBuf::from);
        let root = tempfile::Builder::new().prefix("sst-").tempdir_in(base).unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["state", "tmp", "bin", "io"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        fs::write(root.path().join("password"), &*PASSWORD).unwrap();
        let binary = root.path().join("bin/standstill");
        let built = built();
        if fs::hard_link(&built, &binary).is_err() {
            fs::copy(&built, &binary).unwrap();
        }
        Self { root, binary, path: Vec::new(), env: Vec::new(), commands: AtomicUsize::new(0) }
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Where runs put their temporary things.
    pub fn tmp(&self) -> PathBuf {
        self.join("tmp")
    }

    /// The repository.
    pub fn repository(&self) -> PathBuf {
        self.join("repository")
    }

    /// The journals' directory.
    pub fn runs(&self) -> PathBuf {
        self.join("state/standstill/runs")
    }

    /// A command of the binary, not started yet: its own process group, nothing of this process' environment.
    pub fn command<I, S>(&self, arguments: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut command = Command::new(&self.binary);
        let mut path: OsString = OsString::new();
        for directory in &self.path {
            path.push(directory);
            path.push(":");
        }
        path.push("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.root())
            .env("XDG_STATE_HOME", self.join("state"))
            .env("XDG_CACHE_HOME", self.join("cache"))
            .env("TMPDIR", self.tmp())
            .env("STANDSTILL_REPOSITORY", self.repository())
            .env("STANDSTILL_PASSWORD_FILE", self.join("password"))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.root())
            .process_group(0)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the binary to its end.
    #[track_caller]
    pub fn run<I, S>(&self, arguments: I) -> Outcome
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        self.start(arguments).wait()
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn ok<I, S>(&self, arguments: I) -> Outcome
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        outcome
    }

    /// Starts a command of the binary.
    #[track_caller]
    pub fn start<I, S>(&self, arguments: I) -> Started
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        self.spawn(self.command(arguments))
    }

    /// Starts a command that was made by [`Place::command`]. Its output goes to files: nothing ever waits for us.
    #[track_caller]
    pub fn spawn(&self, mut command: Command) -> Started {
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let stdout = self.join(&format!("io/{number}.out"));
        let stderr = self.join(&format!("io/{number}.err"));
        let shown = format!("{:?}", command.get_args().collect::<Vec<_>>());
        let child = command
            .stdout(fs::File::create(&stdout).unwrap())
            .stderr(fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        Started { child, shown, stdout, stderr, ended: None }
    }

    /// Makes the repository.
    #[track_caller]
    pub fn init(&self) {
        self.ok(["init"]);
    }

    /// A file of the place with this text.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The newest run.
    #[track_caller]
    pub fn newest_run(&self) -> String {
        self.run_ids().pop().expect("there is no run")
    }

    /// All runs, oldest first.
    pub fn run_ids(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.runs()) else { return Vec::new() };
        let mut runs: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        runs.sort();
        runs
    }

    /// The events of a run's journal: the name of each, and what it holds.
    pub fn journal(&self, run: &str) -> Vec<(String, Value)> {
        let text = fs::read_to_string(self.runs().join(run).join("journal.jsonl")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|entry| match &entry["event"] {
                Value::String(name) => (name.clone(), Value::Null),
                Value::Object(event) => {
                    let (name, held) = event.iter().next().expect("an event");
                    (name.clone(), held.clone())
                }
                other => panic!("not an event: {other}"),
            })
            .collect()
    }

    /// The ids of all recovery points, oldest first.
    #[track_caller]
    pub fn points(&self) -> Vec<String> {
        let listed = self.ok(["list", "--output", "json"]).json();
        let listed = listed.as_array().cloned().unwrap_or_else(|| panic!("not a list: {listed}"));
        let id = |point: &Value| {
            let id = [&point["point"]["id"], &point["id"]].into_iter().find_map(Value::as_str);
            id.expect("a recovery point has an id").to_owned()
        };
        listed.iter().map(id).collect()
    }
}

/// The binary under test: `STANDSTILL_BIN`, else beside the test's own target directory.
pub fn built() -> PathBuf {
    if let Some(given) = std::env::var_os("STANDSTILL_BIN") {
        return PathBuf::from(given);
    }
    let own = std::env::current_exe().unwrap();
    let beside = own.ancestors().nth(2).unwrap().join("standstill");
    assert!(
        beside.exists(),
        "there is no {}: run `./test`, or `cargo build -p standstill --features failpoints,cloud` first",
        beside.display()
    );
    beside
}

/// A command that was started. Dropping it kills its process group.
pub struct Started {
    child: Child,
    shown: String,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
}

impl Started {
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Sends a signal to its process group.
    pub fn signal_group(&self, signal: Signal) {
        kill_process_group(self.pid(), signal).unwrap();
    }

    pub fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended.is_some()
    }

    /// Whether it is stopped (state `T` of `/proc/PID/stat`).
    pub fn is_stopped(&self) -> bool {
        super::process::state(self.child.id()) == Some('T')
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap()).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(self) -> Outcome {
        self.wait_within(DEADLINE)
    }

    /// Waits for its end, however much it moves.
    #[track_caller]
    pub fn wait_within(mut self, deadline: Duration) -> Outcome {
        let started = Instant::now();
        while !self.has_ended() {
            if started.elapsed() > deadline {
                let stderr = self.stderr();
                panic!("{} did not end within {deadline:?}:\n{stderr}", self.shown);
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        Outcome {
            status: self.ended.unwrap(),
            took: started.elapsed(),
            shown: self.shown.clone(),
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _gone = kill_process_group(self.pid(), Signal::KILL);
            let _status = self.child.wait();
        }
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub took: Duration,
    pub shown: String,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// The exit status; `None` after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(9)
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|cause| panic!("{cause} in the output of {self}"))
    }

    /// Asserts the exit status, that the report's error says all of this and what to do, and that it names no recovery
    /// point.
    #[track_caller]
    pub fn claims_nothing(&self, status: i32, says: &[&str]) {
        assert_eq!(self.code(), Some(status), "{self}");
        let report = self.json();
        assert!(report["recoveryPoint"].is_null(), "{self}");
        assert!(report["error"]["remedy"].is_string(), "{self}");
        let message = format!("{} {}", report["error"]["message"], report["error"]["remedy"]);
        for text in says {
            assert!(message.contains(text), "`{text}` is not said: {self}");
        }
    }

    /// Asserts the exit status, and that standard error says all of this (line breaks of a terminal aside).
    #[track_caller]
    pub fn fails(&self, status: i32, says: &[&str]) {
        assert_eq!(self.code(), Some(status), "{self}");
        let plain = plain(&self.stderr);
        for text in says {
            assert!(plain.contains(text), "`{text}` is not said by {self}");
        }
        assert!(!plain.contains("panicked at"), "{self}");
    }
}

/// Text without the line breaks and frames of a report, with single spaces.
pub fn plain(text: &str) -> String {
    let words = text.split(|character: char| character.is_whitespace() || "│╰╭├─".contains(character));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "standstill {} ({}, {:?})", self.shown, self.status, self.took)?;
        writeln!(formatter, "--- stdout\n{}", self.stdout)?;
        writeln!(formatter, "--- stderr\n{}", self.stderr)
    }
}
