//! A runtime for the tests of hooks: it starts real helper processes of a small agent program, and nothing else.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use standstill_core::{
    Error, Result,
    hook::{Acquired, Endpoint, HookContext, Undone},
    point::RunId,
    runtime::{
        Command, Consumer, Exit, KeeperSpec, Output, Producer, RunAs, Runtime, ScratchIntent, Service,
        ServiceSpec, Session, Snapshotter, Volume,
    },
    secret::Secret,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// A runtime for tests: helpers are processes of the example program `hooks_agent`, in the caller's own process group, so
/// that only what they do themselves takes them out of it.
pub struct TestRuntime {
    agent: PathBuf,
}

impl TestRuntime {
    /// With the agent program that the build put beside the tests.
    pub fn new() -> Self {
        let mut directory = std::env::current_exe().unwrap();
        directory.pop();
        if directory.ends_with("deps") {
            directory.pop();
            directory.push("examples");
        }
        let agent = directory.join("hooks_agent");
        assert!(agent.exists(), "{} is missing: build the examples of this package first", agent.display());
        Self { agent }
    }

    /// The agent program.
    pub fn program(&self) -> &Path {
        &self.agent
    }
}

/// A context for a volume, with a lease.
pub fn context(volume: &Path, scratch: &Path, lease: Duration) -> HookContext {
    HookContext {
        run: RunId::generate(),
        connection: None,
        service: None,
        volume: Some(volume.to_owned()),
        volumes: BTreeMap::from([("data".to_owned(), volume.to_owned())]),
        runtime: Arc::new(TestRuntime::new()),
        lease,
        scratch: scratch.to_owned(),
        point: None,
        cancel: CancellationToken::new(),
    }
}

fn start(command: &Command) -> Result<Child> {
    let failed = |cause| Error::failed(format!("cannot start {}", command.program())).because(cause);
    tokio::process::Command::new(&command.argv[0])
        .args(&command.argv[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)
}

struct TestSession {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

fn exit(status: std::process::ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    status.code().map(Exit::Status).or(status.signal().map(Exit::Signal)).unwrap_or(Exit::Unknown)
}

#[async_trait]
impl Session for TestSession {
    async fn send(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().ok_or_else(|| Error::failed("standard input is closed"))?;
        let line = format!("{line}\n");
        input.write_all(line.as_bytes()).await.map_err(|cause| Error::failed("cannot send").because(cause))
    }

    async fn receive(&mut self, within: Duration) -> Result<String> {
        match timeout(within, self.output.next_line()).await {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => Err(Error::failed("the process ended its output")),
            Ok(Err(cause)) => Err(Error::failed("cannot receive").because(cause)),
            Err(_) => Err(Error::failed("no line came in time")),
        }
    }

    async fn close(&mut self, within: Duration) -> Result<Exit> {
        self.input = None;
        let failed = |cause| Error::failed("cannot wait for the process").because(cause);
        if let Ok(status) = timeout(within, self.child.wait()).await {
            return status.map(exit).map_err(failed);
        }
        self.child.kill().await.map_err(failed)?;
        self.child.wait().await.map(exit).map_err(failed)
    }
}

fn absent<T>(what: &str) -> Result<T> {
    Err(Error::failed(format!("the test runtime has no {what}")))
}

#[async_trait]
impl Runtime for TestRuntime {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn volume(&self, name: &str, path: &Path) -> Result<Volume> {
        Ok(Volume { name: name.to_owned(), path: path.to_owned() })
    }

    async fn dial(&self, host: &str, port: u16) -> Result<(String, u16)> {
        Ok((host.to_owned(), port))
    }

    async fn program(&self, name: &str, search: &[PathBuf]) -> Result<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = search.iter().cloned().chain(std::env::split_paths(&path)).map(|place| place.join(name));
        found
            .into_iter()
            .find(|program| program.is_file())
            .ok_or_else(|| Error::input(format!("no program {name}")))
    }

    async fn exec(&self, command: &Command, within: Duration, cancel: &CancellationToken) -> Result<Output> {
        let mut child = start(command)?;
        drop(child.stdin.take());
        let pid = child.id();
        tokio::select! {
            () = cancel.cancelled() => {
                if let Some(pid) = pid.and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
                    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
                }
                Err(Error::cancelled("cancelled"))
            }
            ended = timeout(within, child.wait_with_output()) => {
                let output = ended.map_err(|cause| Error::failed("too long").because(cause))?;
                let output = output.map_err(|cause| Error::failed("cannot wait").because(cause))?;
                Ok(Output {
                    exit: exit(output.status),
                    stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                    stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
                })
            }
        }
    }

    async fn session(&self, command: &Command) -> Result<Box<dyn Session>> {
        let mut child = start(command)?;
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Ok(Box::new(TestSession { child, input, output: BufReader::new(output).lines() }))
    }

    fn agent(&self, arguments: &[&str]) -> Command {
        let program = self.agent.to_string_lossy();
        Command::new([program.as_ref(), "agent"].into_iter().chain(arguments.iter().copied()))
    }

    async fn producer(&self, _: &Command, _: &CancellationToken) -> Result<Box<dyn Producer>> {
        absent("producers")
    }

    async fn consumer(&self, _: &Command, _: &CancellationToken) -> Result<Box<dyn Consumer>> {
        absent("consumers")
    }

    async fn endpoint(&self, _: &str, _: &Path, _: &RunAs, _: Option<u16>) -> Result<Endpoint> {
        absent("endpoints")
    }

    async fn service(&self, _: &ServiceSpec) -> Result<Arc<dyn Service>> {
        absent("services")
    }

    fn keeper_record(&self, _: &KeeperSpec, _: &RunId) -> Result<Value> {
        absent("keepers")
    }

    async fn keep(&self, _: &KeeperSpec, _: &Value) -> Result<Acquired> {
        absent("keepers")
    }

    fn snapshotter(&self) -> Arc<dyn Snapshotter> {
        unreachable!("hooks take no snapshots")
    }

    async fn scratch_intent(&self, _: &RunId) -> Result<ScratchIntent> {
        absent("scratch directories")
    }

    async fn scratch_volume_intent(&self, _: &str, _: Option<&Path>, _: &RunId) -> Result<ScratchIntent> {
        absent("scratch volumes")
    }

    async fn destination_intent(&self, _: &Path, _: &RunId) -> Result<ScratchIntent> {
        absent("destinations")
    }

    async fn make_scratch(&self, _: &ScratchIntent, _: Option<&Path>) -> Result<()> {
        absent("scratch directories")
    }

    async fn dispose(&self, _: &Value, _: &BTreeMap<String, Secret>) -> Result<Undone> {
        absent("temporary things")
    }
}
