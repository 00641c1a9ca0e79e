//! `standstill schema`.

use schemars::schema_for;
use standstill_core::{
    Result,
    plan::ShownPlan,
    runner::{BackupReport, VerifyReport},
};

use crate::{arguments::SchemaOf, output};

/// Prints a JSON Schema.
pub fn print(of: SchemaOf) -> Result<u8> {
    match of {
        SchemaOf::Blueprint => output::json(&standstill_core::language::schema()),
        SchemaOf::Backup => output::json(&schema_for!(BackupReport)),
        SchemaOf::Verify => output::json(&schema_for!(VerifyReport)),
        SchemaOf::Plan => output::json(&schema_for!(ShownPlan)),
    }?;
    Ok(output::DONE)
}
