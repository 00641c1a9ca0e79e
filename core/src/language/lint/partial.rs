//! What is left of a document of the wrong shape, so that its meaning is linted too and all mistakes come in one go.

use crate::language::{
    diagnostic::Diagnostic,
    model::Blueprint,
    read,
    source::{Node, NodeValue, Path, Segment, Source},
};

/// Mistakes that may be there only because something else was cut away, whatever it was.
const CONSEQUENCES: [&str; 12] = [
    "capture-not-stored",
    "freeze-without-capture",
    "missing-volume",
    "no-restore",
    "nothing-stored",
    "unknown-artifact",
    "unknown-capture",
    "unknown-output",
    "unknown-service",
    "unknown-step",
    "unused",
    "wrong-connection",
];

/// How often what was cut away may make something else wrong.
const ROUNDS: usize = 8;

/// A document without the parts that have the wrong shape.
pub(super) struct Partial {
    pub source: Source,
    pub blueprint: Blueprint,
    /// What was cut away.
    cut: Vec<Path>,
    /// Whether something was cut away that others may refer to.
    lost: bool,
}

impl Partial {
    /// Cuts away what is wrong; `None` if nothing useful is left.
    pub(super) fn of(source: &Source, faults: &[Diagnostic]) -> Option<Self> {
        let mut root = source.root().clone();
        let mut cut = Vec::new();
        let mut lost = false;
        let mut faults = faults.to_vec();
        for _ in 0..ROUNDS {
            for fault in &faults {
                lost |= fault.code != "unknown-key";
                let mut path = fault.at.clone();
                // What was cut and is still wrong goes with what it is in.
                while cut.contains(&path) {
                    path = path.parent()?;
                }
                remove(&mut root, &path);
                cut.push(path);
            }
            let left = source.with_root(root.clone());
            match read::typed(&left) {
                Ok(blueprint) => return Some(Self { source: left, blueprint, cut, lost }),
                Err(more) => faults = more,
            }
        }
        None
    }

    /// The mistakes that are not a mere consequence of what was cut away.
    pub(super) fn without_consequences(&self, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let inside = |fault: &Diagnostic| self.cut.iter().any(|cut| fault.at.starts_with(cut));
        let around = |fault: &Diagnostic| {
            fault.code == "step-without-kind"
                && self.cut.iter().any(|cut| cut.parent().as_ref() == Some(&fault.at))
        };
        let refers = |fault: &Diagnostic| {
            CONSEQUENCES.contains(&fault.code) || (self.lost && fault.code.starts_with("unknown-"))
        };
        found.into_iter().filter(|fault| !inside(fault) && !around(fault) && !refers(fault)).collect()
    }
}

/// Removes the value at a path. An item of a list is emptied instead, so that those behind it keep their places.
fn remove(node: &mut Node, path: &Path) {
    let Some((last, parents)) = path.segments().split_last() else { return };
    let Some(parent) = parents.iter().try_fold(node, |node, segment| node.follow_mut(segment)) else {
        return;
    };
    match (last, &mut parent.value) {
        (Segment::Key(key), NodeValue::Map(entries)) => entries.retain(|(known, _)| known.text != *key),
        (Segment::Index(index), NodeValue::List(items)) => {
            if let Some(item) = items.get_mut(*index) {
                item.value = match item.value {
                    NodeValue::Map(_) => NodeValue::Map(Vec::new()),
                    _ => NodeValue::Text(String::new()),
                };
            }
        }
        _ => {}
    }
}
