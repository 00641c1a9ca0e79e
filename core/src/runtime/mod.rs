//! The seam for places where steps run: processes of this machine, or pods.

mod capture;
mod command;

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

pub use self::{
    capture::{CaptureAbility, CaptureMode, Captured, SnapshotIntent, Snapshotter, Volume},
    command::{Command, Exit, Output, Place, RunAs},
};
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
    /// Whether it is a process of somebody else's that takes the connections to its port. A service that listens at
    /// a socket only has its port to itself, too.
    fn is_answered_by_another(&self) -> bool;
    /// Asks it to end, waits, kills it after the stop timeout. Idempotent.
    async fn stop(&self) -> Result<Exit>;
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

    /// Chooses where a service will listen: a free loopback port (`port`, unless something listens there) and a
    /// private socket directory under `scratch`.
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

    /// Lets go of what a keeper held that was elsewhere, and is gone with all that was known there: by its release, which
    /// is safe to run again. Its record is one of [`Runtime::keeper_record`].
    ///
    /// # Errors
    /// When the release fails: it may still be held.
    async fn release_kept(&self, record: &Value, secrets: &BTreeMap<String, Secret>) -> Result<Undone> {
        self.dispose(record, secrets).await
    }
}
