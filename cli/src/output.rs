//! What is printed: results on standard output, everything else on standard error.

use std::io::{IsTerminal, Write};

use miette::Diagnostic;
use serde::Serialize;
use standstill_core::{Error, ErrorKind, Result, point::RunId};
use tracing_subscriber::{EnvFilter, fmt};

use crate::arguments::{Format, Global};

/// The exit status of a command that did what it was asked to.
pub const DONE: u8 = 0;

/// Sets up the log on standard error. `STANDSTILL_LOG` overrides what `-v` and `--quiet` say.
pub fn start_log(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => {
            "standstill=warn,standstill_core=warn,standstill_hooks=warn,standstill_local=warn,standstill_kubernetes=warn,standstill_repository=warn,error"
        }
        (false, 1) => {
            "standstill=info,standstill_core=info,standstill_hooks=info,standstill_local=info,standstill_kubernetes=info,standstill_repository=info,error"
        }
        (false, 2) => {
            "standstill=debug,standstill_core=debug,standstill_hooks=debug,standstill_local=debug,standstill_kubernetes=debug,standstill_repository=debug,warn"
        }
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_env("STANDSTILL_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // A second start changes nothing, and nobody needs to know.
    let _ = fmt()
        .with_env_filter(filter)
        .with_writer(crate::progress::Stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(global.verbose > 1)
        .without_time()
        .try_init();
}

/// Prints one line of a result. A reader that went away (`| head`) is no failure.
pub fn line(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout(), "{}", text.as_ref());
}

/// Prints a result as one JSON document.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|cause| Error::failed("the result cannot be written as JSON").because(cause))?;
    line(text);
    Ok(())
}

/// Prints a result in the format that was asked for.
pub fn result(global: &Global, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
    match global.output {
        Format::Json => json(value),
        Format::Text => {
            let text = text();
            if !text.is_empty() {
                line(text.trim_end_matches('\n'));
            }
            Ok(())
        }
    }
}

/// Says that a run was started and goes on by itself.
pub fn detached(global: &Global, run: &RunId) -> Result<u8> {
    result(global, &serde_json::json!({"run": run}), || {
        format!("run {run} was started\n`standstill logs {run} --on kubernetes` shows how far it is.")
    })?;
    Ok(DONE)
}

/// Prints an error for people, with its causes and what to do next.
pub fn error(error: &Error) -> u8 {
    let status = error.kind().exit_status();
    let text = error.chain();
    print_error(&text, error.remedy_text());
    status
}

/// Prints an error for people; where nobody looks at a terminal, in plain lines that can be searched.
pub fn print_error(message: &str, remedy: Option<&str>) {
    if !std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr(), "error: {message}");
        if let Some(remedy) = remedy {
            let _ = writeln!(std::io::stderr(), "help: {remedy}");
        }
        return;
    }
    let shown = Shown { message: message.to_owned(), remedy: remedy.map(str::to_owned) };
    let _ = writeln!(std::io::stderr(), "{:?}", miette::Report::new(shown));
}

/// The exit status of a run that ended.
pub fn status(failure: Option<ErrorKind>) -> u8 {
    failure.map_or(DONE, ErrorKind::exit_status)
}

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Shown {
    message: String,
    remedy: Option<String>,
}

impl Diagnostic for Shown {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.remedy.as_ref().map(|remedy| Box::new(remedy) as Box<dyn std::fmt::Display>)
    }
}

/// A table for people: columns as wide as their widest cell.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["a".to_owned(), "long".to_owned()], vec!["bcd".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["ID", "N"], &rows), "ID   N\na    long\nbcd  x\n");
    }
}
