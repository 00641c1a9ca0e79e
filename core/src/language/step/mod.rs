//! The types of a step: one optional key for each kind, so that the schema stays structural and editors complete it.

mod check;
mod cluster;
mod command;
mod hold;
mod hook;
mod pod;
mod service;
mod store;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{check::*, cluster::*, command::*, hold::*, hook::*, pod::*, service::*, store::*};
use crate::language::model::Template;

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
    /// A command in a pod of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodStep>,
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
    /// The output of a command or a hook into an artifact, or an artifact into a command's standard input.
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
    /// Changes how many pods a workload has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleStep>,
    /// Changes an object of the cluster, or waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube: Option<KubeStep>,
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
    /// See [`PodStep`].
    Pod(&'a PodStep),
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
    /// See [`ScaleStep`].
    Scale(&'a ScaleStep),
    /// See [`KubeStep`].
    Kube(&'a KubeStep),
    /// See [`ActionStep`].
    Action(&'a ActionStep),
}

impl Step {
    /// The names of all kinds, as the language writes them.
    pub const KINDS: [&'static str; 16] = [
        "hook", "exec", "pod", "pair", "session", "service", "snapshot", "volume", "files", "stream",
        "query", "check", "wait", "scale", "kube", "action",
    ];

    /// Every kind that the step has; a right one has exactly one.
    pub fn kinds(&self) -> Vec<StepKind<'_>> {
        let all = [
            self.hook.as_ref().map(StepKind::Hook),
            self.exec.as_ref().map(StepKind::Exec),
            self.pod.as_ref().map(StepKind::Pod),
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
            self.scale.as_ref().map(StepKind::Scale),
            self.kube.as_ref().map(StepKind::Kube),
            self.action.as_ref().map(StepKind::Action),
        ];
        all.into_iter().flatten().collect()
    }
}

impl StepKind<'_> {
    /// Whether it changes something around the target that is put back once everything is let go.
    pub const fn changes_cluster(&self) -> bool {
        match self {
            Self::Scale(_) => true,
            Self::Kube(step) => step.until.is_none(),
            _ => false,
        }
    }

    /// Whether it is only for a place that has a cluster around the target.
    pub const fn needs_cluster(&self) -> bool {
        matches!(self, Self::Scale(_) | Self::Kube(_))
    }

    /// Its name, as the language writes it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hook(_) => "hook",
            Self::Exec(_) => "exec",
            Self::Pod(_) => "pod",
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
            Self::Scale(_) => "scale",
            Self::Kube(_) => "kube",
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
