//! Every mistake of a blueprint that can be found without running it.
//!
//! ```text
//!   shape (keys, types) ─▶ parameters, connections, volumes, programs ─▶ actions ─▶ steps ─▶ templates, expressions
//! ```

mod actions;
mod artifacts;
mod declared;
mod doing;
mod known;
mod limits;
mod names;
mod parameters;
mod partial;
mod references;
mod resolve;
mod steps;
mod unused;
mod view;

pub(crate) use names::{is_artifact_name, is_name};

use std::sync::Arc;

use self::{artifacts::Stored, partial::Partial};
use super::{
    diagnostic::{Diagnostic, Severity},
    model::Blueprint,
    read,
    source::{Path, Source},
};
use crate::hook::{Hook, HookDescription, Hooks};

/// Finds every mistake of a document, in the order of the text.
pub fn lint(source: &Source, hooks: &dyn Hooks) -> Vec<Diagnostic> {
    let mut faults = match read::typed(source) {
        Ok(blueprint) => Known::of(hooks).lint(source, &blueprint),
        Err(faults) => {
            let meaning = Partial::of(source, &faults).map_or_else(Vec::new, |partial| {
                let found = Known::of(hooks).lint(&partial.source, &partial.blueprint);
                partial.without_consequences(found)
            });
            faults.into_iter().chain(meaning).collect()
        }
    };
    faults.sort_by(|one, other| {
        let key = |fault: &Diagnostic| fault.position.map(|at| (at.offset, fault.severity));
        key(one).cmp(&key(other))
    });
    faults.dedup_by(|one, other| {
        one.code == other.code && one.position == other.position && one.message == other.message
    });
    faults
}

/// Parses and lints a text: the blueprint with warnings, or everything that is wrong with it.
///
/// # Errors
/// It is no YAML, or at least one mistake is an error; warnings are among them then.
pub fn check(
    origin: &str,
    text: &str,
    hooks: &dyn Hooks,
) -> Result<(Blueprint, Vec<Diagnostic>), Vec<Diagnostic>> {
    let source = Source::parse(origin, text)?;
    let found = lint(&source, hooks);
    if found.iter().any(|fault| fault.severity == Severity::Error) {
        return Err(found);
    }
    Ok((read::typed(&source)?, found))
}

/// The hooks there are.
struct Known(Vec<(&'static str, Arc<dyn Hook>)>);

impl Known {
    fn of(hooks: &dyn Hooks) -> Self {
        Self(hooks.names().into_iter().filter_map(|name| Some((name, hooks.get(name)?))).collect())
    }

    fn lint(&self, source: &Source, blueprint: &Blueprint) -> Vec<Diagnostic> {
        let stored = Stored::of(blueprint);
        let mut linter = Linter { source, blueprint, hooks: self, stored, faults: Vec::new() };
        linter.names();
        linter.parameters();
        linter.declared();
        linter.actions();
        // What is not used may be what a misspelt name was meant to use.
        if linter.faults.iter().all(|fault| fault.severity == Severity::Warning) {
            linter.unused();
        }
        linter.faults
    }

    fn get(&self, name: &str) -> Option<&HookDescription> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, hook)| hook.describe())
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }
}

/// What is linted, and what was found so far.
struct Linter<'a> {
    source: &'a Source,
    blueprint: &'a Blueprint,
    hooks: &'a Known,
    stored: Stored,
    faults: Vec<Diagnostic>,
}

impl Linter<'_> {
    /// An error in the value at a path.
    fn error(
        &mut self,
        code: &'static str,
        path: &Path,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let position = self.source.position(path);
        self.faults.push(Diagnostic::error(code, path, Some(position), message, remedy));
    }

    /// An error in the key at the end of a path.
    fn error_at_key(
        &mut self,
        code: &'static str,
        path: &Path,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let position = self.source.key_position(path);
        self.faults.push(Diagnostic::error(code, path, Some(position), message, remedy));
    }

    /// A warning at the key at the end of a path.
    fn warning(
        &mut self,
        code: &'static str,
        path: &Path,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let position = self.source.key_position(path);
        let fault = Diagnostic::error(code, path, Some(position), message, remedy);
        self.faults.push(Diagnostic { severity: Severity::Warning, ..fault });
    }
}

/// The path of the blueprint's `spec`.
fn spec() -> Path {
    Path::root().key("spec")
}

#[cfg(test)]
mod tests;
