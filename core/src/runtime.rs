//! The seam for places where steps run: processes of this machine, or pods.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use crate::keeper::{KeeperProgram, KeeperSpec};
use crate::{
    Error, Result,
    cluster::{Pods, Surroundings},
    hook::{Acquired, Endpoint, Undone},
    point::{KeptSnapshot, RunId},
    repository::{Progress, Restored},
    secret::Secret,
    transfer::{TransferReport, TransferSpec},
};

/// Who a process runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunAs {
    /// The runner's own user.
    #[default]
    Runner,
    /// The numeric owner of this file or directory. Only needed, and only possible, for root.
    OwnerOf(PathBuf),
}

/// Where a command runs. On one machine both are this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// Beside the target: where the runner is, with the target's image and volumes.
    #[default]
    Runner,
    /// In the target's own container, with its processes, its sockets and its root.
    Target,
}

/// A command: a list that is never joined into a shell string. Secrets are separate from everything that is shown.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Program and arguments. The program is a path, or a name looked up on `PATH`.
    pub argv: Vec<String>,
    /// Environment variables in addition to a small fixed set (`PATH`, `HOME`, `LANG=C.UTF-8`, `TZ`).
    pub env: BTreeMap<String, String>,
    /// Environment variables whose values are secret.
    pub secret_env: BTreeMap<String, Secret>,
    /// Who it runs as.
    pub run_as: RunAs,
    /// Working directory; the runner's scratch directory by default.
    pub directory: Option<PathBuf>,
    /// Bytes for its standard input; none by default.
    pub stdin: Option<Secret>,
    /// For how long a session may go on when the runner is gone, or after the run's lease when it is silent: what it
    /// puts back does not go with it, so it ends by itself. By default it has a second when the runner is gone, and
    /// none when it is silent.
    pub may_outlive: Duration,
    /// Where it runs. In the target's own container it is always that container's user, and its directory.
    pub place: Place,
}

impl Command {
    /// A command without environment, as the runner's user.
    pub fn new<I, S>(argv: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Self { argv: argv.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// The program's file name, for messages.
    pub fn program(&self) -> &str {
        self.argv.first().map_or("", |program| program.rsplit('/').next().unwrap_or(program))
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// Unknown: whoever watched it was lost. Never success.
    Unknown,
}

impl Exit {
    /// Whether it ended with status 0.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Status(0))
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "exit status {status}"),
            Self::Signal(signal) => write!(formatter, "signal {signal}"),
            Self::Unknown => formatter.write_str("an unknown status"),
        }
    }
}

/// What a finished command left.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output, at most 1 MiB; more is an error of `exec`.
    pub stdout: String,
    /// The last 64 KiB of its standard error.
    pub stderr: String,
}

/// An interactive process that is talked to in lines, in a process session of its own.
///
/// Dropping it closes its standard input; a well-made helper takes that as the order to let go and end.
#[async_trait]
pub trait Session: Send {
    /// Sends one line (a line break is added).
    async fn send(&mut self, line: &str) -> Result<()>;
    /// The next line of its standard output, without the line break; an error at end of file or after `within`,
    /// with the last lines of its standard error.
    async fn receive(&mut self, within: Duration) -> Result<String>;
    /// Closes its standard input and waits for its end; kills it after `within`.
    async fn close(&mut self, within: Duration) -> Result<Exit>;
}

/// A producer of a stream: its standard output is read, and then its end is awaited.
pub trait Producer: Read + Send {
    /// After end of file: waits for the process to end and says how, with what is known about a failure.
    ///
    /// # Errors
    /// When it did not exit with status 0. The message names the command, its status and its last lines of
    /// standard error.
    fn finish(&mut self) -> Result<()>;

    /// The end of what the process wrote to its standard error, once [`Producer::finish`] has returned; empty where
    /// there is no process.
    fn said(&self) -> String {
        String::new()
    }
}

/// A consumer of a stream: its standard input is written, closed, and then its end is awaited.
pub trait Consumer: Write + Send {
    /// Closes its standard input, waits for the process to end.
    ///
    /// # Errors
    /// As [`Producer::finish`].
    fn finish(&mut self) -> Result<()>;
}

/// A server to be started for the rest of an action.
#[derive(Debug, Clone)]
pub struct ServiceSpec {
    /// The step's name.
    pub name: String,
    /// Its command.
    pub command: Command,
    /// Where it will listen; made by [`Runtime::endpoint`].
    pub endpoint: Endpoint,
    /// The signal that asks it to end (`INT`, `TERM`, `QUIT`).
    pub stop_signal: String,
    /// How long it may take to end before it is killed.
    pub stop_timeout: Duration,
}

/// A running server of this run.
#[async_trait]
pub trait Service: Send + Sync {
    /// How it ended, if it has, with its last lines of output.
    fn ended(&self) -> Option<(Exit, String)>;
    /// The last lines of its output, for messages.
    fn log(&self) -> String;
    /// Asks it to end, waits, kills it after the stop timeout. Idempotent.
    async fn stop(&self) -> Result<Exit>;
}

/// A volume as the runtime sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its name in the blueprint.
    pub name: String,
    /// Its path as the database sees it, absolute and without links.
    pub path: PathBuf,
}

/// How a volume is captured.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum CaptureMode {
    /// A real snapshot.
    Atomic,
    /// Files are read straight into the repository while a hold that blocks no writes is on.
    Live,
    /// A copy first, then the upload.
    Copy,
    /// The first of atomic, live and copy that every hold tolerates.
    Auto,
}

/// What a snapshotter can do for a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureAbility {
    /// The mode.
    pub mode: CaptureMode,
    /// `Some(reason)` if it cannot be done here.
    pub refused: Option<String>,
    /// For atomic: whether it is a snapshot of a block device rather than of a file system.
    pub block_level: bool,
    /// Who does it, for people: `btrfs`, `reflink`, `copy`.
    pub by: &'static str,
}

/// A snapshot that is about to be taken: the record is journalled before, so that it can be disposed of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotIntent {
    /// The volume.
    pub volume: Volume,
    /// The mode: atomic or copy.
    pub mode: CaptureMode,
    /// What [`Runtime::dispose`] needs.
    pub record: Value,
}

/// A captured volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Captured {
    /// The volume's name.
    pub volume: String,
    /// How it was captured.
    pub mode: CaptureMode,
    /// Where its files can be read: by this process, or, with `remote`, by the one that transfers them.
    pub path: PathBuf,
    /// What the path stands for in the repository: the volume's own path, so that the next backup finds its parent.
    pub original: PathBuf,
    /// `Some` when this process cannot read the files: what [`Runtime::transfer`] needs to reach them. No secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Value>,
}

/// Takes snapshots of volumes.
#[async_trait]
pub trait Snapshotter: Send + Sync {
    /// What can be done for a volume, best first; reads only. Also refuses what would be incomplete: nested
    /// subvolumes and mounts below the volume's path.
    async fn abilities(&self, volume: &Volume) -> Result<Vec<CaptureAbility>>;
    /// Says where the snapshot will be; touches nothing.
    async fn intend(&self, volume: &Volume, mode: CaptureMode, run: &RunId) -> Result<SnapshotIntent>;
    /// Says where the snapshots of several volumes will be, which are atomic and go with their run: they are cut at one
    /// moment where the storage can do that, and otherwise one by one. One intent for each, in their order; touches
    /// nothing.
    async fn intend_together(&self, volumes: &[Volume], run: &RunId) -> Result<Vec<SnapshotIntent>> {
        let mut intents = Vec::with_capacity(volumes.len());
        for volume in volumes {
            intents.push(self.intend(volume, CaptureMode::Atomic, run).await?);
        }
        Ok(intents)
    }
    /// Takes it. The cut is when this returns. `tolerate_changes`: whether files may vanish or change size while
    /// being copied.
    async fn capture(
        &self,
        intent: &SnapshotIntent,
        tolerate_changes: bool,
        cancel: &CancellationToken,
    ) -> Result<Captured>;

    /// Whether its snapshots can be kept as artifacts.
    fn keeps(&self) -> bool {
        false
    }

    /// Makes a snapshot that was taken outlive its run, once it can be used.
    ///
    /// # Guarantees
    /// It was intended by [`Snapshotter::intend`], whose record also disposes of it when the run does not succeed.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] where snapshots cannot be kept.
    async fn keep(&self, captured: &Captured, _cancel: &CancellationToken) -> Result<KeptSnapshot> {
        Err(Error::input(format!("the snapshot of the volume `{}` cannot be kept", captured.volume))
            .remedy("Leave `keep` out of its `volume` step: then its files are stored in the repository."))
    }
}

/// A directory that the run makes, for a scratch volume or for its own files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScratchIntent {
    /// Where it will be.
    pub path: PathBuf,
    /// What [`Runtime::dispose`] needs.
    pub record: Value,
}

/// One of the places that a target was found among, because their databases differ in nothing but their role.
#[derive(Clone)]
pub struct Peer {
    /// What the runtime calls it, for people.
    pub name: String,
    /// Whether it is the target.
    pub is_target: bool,
    /// Reaches the database there, whatever host a connection names.
    pub runtime: Arc<dyn Runtime>,
}

/// Where steps run.
///
/// Everything it makes is described by a record *before* it is made (`*_intent`, `keeper_record`, …), so that
/// [`Runtime::dispose`] can undo it from the journal alone, in another process, after a crash.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// `local` or `kubernetes`.
    fn name(&self) -> &'static str;

    /// The runtime for one member of a run of a group, where each has a place of its own, such as a pod of the cluster;
    /// `None` where this one does for all. `run` may also be a dead one that is recovered.
    ///
    /// # Errors
    /// When the member's place cannot be looked up.
    async fn of_member(&self, _run: &RunId, _member: &str) -> Result<Option<Arc<dyn Runtime>>> {
        Ok(None)
    }

    /// The places that the target was found among by its role, as they are now, itself included; none where nothing else
    /// could be meant.
    ///
    /// # Errors
    /// When they cannot be looked up.
    async fn peers(&self) -> Result<Vec<Peer>> {
        Ok(Vec::new())
    }

    /// Finds a volume: absolute, links resolved, it must exist and be a directory (or a file for a database
    /// that is one file).
    async fn volume(&self, name: &str, path: &Path) -> Result<Volume>;

    /// The address to dial for a host and port as the target sees them.
    async fn dial(&self, host: &str, port: u16) -> Result<(String, u16)>;

    /// The address that commands of the run use for a host and port as the target sees them: they need not be where the
    /// runner is.
    async fn address(&self, host: &str, port: u16) -> Result<(String, u16)> {
        self.dial(host, port).await
    }

    /// Finds a program in the directories given, then on `PATH`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`], naming the places that were searched.
    async fn program(&self, name: &str, search: &[PathBuf]) -> Result<PathBuf>;

    /// Runs a command to its end under a guard. After `timeout` or cancellation its whole process group is killed.
    async fn exec(&self, command: &Command, timeout: Duration, cancel: &CancellationToken) -> Result<Output>;

    /// Where the runtime and its helpers write to and run from, also while something is held: what must not be on a
    /// file system that is frozen.
    fn places(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Starts an interactive process in a process session of its own. It is not tied to the runner's process
    /// group; it sees the runner's end as end of file on its standard input.
    async fn session(&self, command: &Command) -> Result<Box<dyn Session>>;

    /// The command line of this program's own `agent` subcommand, for helpers that hooks start by
    /// [`Runtime::session`].
    fn agent(&self, arguments: &[&str]) -> Command;

    /// Starts a producer under a guard that ends it when the runner dies, stops renewing or cancels.
    async fn producer(&self, command: &Command, cancel: &CancellationToken) -> Result<Box<dyn Producer>>;

    /// Starts a consumer, likewise.
    async fn consumer(&self, command: &Command, cancel: &CancellationToken) -> Result<Box<dyn Consumer>>;

    /// Chooses where a service will listen: a free loopback port and a private socket directory under `scratch`.
    async fn endpoint(
        &self,
        name: &str,
        scratch: &Path,
        run_as: &RunAs,
        port: Option<u16>,
    ) -> Result<Endpoint>;

    /// Starts a server under a guard.
    async fn service(&self, spec: &ServiceSpec) -> Result<Arc<dyn Service>>;

    /// What [`Runtime::dispose`] needs to end what [`Runtime::keep`] is about to start. Holds no secret.
    fn keeper_record(&self, spec: &KeeperSpec, run: &RunId) -> Result<Value>;

    /// Starts a keeper and has it acquire.
    async fn keep(&self, spec: &KeeperSpec, record: &Value) -> Result<Acquired>;

    /// Changes the cluster around the target; `None` where there is none.
    fn surroundings(&self) -> Option<Arc<dyn Surroundings>> {
        None
    }

    /// Runs commands in pods of their own; `None` where such a command is a process.
    fn pods(&self) -> Option<Arc<dyn Pods>> {
        None
    }

    /// Takes snapshots.
    fn snapshotter(&self) -> Arc<dyn Snapshotter>;

    /// Chooses a private directory for the run's own files (mode 0700); touches nothing.
    async fn scratch_intent(&self, run: &RunId) -> Result<ScratchIntent>;

    /// Chooses a place for a scratch volume, on the file system of `like` where that has room; touches nothing.
    async fn scratch_volume_intent(
        &self,
        name: &str,
        like: Option<&Path>,
        run: &RunId,
    ) -> Result<ScratchIntent>;

    /// Chooses to restore into a directory of the user's: it must be absent or empty. Touches nothing. Disposing of
    /// it empties it again (and removes it, if it was absent), for a restore that did not finish.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] when it is not empty.
    async fn destination_intent(&self, path: &Path, run: &RunId) -> Result<ScratchIntent>;

    /// Makes a directory that was intended; its owner is that of `like`, if given.
    async fn make_scratch(&self, intent: &ScratchIntent, like: Option<&Path>) -> Result<()>;

    /// What [`Runtime::dispose`] needs to end what [`Runtime::transfer`] is about to make for this capture and spec;
    /// `None` if it makes nothing. Touches nothing. It must be the name that `transfer` itself chooses.
    async fn transfer_intent(
        &self,
        _remote: &Value,
        _spec: &TransferSpec,
        _run: &RunId,
    ) -> Result<Option<Value>> {
        Ok(None)
    }

    /// Has a transfer performed where the files of a capture can be read ([`Captured::remote`]), by
    /// [`crate::transfer::perform`] in another process, and waits for its report.
    ///
    /// # Guarantees
    /// `Ok` only with the report of that process: one that was lost or ended without it has failed.
    ///
    /// # Cancellation
    /// By `cancel`: the other process is told to end, and this returns without waiting for longer than a few seconds.
    /// Dropping the future is like a crash. In both cases, and after an error, what it made is left to `dispose`,
    /// which is called before the same transfer is tried again.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] where a runtime's captures can be read by the runner itself.
    async fn transfer(
        &self,
        _remote: &Value,
        spec: &TransferSpec,
        _progress: Arc<dyn Progress>,
        _cancel: &CancellationToken,
    ) -> Result<TransferReport> {
        Err(Error::input(format!(
            "the runtime `{}` reads its captures by itself, and cannot have the artifact {} moved elsewhere",
            self.name(),
            spec.artifact()
        )))
    }

    /// Restores a snapshot that was kept into a directory that exists, without what it says to leave out.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] where it cannot be reached.
    async fn restore_kept(
        &self,
        artifact: &str,
        kept: &KeptSnapshot,
        _destination: &Path,
        _cancel: &CancellationToken,
    ) -> Result<Restored> {
        Err(Error::input(format!(
            "the artifact {artifact} is {}, which cannot be reached from this machine",
            kept.called
        ))
        .remedy("Run it with `--on kubernetes`, in that cluster and namespace."))
    }

    /// Copies what is in a directory into another one that exists, with owners, modes, times, links and holes; without
    /// what the patterns match.
    ///
    /// # Errors
    /// When anything cannot be copied.
    async fn copy_tree(
        &self,
        from: &Path,
        _to: &Path,
        _exclude: &[String],
        _cancel: &CancellationToken,
    ) -> Result<Restored> {
        Err(Error::input(format!("the runtime `{}` copies nothing ({})", self.name(), from.display())))
    }

    /// Disposes of something temporary by its record. Idempotent; a live run's things are never recorded twice,
    /// so nothing else is touched. `secrets` are the secret environment variables of a keeper's release.
    async fn dispose(&self, record: &Value, secrets: &BTreeMap<String, Secret>) -> Result<Undone>;
}
