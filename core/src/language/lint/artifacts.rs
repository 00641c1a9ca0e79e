//! What `backup` leaves behind for the other actions: artifacts and recorded outputs.

use std::collections::BTreeMap;

use crate::language::{
    model::{Blueprint, Phase},
    step::Step,
    template::is_template,
};

/// What `backup` leaves behind.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Whether it is known. Where there is no `backup`, nothing is.
    pub by_backup: bool,
    /// Recorded outputs, by step.
    pub recorded: BTreeMap<String, Vec<String>>,
    artifacts: Vec<(String, Form)>,
}

/// What an artifact is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Files.
    Tree,
    /// A stream of bytes.
    Stream,
}

impl Stored {
    pub(super) fn of(blueprint: &Blueprint) -> Self {
        // A backup with a phase that it does not have is told so; what it stores is not known then.
        let known = blueprint.spec.actions.get("backup").filter(|backup| backup.steps.is_empty());
        let Some(backup) = known else { return Self::default() };
        let mut stored = Self { by_backup: true, ..Self::default() };
        for step in Phase::BACKUP.into_iter().flat_map(|phase| backup.phase(phase)) {
            stored.artifacts.extend(artifact(step));
            if let Some(name) = step.name.as_ref().filter(|_| !step.record.is_empty()) {
                stored.recorded.entry(name.clone()).or_default().extend(step.record.iter().cloned());
            }
        }
        stored
    }

    /// Whether an artifact of that name may be there.
    pub(super) fn may_hold(&self, name: &str) -> bool {
        !self.by_backup || self.form(name).is_some()
    }

    /// What an artifact of that name is made of; of `NAME/*`, what the artifacts below `NAME/` are.
    pub(super) fn form(&self, name: &str) -> Option<Form> {
        let matches = |stored: &str| match name.strip_suffix('*') {
            Some(prefix) => stored.starts_with(prefix),
            None if is_template(stored) => name.starts_with(literal_prefix(stored)),
            None => stored == name,
        };
        self.artifacts.iter().find(|(stored, _)| matches(stored)).map(|(_, form)| *form)
    }

    /// The artifacts, as the author wrote them.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.artifacts.iter().map(|(name, _)| name.as_str())
    }
}

/// The artifact that a step of `backup` stores.
pub(super) fn artifact(step: &Step) -> Option<(String, Form)> {
    let volume = step.volume.as_ref().filter(|volume| volume.from.is_some());
    let tree =
        volume.map(|volume| &volume.artifact).or_else(|| step.files.as_ref().map(|files| &files.artifact));
    if let Some(name) = tree {
        return Some((name.clone(), Form::Tree));
    }
    Some((step.stream.as_ref()?.artifact.0.as_str()?.to_owned(), Form::Stream))
}

fn literal_prefix(template: &str) -> &str {
    template.find("{{").map_or(template, |end| &template[..end])
}
