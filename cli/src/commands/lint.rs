//! `standstill lint`.

use standstill_core::{Result, language::Severity};

use crate::{
    arguments::{Format, Global},
    blueprint::{find, mistakes},
    output, wiring,
};

/// The exit status when a blueprint is wrong.
const WRONG: u8 = 2;

/// Prints every mistake of every file.
pub fn lint(global: &Global, files: &[String]) -> Result<u8> {
    let hooks = wiring::hooks();
    let mut status = output::DONE;
    let mut document = Vec::new();
    for name in files {
        let text = find(name)?;
        let found = mistakes(&text, hooks.as_ref());
        if found.iter().any(|(diagnostic, _)| diagnostic.severity == Severity::Error) {
            status = WRONG;
        }
        for (diagnostic, rendered) in found {
            match global.output {
                Format::Text => output::line(rendered),
                Format::Json => {
                    document.push(serde_json::json!({"file": text.origin, "diagnostic": diagnostic}));
                }
            }
        }
    }
    match global.output {
        Format::Json => output::json(&document)?,
        Format::Text if status == output::DONE && !global.quiet => {
            output::line(format!("{} checked, no errors", files.join(", ")));
        }
        Format::Text => {}
    }
    Ok(status)
}
