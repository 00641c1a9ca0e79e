//! Which kinds of steps belong into which phase.

use super::super::{
    Linter,
    view::{StepView, View},
};
use crate::language::{model::Phase, source::Path, step::StepKind};

impl Linter<'_> {
    /// Checks that a kind of step may be in its phase. A hook's verbs say for themselves what they do.
    pub(super) fn phase_of(
        &mut self,
        kind: &StepKind<'_>,
        seen: &StepView<'_>,
        path: &Path,
        view: &View<'_>,
    ) {
        let backup = view.action_name() == Some("backup");
        let phase = seen.phase.name();
        let name = kind.name();
        let Some(allowed) = (if backup { Some(in_backup(kind)) } else { elsewhere(kind) }) else {
            let message =
                format!("`{name}` is for `backup`: no other action acquires, captures or stores anything");
            return self.error_at_key("wrong-phase", path, message, "Remove it, or move it to `backup`.");
        };
        if allowed.contains(&seen.phase) {
            return;
        }
        let names: Vec<&str> = allowed.iter().map(|phase| phase.name()).collect();
        let remedy = match names.as_slice() {
            [name] => format!("Move it to `{name}`."),
            names => format!("Move it to one of: {}.", names.join(", ")),
        };
        let (code, message, remedy) = match (kind, seen.phase) {
            (StepKind::Exec(_) | StepKind::Pod(_), Phase::Quiesce) => (
                "exec-in-quiesce",
                "a command in `quiesce` acquires something that nothing lets go".to_owned(),
                "Use `pair` or `session`, which also let go; or move it to `prepare`.".to_owned(),
            ),
            (_, Phase::Preflight) => (
                "not-read-only",
                format!("`preflight` only reads, and `{name}` may change something"),
                remedy,
            ),
            (StepKind::Pair(_) | StepKind::Session(_), _) => {
                ("wrong-phase", format!("`{name}` acquires a hold, and `{phase}` acquires none"), remedy)
            }
            _ => ("wrong-phase", format!("`{name}` does not belong into `{phase}`"), remedy),
        };
        self.error_at_key(code, path, message, remedy);
    }
}

/// The phases of `backup` that a kind of step may be in.
const fn in_backup(kind: &StepKind<'_>) -> &'static [Phase] {
    use Phase::{Capture, Cleanup, Prepare, Quiesce, Recover, Store};
    const ANY: &[Phase] = &Phase::BACKUP;
    const WHILE_NOTHING_IS_ACQUIRED: &[Phase] = &[Prepare, Capture, Recover, Store, Cleanup];
    match kind {
        StepKind::Hook(_) | StepKind::Query(_) | StepKind::Check(_) => ANY,
        StepKind::Wait(wait) if wait.exec.is_none() => ANY,
        StepKind::Kube(kube) if kube.until.is_some() => ANY,
        // A change takes long, and is put back once everything is let go. So does a pod until it has begun, and is gone.
        StepKind::Kube(_) | StepKind::Pod(_) => &[Prepare, Recover, Store, Cleanup],
        StepKind::Wait(_) | StepKind::Exec(_) => WHILE_NOTHING_IS_ACQUIRED,
        StepKind::Pair(_) | StepKind::Session(_) => &[Quiesce],
        StepKind::Snapshot(_) => &[Capture],
        StepKind::Files(_) | StepKind::Volume(_) => &[Store],
        StepKind::Stream(_) => &[Capture, Store],
        StepKind::Service(_) | StepKind::Scale(_) => &[Prepare],
        StepKind::Action(_) => &[Prepare, Recover, Store],
    }
}

/// The phases of every other action that a kind of step may be in; `None` if it is only for `backup`.
const fn elsewhere(kind: &StepKind<'_>) -> Option<&'static [Phase]> {
    use Phase::{Cleanup, Steps};
    match kind {
        StepKind::Hook(_) | StepKind::Query(_) | StepKind::Check(_) => Some(&Phase::OTHER),
        StepKind::Wait(wait) if wait.exec.is_none() => Some(&Phase::OTHER),
        StepKind::Kube(kube) if kube.until.is_some() => Some(&Phase::OTHER),
        StepKind::Wait(_) | StepKind::Exec(_) | StepKind::Pod(_) | StepKind::Kube(_) => {
            Some(&[Steps, Cleanup])
        }
        StepKind::Volume(_)
        | StepKind::Stream(_)
        | StepKind::Service(_)
        | StepKind::Scale(_)
        | StepKind::Action(_) => Some(&[Steps]),
        StepKind::Pair(_) | StepKind::Session(_) | StepKind::Snapshot(_) | StepKind::Files(_) => None,
    }
}
