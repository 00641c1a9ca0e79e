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
        let Some(allowed) = allowed(kind, backup) else {
            let (message, remedy) = match kind {
                StepKind::Action(_) | StepKind::Hook(_) => return,
                _ => (
                    format!(
                        "`{name}` is for `backup`: no other action acquires, captures or stores anything"
                    ),
                    "Remove it, or move it to `backup`.",
                ),
            };
            return self.error_at_key("wrong-phase", path, message, remedy);
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
            (StepKind::Exec(_), Phase::Quiesce) => (
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

/// The phases that a kind of step may be in; `None` if the action has none for it.
fn allowed(kind: &StepKind<'_>, backup: bool) -> Option<&'static [Phase]> {
    use Phase::{Capture, Cleanup, Preflight, Prepare, Quiesce, Recover, Steps, Store};
    const ASK: &[Phase] = &[Preflight, Prepare, Quiesce, Capture, Recover, Store, Cleanup];
    const DO: &[Phase] = &[Prepare, Capture, Recover, Store, Cleanup];
    Some(match (kind, backup) {
        (StepKind::Hook(_), true) => &Phase::BACKUP,
        (StepKind::Hook(_), false) => &Phase::OTHER,
        (StepKind::Query(_) | StepKind::Check(_), true) => ASK,
        (StepKind::Query(_) | StepKind::Check(_), false) => &Phase::OTHER,
        (StepKind::Wait(wait), true) => {
            if wait.exec.is_some() {
                DO
            } else {
                ASK
            }
        }
        (StepKind::Wait(wait), false) => {
            if wait.exec.is_some() {
                &[Steps, Cleanup]
            } else {
                &Phase::OTHER
            }
        }
        (StepKind::Exec(_), true) => DO,
        (StepKind::Exec(_), false) => &[Steps, Cleanup],
        (StepKind::Pair(_) | StepKind::Session(_), true) => &[Quiesce],
        (StepKind::Snapshot(_), true) => &[Capture],
        (StepKind::Files(_), true) => &[Store],
        (StepKind::Volume(_), true) => &[Store],
        (StepKind::Stream(_), true) => &[Capture, Store],
        (StepKind::Volume(_) | StepKind::Stream(_), false) => &[Steps],
        (StepKind::Service(_), true) => &[Prepare],
        (StepKind::Service(_), false) => &[Steps],
        (StepKind::Action(_), true) => &[Prepare, Recover, Store],
        (StepKind::Action(_), false) => &[Steps],
        (StepKind::Pair(_) | StepKind::Session(_) | StepKind::Snapshot(_) | StepKind::Files(_), false) => {
            return None;
        }
    })
}
