//! The types of a step: one optional key for each kind, so that the schema stays structural and editors complete it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::model::Template;
use crate::runtime::CaptureMode;

/// One thing done in one place: a name, limits, and exactly one of the kinds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Its name, for `{{ steps.NAME.… }}`: a lower-case letter, then letters, digits and underscores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long it may take before it is ended with everything it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Template>,
    /// How often it is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Outputs to keep in the recovery point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub record: Vec<String>,
    /// A verb of a hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookStep>,
    /// A command in the target's place, or in a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecStep>,
    /// Commands that acquire, prove and let go, under a lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<PairStep>,
    /// An interactive client that is kept open under a keeper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionStep>,
    /// A server that lives until the action ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceStep>,
    /// Captures a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotStep>,
    /// Stores a captured volume, or restores one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeStep>,
    /// Stores files that a hook gathered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesStep>,
    /// A command's standard output into an artifact, or an artifact into its standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamStep>,
    /// A question to the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryStep>,
    /// An expression that must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckStep>,
    /// Waits until an expression holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitStep>,
    /// Runs another action of this blueprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionStep>,
}

/// The kind of a step, borrowed.
#[derive(Debug, Clone, Copy)]
pub enum StepKind<'a> {
    /// See [`HookStep`].
    Hook(&'a HookStep),
    /// See [`ExecStep`].
    Exec(&'a ExecStep),
    /// See [`PairStep`].
    Pair(&'a PairStep),
    /// See [`SessionStep`].
    Session(&'a SessionStep),
    /// See [`ServiceStep`].
    Service(&'a ServiceStep),
    /// See [`SnapshotStep`].
    Snapshot(&'a SnapshotStep),
    /// See [`VolumeStep`].
    Volume(&'a VolumeStep),
    /// See [`FilesStep`].
    Files(&'a FilesStep),
    /// See [`StreamStep`].
    Stream(&'a StreamStep),
    /// See [`QueryStep`].
    Query(&'a QueryStep),
    /// See [`CheckStep`].
    Check(&'a CheckStep),
    /// See [`WaitStep`].
    Wait(&'a WaitStep),
    /// See [`ActionStep`].
    Action(&'a ActionStep),
}

impl Step {
    /// The names of all kinds, as the language writes them.
    pub const KINDS: [&'static str; 13] = [
        "hook", "exec", "pair", "session", "service", "snapshot", "volume", "files", "stream", "query",
        "check", "wait", "action",
    ];

    /// Every kind that the step has; a right one has exactly one.
    pub fn kinds(&self) -> Vec<StepKind<'_>> {
        let all = [
            self.hook.as_ref().map(StepKind::Hook),
            self.exec.as_ref().map(StepKind::Exec),
            self.pair.as_ref().map(StepKind::Pair),
            self.session.as_ref().map(StepKind::Session),
            self.service.as_ref().map(StepKind::Service),
            self.snapshot.as_ref().map(StepKind::Snapshot),
            self.volume.as_ref().map(StepKind::Volume),
            self.files.as_ref().map(StepKind::Files),
            self.stream.as_ref().map(StepKind::Stream),
            self.query.as_ref().map(StepKind::Query),
            self.check.as_ref().map(StepKind::Check),
            self.wait.as_ref().map(StepKind::Wait),
            self.action.as_ref().map(StepKind::Action),
        ];
        all.into_iter().flatten().collect()
    }
}

impl StepKind<'_> {
    /// Its name, as the language writes it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hook(_) => "hook",
            Self::Exec(_) => "exec",
            Self::Pair(_) => "pair",
            Self::Session(_) => "session",
            Self::Service(_) => "service",
            Self::Snapshot(_) => "snapshot",
            Self::Volume(_) => "volume",
            Self::Files(_) => "files",
            Self::Stream(_) => "stream",
            Self::Query(_) => "query",
            Self::Check(_) => "check",
            Self::Wait(_) => "wait",
            Self::Action(_) => "action",
        }
    }
}

/// How often a step is tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// How often in all, the first time included.
    pub attempts: u32,
    /// How long to wait between two attempts (1s by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Template>,
}

/// A verb of a hook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HookStep {
    /// The verb: `HOOK/VERB`.
    #[serde(rename = "use")]
    pub verb: String,
    /// The connection that it works over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The volume that it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The service that it works with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its arguments, as the verb declares them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub with: Map<String, Value>,
}

/// Environment variables of a process: text, or `{parameter: NAME}` for a secret.
pub type Environment = BTreeMap<String, EnvironmentValue>;

/// A value of an environment variable: text, or `{parameter: NAME}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvironmentValue(pub Value);

impl EnvironmentValue {
    /// The secret parameter that it names, if it does.
    pub fn parameter(&self) -> Option<&str> {
        self.0.as_object()?.get("parameter")?.as_str()
    }
}

impl JsonSchema for EnvironmentValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EnvironmentValue".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Text, or `{parameter: NAME}` for a secret parameter.",
            "anyOf": [
                {"type": ["string", "number", "boolean"]},
                {
                    "type": "object",
                    "properties": {"parameter": {"type": "string", "description": "A secret parameter."}},
                    "required": ["parameter"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// Who a process runs as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum As {
    /// The runner's own user.
    #[default]
    Runner,
    /// The numeric owner of the first volume in question.
    VolumeOwner,
}

impl As {
    /// Whether it is the default.
    pub const fn is_runner(&self) -> bool {
        matches!(self, Self::Runner)
    }
}

/// A command in the target's place, or in a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecStep {
    /// Program and arguments; never a shell line.
    pub command: Vec<Template>,
    /// Where: `target` (the default) or `services.NAME`.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Environment,
    /// Who the command runs as; `volumeOwner` needs `volume`. In a service it is always the service's own user.
    #[serde(default, rename = "as", skip_serializing_if = "As::is_runner")]
    pub run_as: As,
    /// The volume whose owner `volumeOwner` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// An expression over `result` (`exitCode`, `stdout`, `stderr`) that must hold; by default the exit status must be 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-expression" = true))]
    pub expect: Option<String>,
}

/// What a hold of the author's own tolerates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Tolerates {
    /// A copy that is not atomic.
    NotAtomic,
    /// Files that vanish or change size while they are read.
    ChangingFiles,
    /// A snapshot of the block device, which does not see what is still in the page cache.
    BlockLevel,
}

/// Commands that acquire, prove and let go, under a lease.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairStep {
    /// How long it is held without a renewal; the action's lease by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Template>,
    /// Whether writes wait while it is held.
    pub blocks_writes: bool,
    /// What it tolerates; by default `notAtomic` where writes wait, and nothing otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerates: Option<Vec<Tolerates>>,
    /// Acquires; exit status 0 means held.
    pub acquire: Vec<Template>,
    /// Proves that it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<PairConfirm>,
    /// Lets go; it must be safe to run again.
    pub release: Vec<Template>,
    /// Environment variables of all three.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Environment,
}

/// Proves that a pair's hold is on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairConfirm {
    /// The command.
    pub command: Vec<Template>,
    /// An expression over `result` (`exitCode`, `stdout`, `stderr`) that must hold.
    #[schemars(extend("x-expression" = true))]
    pub expect: String,
}

/// An interactive client that is kept open under a keeper.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionStep {
    /// The client.
    pub command: Vec<Template>,
    /// Lines to acquire with.
    pub send: Vec<Template>,
    /// A regular expression for the line that says that it is held.
    pub until: String,
    /// A line that is sent at every renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<Template>,
    /// Proves that it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<SessionConfirm>,
    /// Lines to let go with.
    pub release: Vec<Template>,
    /// Whether the state outlives the client, so that a new client must send the release lines.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub survives_client: bool,
    /// Whether writes wait while it is held (true by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks_writes: Option<bool>,
    /// What it tolerates; by default `notAtomic` where writes wait, and nothing otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerates: Option<Vec<Tolerates>>,
    /// How long it is held without a renewal; the action's lease by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Template>,
    /// Environment variables of the client.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Environment,
}

/// Proves that a session's hold is on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionConfirm {
    /// The line to ask with.
    pub send: Template,
    /// A regular expression for the answer.
    pub until: String,
}

/// A server that lives until the action ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceStep {
    /// On Kubernetes: the image, or `target` for the target's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Template>,
    /// Who it runs as.
    #[serde(default, rename = "as", skip_serializing_if = "As::is_runner")]
    pub run_as: As,
    /// The volumes that it uses; the first one's owner is `volumeOwner`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// On Kubernetes: the port in its pod. On one machine a free one is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Template>,
    /// Where it may be reached from.
    #[serde(default)]
    pub listen: Listen,
    /// Its command.
    pub command: Vec<Template>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Environment,
    /// When it is ready.
    pub ready: Ready,
    /// How it is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
}

/// Where a service may be reached from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Listen {
    /// Only from its own machine or pod.
    #[default]
    Loopback,
}

/// When a service is ready: a hook's verb that succeeds, or a command that ends with status 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ready {
    /// A verb: `HOOK/VERB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// A command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<Template>>,
    /// How long it may take (5m by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Template>,
}

/// How a service is ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stop {
    /// The signal that asks it to end (TERM by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<StopSignal>,
    /// How long it may take before it is killed (30s by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Template>,
}

/// A signal that asks a server to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
}

/// Captures a volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotStep {
    /// The volume.
    pub volume: String,
    /// How: `auto` (the default) is the first of atomic, live and copy that every hold tolerates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CaptureMode>,
}

/// Stores a captured volume (`from`), or restores one (`to`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeStep {
    /// What is stored: `captures.NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The artifact.
    pub artifact: String,
    /// The volume that it is restored to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// A directory inside the volume that it is restored to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under: Option<String>,
    /// Patterns of files that are not stored. Without a slash a pattern matches a name at any depth; `dir/*` leaves
    /// the directory itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Files that are read after all others, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last: Vec<String>,
}

/// Stores files that a hook gathered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilesStep {
    /// The output that names them: `steps.NAME.OUTPUT`.
    pub from: String,
    /// The artifact.
    pub artifact: String,
}

/// A command's standard output into an artifact (in `backup`), or an artifact into its standard input (elsewhere).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamStep {
    /// A list: the step is done for each `item` of it. Outside `backup`, left out, an artifact `NAME/*` stands for
    /// every artifact below `NAME/`, with `item.name` and `item.artifact`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<Template>,
    /// The artifact; with `forEach` its name must hold `{{ item… }}`.
    pub artifact: Template,
    /// The command.
    pub command: Vec<Template>,
    /// Where: `target` (the default) or `services.NAME`.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Environment,
    /// Who the command runs as; `volumeOwner` needs `volume`.
    #[serde(default, rename = "as", skip_serializing_if = "As::is_runner")]
    pub run_as: As,
    /// The volume whose owner `volumeOwner` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Whether the command by itself takes a consistent copy and proves it by its exit status 0 (`pg_basebackup`). A
    /// backup that holds nothing is called application-consistent only if every artifact comes from such a stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub consistent: bool,
}

/// A question to the database, put by its hook's verb `query`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryStep {
    /// The connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The volume, for a database without a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The hook; needed only with `service` or `volume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Arguments of the verb (`sql`).
    pub with: Map<String, Value>,
    /// An expression over `result` (`rows`, `value`) that must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-expression" = true))]
    pub expect: Option<String>,
}

/// An expression that must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckStep {
    /// The expression.
    #[schemars(extend("x-expression" = true))]
    pub that: String,
    /// What to say when it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Template>,
}

/// Waits until an expression holds over the result of something that is asked again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitStep {
    /// An expression over `result`.
    #[schemars(extend("x-expression" = true))]
    pub until: String,
    /// Asks by a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecStep>,
    /// Asks the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryStep>,
    /// How long to wait between two attempts (1s by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Template>,
}

/// Runs another action of this blueprint, as part of this run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionStep {
    /// The action.
    pub run: String,
    /// Its volumes, by the volumes of this action that stand in for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, String>,
}
