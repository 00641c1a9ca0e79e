//! `pair` and `session`: holds of the author's own.

use regex::Regex;

use super::super::{
    Linter,
    references::Need,
    view::{NOTHING, OF_COMMAND, View},
};
use crate::language::{
    model::Template,
    source::Path,
    step::{PairStep, SessionStep},
};

impl Linter<'_> {
    pub(super) fn pair(&mut self, step: &PairStep, path: &Path, view: &View<'_>) {
        self.optional(&path.key("lease"), step.lease.as_ref(), view, Need::Duration);
        self.place_of_hold(step.place.as_deref(), &path.key("in"), "Write `target` or `runner`.");
        self.command(&step.acquire, &path.key("acquire"), view);
        self.command(&step.release, &path.key("release"), view);
        self.environment(&step.env, &path.key("env"), view);
        if let Some(confirm) = &step.confirm {
            let path = path.key("confirm");
            self.command(&confirm.command, &path.key("command"), view);
            // It is judged where the command runs, which knows nothing but its result.
            let view = View { roots: NOTHING, ..*view };
            self.expression(&path.key("expect"), &confirm.expect, &view.with_result(OF_COMMAND));
        } else {
            self.unproven(path);
        }
    }

    pub(super) fn session(&mut self, step: &SessionStep, path: &Path, view: &View<'_>) {
        self.optional(&path.key("lease"), step.lease.as_ref(), view, Need::Duration);
        self.place_of_hold(step.place.as_deref(), &path.key("in"), "Write `target` or `runner`.");
        self.command(&step.command, &path.key("command"), view);
        self.environment(&step.env, &path.key("env"), view);
        self.lines(&step.send, "acquires", &path.key("send"), view);
        self.lines(&step.release, "lets go of", &path.key("release"), view);
        self.pattern(&step.until, &path.key("until"));
        if let Some(pattern) = &step.release_until {
            self.pattern(pattern, &path.key("releaseUntil"));
        }
        self.optional(&path.key("keepAlive"), step.keep_alive.as_ref(), view, Need::Text);
        if let Some(confirm) = &step.confirm {
            let path = path.key("confirm");
            self.template(&path.key("send"), &confirm.send, view, Need::Text);
            self.pattern(&confirm.until, &path.key("until"));
        } else {
            self.unproven(path);
        }
    }

    fn lines(&mut self, lines: &[Template], does: &str, path: &Path, view: &View<'_>) {
        if lines.is_empty() {
            let message = format!("there is no line that {does} the hold");
            self.error("empty-command", path, message, "Write the lines that are sent to the client.");
        }
        self.texts(path, lines, view);
    }

    fn pattern(&mut self, pattern: &str, path: &Path) {
        if let Err(cause) = Regex::new(pattern) {
            // The engine draws the pattern above its last line, which says what is wrong.
            let drawn = cause.to_string();
            let reason = drawn.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("this is not a regular expression: {reason}");
            let remedy = "Put a backslash before a character that stands for itself.";
            self.error("invalid-pattern", path, message, remedy);
        }
    }

    fn unproven(&mut self, path: &Path) {
        let message = "nothing proves that this hold was on until the capture was done";
        let remedy = "Add `confirm`, with a question whose answer shows that it is held.";
        self.warning("hold-without-proof", path, message, remedy);
    }
}
