//! What lint says about each mistake: place, code, message, what is underlined, remedy.

mod cluster;
mod declared;
mod phases;
mod pod;
mod shape;
mod steps;
mod stores;
mod templates;

use super::{FakeHooks, OWN, POSTGRESQL, linted, with};
use crate::language::{Diagnostic, Severity, Source, lint};

/// What lint says about the design's example with one thing replaced.
fn changed(from: &str, to: &str) -> String {
    told(&with(POSTGRESQL, from, to))
}

/// What lint says about the other example with one thing replaced.
fn changed_own(from: &str, to: &str) -> String {
    told(&with(OWN, from, to))
}

/// What lint says about a text, a line each.
fn told(text: &str) -> String {
    let source = Source::parse("b.yaml", text).unwrap();
    let line = |fault: &Diagnostic| {
        let at = fault.position.unwrap();
        let shown: String =
            text.lines().nth(at.line - 1).unwrap().chars().skip(at.column - 1).take(at.length).collect();
        let warning = if fault.severity == Severity::Warning { "warning " } else { "" };
        format!("{warning}{}: {} [{shown}] {}", fault.code, fault.message, fault.remedy)
    };
    lint(&source, &FakeHooks::new()).iter().map(line).collect::<Vec<_>>().join("\n")
}
