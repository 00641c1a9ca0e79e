//! The seam for databases: hooks, their verbs, and the holds that they acquire.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Result,
    lock::LockGuard,
    point::{Check, Consistency, Evidence, Fact, Outputs, RecoveryPoint, RunId, Version},
    runtime::{Producer, Runtime},
    secret::Secret,
};

/// Where a verb works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Over a connection to the database (`connection:`).
    Network,
    /// On the files of a volume (`volume:`).
    Volume,
    /// Over a connection to a server that this run started (`service:`).
    Service,
}

/// How a hold ends when nobody releases it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HoldKind {
    /// It dies with its connection, and the server ends an idle one within the lease.
    Session,
    /// It survives its client; a dead-man's switch that does not depend on the runner was armed first.
    Lease,
    /// Nothing stays held.
    Moment,
}

/// What kind of copy stays right while a hold is on. A capture that is not tolerated is refused by the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    /// A copy that is not atomic: files are read one after the other.
    pub not_atomic: bool,
    /// Files may vanish or change size while they are being read.
    pub changing_files: bool,
    /// A snapshot of the block device, which does not see what is still in the page cache.
    pub block_level: bool,
}

/// What a verb's hold is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldTraits {
    /// How it ends when nobody releases it.
    pub kind: HoldKind,
    /// Whether writes wait while it is on; then it counts as freeze and `maxFreeze` applies.
    pub blocks_writes: bool,
    /// What kind of copy stays right meanwhile.
    pub tolerates: Tolerance,
}

/// What a verb does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerbKind {
    /// It changes nothing: the only kind allowed in `preflight`.
    Read,
    /// It does something that leaves nothing to undo.
    Act,
    /// It acquires a hold: only in `quiesce`.
    Hold(HoldTraits),
    /// It gives a stream of bytes, which is complete only if its end says so: only in a `stream` step of `backup`.
    Stream,
}

/// The type of an output, for lint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputType {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A list; `item` of a `forEach` over it has these fields.
    List(&'static [&'static str]),
    /// A directory of files that the hook gathered, for a `files` step: `{"directory": PATH}`.
    Files,
    /// Anything else.
    Any,
}

/// When an output of a hold is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Available {
    /// As soon as the step is done (for a hold: acquired).
    Acquired,
    /// Only after the hold was released.
    Released,
}

/// An output that a verb declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputDescription {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub ty: OutputType,
    /// When it is there.
    pub available: Available,
}

/// One verb of a hook: `postgresql/backup-mode` is the verb `backup-mode` of the hook `postgresql`.
#[derive(Debug, Clone)]
pub struct Verb {
    /// Its name, without the hook's.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// Where it works. A verb that works in more than one place lists them all.
    pub places: &'static [Place],
    /// What it does.
    pub kind: VerbKind,
    /// JSON Schema of its `with` (an object).
    pub arguments: Value,
    /// What it declares to put out.
    pub outputs: Vec<OutputDescription>,
}

/// What a hook is, as data: lint, plan and documentation read this and nothing else.
#[derive(Debug, Clone)]
pub struct HookDescription {
    /// Its name, and the first part of its verbs' names.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// JSON Schema of a connection's settings other than `hook` (an object); `None` if it has no connections.
    /// A setting whose schema has `"x-secret": true` takes `{parameter: NAME}` of a secret parameter.
    pub connection: Option<Value>,
    /// Its verbs.
    pub verbs: Vec<Verb>,
}

impl HookDescription {
    /// The verb of that name.
    pub fn verb(&self, name: &str) -> Option<&Verb> {
        self.verbs.iter().find(|verb| verb.name == name)
    }
}

/// A database connection, rendered and with its secrets read.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The blueprint's name for it.
    pub name: String,
    /// Its settings that are not secret, as the hook's schema names them.
    pub settings: Map<String, Value>,
    /// Its settings that are secret.
    pub secrets: BTreeMap<String, Secret>,
}

/// A server that this run started, as hooks reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The host to dial.
    pub host: String,
    /// The port to dial.
    pub port: u16,
    /// A private directory for sockets (mode 0700, owned by the service's user), on this machine only.
    pub socket_dir: Option<PathBuf>,
}

/// What a hook works with. Nothing in it names a namespace or a machine.
#[derive(Clone)]
pub struct HookContext {
    /// The run.
    pub run: RunId,
    /// The connection that the step names. For a service: the blueprint's connection for the same hook, if there
    /// is one, without its secrets and address.
    pub connection: Option<Connection>,
    /// The service that the step names.
    pub service: Option<Endpoint>,
    /// The volume that the step names, as a path where the hook runs.
    pub volume: Option<PathBuf>,
    /// All volumes of the action, by name, as the database's own machine sees them.
    pub volumes: BTreeMap<String, PathBuf>,
    /// Where steps run; hooks start their helper processes through it.
    pub runtime: Arc<dyn Runtime>,
    /// How long a hold may outlive the runner.
    pub lease: Duration,
    /// A private directory of this run, for files that the hook gathers.
    pub scratch: PathBuf,
    /// The recovery point, in `restore` and `verify`.
    pub point: Option<Arc<RecoveryPoint>>,
    /// Cancelled when the step is to end early. A release never looks at it.
    pub cancel: CancellationToken,
}

impl HookContext {
    /// The connection, for a verb that declares [`Place::Network`].
    ///
    /// # Errors
    /// When the step names none; lint refuses such a blueprint, so this is a fault of the caller.
    pub fn connection(&self) -> Result<&Connection> {
        self.connection
            .as_ref()
            .ok_or_else(|| Error::input("the step names no connection").remedy("Add `connection: NAME`."))
    }

    /// The volume, for a verb that declares [`Place::Volume`].
    ///
    /// # Errors
    /// When the step names none.
    pub fn volume(&self) -> Result<&PathBuf> {
        self.volume
            .as_ref()
            .ok_or_else(|| Error::input("the step names no volume").remedy("Add `volume: NAME`."))
    }
}

/// What a probe found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// The database's version.
    pub version: Version,
    /// `primary`, `standby` or another word of the hook's.
    pub role: Option<String>,
    /// What the per-target lock is on: the same for every address and user that reach this database, another
    /// for every other database (system identifier, server UUID, device and inode).
    pub identity: String,
}

/// What a call put out.
#[derive(Debug, Clone, Default)]
pub struct Called {
    /// Outputs, as declared.
    pub outputs: Outputs,
    /// Facts that were observed.
    pub facts: Vec<Fact>,
    /// Checks that were made, in `verify`. A failed check fails the verification; it is not an error of the call.
    pub checks: Vec<Check>,
    /// For how long the call made writes wait, if it did.
    pub froze: Option<Duration>,
}

/// A hold that was acquired.
#[must_use = "a dropped hold stays on until its lease ends"]
pub struct Acquired {
    /// The hold.
    pub hold: Box<dyn Hold>,
    /// Outputs that are available as soon as it was acquired.
    pub outputs: Outputs,
    /// Since when it has been on, by the monotonic clock: never later than the truth.
    pub since: std::time::Instant,
}

/// What a release put out. It is part of the proof.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// What the release itself observed.
    pub evidence: Evidence,
    /// Outputs that are available only now.
    pub outputs: Outputs,
    /// Facts of the quiesced moment.
    pub facts: Vec<Fact>,
    /// When the hold ended, by the monotonic clock: never earlier than the truth.
    pub released: std::time::Instant,
    /// For how long the release itself made writes wait, where the hold as such does not.
    pub froze: Option<Duration>,
}

/// Something that a quiesce step holds. Its verbs: renew, confirm, release.
///
/// # Expected flow
/// `renew` at every third of the lease, from the moment it was acquired until its release was confirmed;
/// `confirm` once, after the cut; `release` until it succeeds.
///
/// # Guarantees an implementation gives
/// - If no method is called any more (the runner died, was stopped or cut off), the hold ends by itself within the lease.
/// - `confirm` returns `Ok` only if the hold was on without a gap since it was acquired.
/// - `release` is idempotent: after an error it may be called again, after `Ok` it returns the same receipt.
/// - No method panics.
#[async_trait]
pub trait Hold: Send {
    /// Whether writes wait while it is on, where its verb's arguments left that open; `None`: as they say.
    fn blocks_writes(&self) -> Option<bool> {
        None
    }

    /// Keeps the hold from ending by itself for another lease.
    async fn renew(&mut self) -> Result<()>;

    /// Proves that the hold has been on since it was acquired.
    ///
    /// # Errors
    /// [`crate::ErrorKind::HoldLapsed`]: nothing captured since it was acquired may be called consistent.
    async fn confirm(&mut self) -> Result<Evidence>;

    /// Lets go. After a hold has lapsed it says so with [`crate::ErrorKind::HoldLapsed`], which also means that
    /// nothing is held any more.
    async fn release(&mut self) -> Result<Receipt>;
}

/// What `undo` did about something that a dead run acquired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Undone {
    /// It was still held, and was let go now.
    LetGo,
    /// Nothing was held any more.
    AlreadyGone,
}

/// Native code for one database.
///
/// A hook has no state of its own: everything is in the context and in the holds it hands out.
#[async_trait]
pub trait Hook: Send + Sync {
    /// What it is and can do.
    fn describe(&self) -> &HookDescription;

    /// What a hold verb's hold is for the given arguments (`with`, rendered); the description's by default.
    fn hold_traits(&self, verb: &str, _arguments: &Value) -> Option<HoldTraits> {
        match self.describe().verb(verb)?.kind {
            VerbKind::Hold(traits) => Some(traits),
            VerbKind::Read | VerbKind::Act | VerbKind::Stream => None,
        }
    }

    /// Whether a verb runs a program of the database's own, which then has to be where the run is.
    fn runs_program(&self, _verb: &str) -> bool {
        false
    }

    /// The role that a verb with these arguments (`with`, rendered) asks of its database, in the word that
    /// [`Probe::role`] has for it; `None` where any will do. Where several databases may be meant, the one that has it is
    /// the target; and it is asked again right before anything is held.
    fn asked_role(&self, _verb: &str, _arguments: &Value) -> Option<String> {
        None
    }

    /// What a verb's hold proves of a copy that was made under it: that the application had written all that belongs
    /// together, or only that all files are of one moment.
    fn proves(&self, _verb: &str) -> Consistency {
        Consistency::Application
    }

    /// Finds out version, role and identity; reads only. The context names a connection, or a volume for a
    /// database without a server.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] when nobody answers, the password is wrong or the place is not a database.
    async fn probe(&self, context: &HookContext) -> Result<Probe>;

    /// Like [`Hook::probe`], for a step with these arguments (`with`, rendered): a database without a server may need
    /// them to know which file it is.
    async fn probe_for(&self, context: &HookContext, _arguments: &Value) -> Result<Probe> {
        self.probe(context).await
    }

    /// Takes a lock in the server itself, so that runs on other hosts are kept out too; `None` where the
    /// database has none. The lock ends with its session.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Locked`] when another run has it.
    async fn server_lock(&self, _context: &HookContext) -> Result<Option<Box<dyn LockGuard>>> {
        Ok(None)
    }

    /// Does a verb that acquires no hold.
    async fn call(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Called>;

    /// Begins a verb that gives a stream. Nothing is left to undo when it is dropped.
    ///
    /// # Guarantees an implementation gives
    /// - [`Producer::finish`] is `Ok` only if every byte of a whole stream was handed over.
    /// - Reading never waits for ever: a server that falls silent, and the context's cancellation, end it with an error.
    ///
    /// # Errors
    /// When the server refuses, or the hook has no such verb.
    async fn stream(
        &self,
        verb: &str,
        _context: &HookContext,
        _arguments: &Value,
    ) -> Result<Box<dyn Producer>> {
        Err(Error::input(format!("the hook {} gives no stream `{verb}`", self.describe().name)))
    }

    /// Says, before anything is touched, what `undo` will need to let go of what `acquire` is about to acquire.
    /// It goes into the journal, so it holds no secret.
    fn undo_record(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Value>;

    /// Acquires a hold.
    ///
    /// # Errors
    /// After an error nothing is held, or it ends by itself within the lease; `undo` is called in any case.
    async fn acquire(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Acquired>;

    /// Lets go of what a dead run acquired, from the journal's record alone. Idempotent.
    ///
    /// # Errors
    /// When it is not known that nothing is held any more.
    async fn undo(&self, record: &Value, context: &HookContext) -> Result<Undone>;
}

/// All hooks, by name.
pub trait Hooks: Send + Sync {
    /// The hook of that name.
    fn get(&self, name: &str) -> Option<Arc<dyn Hook>>;
    /// All names, sorted.
    fn names(&self) -> Vec<&'static str>;
}

/// When something was observed: wall clock for people, monotonic clock for durations.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// For people.
    pub at: Timestamp,
    /// For durations.
    pub instant: std::time::Instant,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self { at: Timestamp::now(), instant: std::time::Instant::now() }
    }
}
