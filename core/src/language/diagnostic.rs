//! What is wrong with a blueprint, where, and what to do about it.

use std::fmt::Write;

use serde::Serialize;

use super::source::{Path, Source};
use crate::Error;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The blueprint cannot be used.
    Error,
    /// It can be used, and is likely not what was meant.
    Warning,
}

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters of the line it spans; at least 1.
    pub length: usize,
    /// The offset in bytes, from 0.
    pub offset: usize,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A short word for this kind of mistake, in kebab-case; it does not change between versions.
    pub code: &'static str,
    /// What is wrong: a lower-case fragment without a full stop.
    pub message: String,
    /// What to do about it: a sentence.
    pub remedy: String,
    /// Where in the document: `spec.actions.backup.quiesce[0].hook.use`.
    pub path: String,
    /// Where in the text.
    pub position: Option<Position>,
    /// As `path`.
    #[serde(skip)]
    pub(super) at: Path,
}

impl Diagnostic {
    /// An error at a place.
    pub(crate) fn error(
        code: &'static str,
        path: &Path,
        position: Option<Position>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (message, remedy, at) = (message.into(), remedy.into(), path.clone());
        Self { severity: Severity::Error, code, message, remedy, path: path.to_string(), position, at }
    }

    /// The mistake for a terminal: `file:line:column: error[code]: message`, the line with what is wrong underlined,
    /// and the remedy. It ends with a line break.
    pub fn render(&self, source: &Source) -> String {
        self.render_in(source.origin(), source.text())
    }

    /// As [`Self::render`], for a text that could not be parsed.
    pub fn render_in(&self, origin: &str, text: &str) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut out = String::new();
        // Writing to a `String` does not fail.
        let _ = match self.position {
            Some(at) => write!(out, "{origin}:{}:{}: ", at.line, at.column),
            None => write!(out, "{origin}: "),
        };
        let _ = writeln!(out, "{severity}[{}]: {}", self.code, self.message);
        if let Some(at) = self.position {
            let line = text.lines().nth(at.line - 1).unwrap_or_default();
            let number = at.line.to_string();
            let margin = " ".repeat(number.len());
            // Tabs stay tabs, so that the underline stands below what it means.
            let indent: String =
                line.chars().take(at.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let _ =
                writeln!(out, "{margin} |\n{number} | {line}\n{margin} | {indent}{}", "^".repeat(at.length));
        }
        let _ = writeln!(out, "help: {}", self.remedy);
        out
    }
}

/// All mistakes as one error, for callers that need no more than that.
pub fn as_error(origin: &str, diagnostics: &[Diagnostic]) -> Error {
    as_error_of("blueprint", origin, diagnostics)
}

/// As [`as_error`], of another kind of document.
pub fn as_error_of(what: &str, origin: &str, diagnostics: &[Diagnostic]) -> Error {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let count = errors.clone().count();
    let first = errors.into_iter().next();
    let place = first
        .and_then(|first| first.position)
        .map_or_else(String::new, |at| format!(":{}:{}", at.line, at.column));
    let message = first.map_or("it cannot be used", |first| &first.message);
    let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
    Error::input(format!("the {what} {origin}{place} is wrong: {message}{more}"))
        .remedy(first.map_or_else(|| "Run `standstill lint` on it.".to_owned(), |first| first.remedy.clone()))
}
