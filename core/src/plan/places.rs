//! Where the commands of a step run.

use super::Plan;
use crate::{
    hook::{HoldKind, HoldTraits},
    language::{ExecStep, Step},
    runtime::Place,
};

impl Plan {
    /// Whether any command runs in the target's own container.
    pub fn enters_target(&self) -> bool {
        self.steps.iter().any(|step| self.place(&step.step) == Place::Target)
    }

    /// Whether a hook holds something that survives its client, so that who lets go of it must survive the runner.
    pub fn holds_outlive_clients(&self) -> bool {
        let lease = |hold: HoldTraits| hold.kind == HoldKind::Lease;
        self.steps.iter().any(|step| step.step.hook.is_some() && step.hold.is_some_and(lease))
    }

    /// Whether any program of the target's image runs beside it, in the runner's own place.
    pub fn runs_programs(&self) -> bool {
        let runs = |step: &Step| {
            let streams = step.stream.as_ref().is_some_and(|stream| !stream.command.is_empty());
            let waits = step.wait.as_ref().is_some_and(|wait| wait.exec.is_some());
            streams
                || waits
                || step.exec.is_some()
                || step.pair.is_some()
                || step.session.is_some()
                || step.service.is_some()
        };
        self.steps.iter().any(|step| runs(&step.step) && self.place(&step.step) == Place::Runner)
    }

    /// Where the commands of a step run. What a backup does to the application it does in the target's own container,
    /// where its author does not say otherwise; a restore or a verification works on a copy, which is beside it. Data
    /// is streamed beside it, too: it never goes through a connection that may lose its end without a word.
    pub fn place(&self, step: &Step) -> Place {
        let by_default = if self.commits() { Place::Target } else { Place::Runner };
        let of_exec = |exec: &ExecStep| {
            let by_default = if exec.run_as.is_runner() { by_default } else { Place::Runner };
            place(exec.place.as_deref(), by_default)
        };
        let waits = step.wait.as_ref().and_then(|wait| wait.exec.as_ref());
        if let Some(exec) = step.exec.as_ref().or(waits) {
            of_exec(exec)
        } else if let Some(pair) = &step.pair {
            place(pair.place.as_deref(), by_default)
        } else if let Some(session) = &step.session {
            place(session.place.as_deref(), by_default)
        } else if let Some(stream) = &step.stream {
            place(stream.place.as_deref(), Place::Runner)
        } else {
            Place::Runner
        }
    }
}

fn place(written: Option<&str>, by_default: Place) -> Place {
    match written {
        None => by_default,
        Some("target") => Place::Target,
        Some(_) => Place::Runner,
    }
}
