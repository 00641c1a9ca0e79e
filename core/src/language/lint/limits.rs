//! What an action says about itself: ceilings, and the places that it restores into.

use super::{
    Linter,
    references::Need,
    view::{PLANNED, View},
};
use crate::language::{
    model::{Action, ActionVolume},
    source::Path,
    suggest,
};

impl Linter<'_> {
    /// Checks an action's ceilings.
    pub(super) fn limits(&mut self, name: &str, action: &Action, path: &Path, view: &View<'_>) {
        let view = view.with_roots(PLANNED);
        let limits = [
            ("maxFreeze", action.max_freeze.as_ref()),
            ("maxHold", action.max_hold.as_ref()),
            ("lease", action.lease.as_ref()),
        ];
        for (key, limit) in limits {
            let path = path.key(key);
            self.optional(&path, limit, &view, Need::Duration);
            if limit.is_some() && name != "backup" {
                let message = format!("`{key}` is about holds, and only `backup` acquires any");
                self.error_at_key("only-in-backup", &path, message, "Remove it; a step has `timeout`.");
            }
        }
        if action.on_quiesce_failure.is_some() && name != "backup" {
            let message = "`onQuiesceFailure` is about holds, and only `backup` acquires any";
            self.error_at_key("only-in-backup", &path.key("onQuiesceFailure"), message, "Remove it.");
        }
    }

    /// Checks the places that an action restores into.
    pub(super) fn places(&mut self, name: &str, action: &Action, path: &Path, view: &View<'_>) {
        let path = path.key("volumes");
        if name == "backup" && !action.volumes.is_empty() {
            let message = "`backup` restores nothing, so it has no places to restore into";
            self.error_at_key("only-outside-backup", &path, message, "Declare volumes under `spec.volumes`.");
        }
        for (volume, place) in &action.volumes {
            self.place(volume, place, &path.key(volume), view);
        }
    }

    fn place(&mut self, name: &str, place: &ActionVolume, path: &Path, view: &View<'_>) {
        let volumes = &self.blueprint.spec.volumes;
        if volumes.contains_key(name) {
            let message = format!("`{name}` is the name of one of the target's volumes");
            let remedy = "Use another name, so that nobody restores over the original by mistake.";
            self.error_at_key("volume-shadowed", path, message, remedy);
        }
        if let Some(like) = place.like.as_ref().filter(|like| !volumes.contains_key(*like)) {
            let remedy = suggest::remedy(like, "volume", volumes.keys().map(String::as_str));
            self.error("unknown-volume", &path.key("like"), format!("there is no volume `{like}`"), remedy);
        }
        self.optional(&path.key("path"), place.path.as_ref(), &view.with_roots(PLANNED), Need::Text);
        match (&place.path, place.scratch) {
            (Some(_), true) => {
                let message = "a scratch volume is put where there is room, so it has no path of its own";
                self.error_at_key(
                    "scratch-with-path",
                    &path.key("path"),
                    message,
                    "Remove `path` or `scratch`.",
                );
            }
            (None, false) => {
                let message = format!("it is not said where the volume `{name}` is");
                self.error_at_key("volume-without-path", path, message, "Add `path`, or `scratch: true`.");
            }
            (Some(_), false) | (None, true) => {}
        }
    }
}
