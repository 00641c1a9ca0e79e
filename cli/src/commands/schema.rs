//! `standstill schema`.

use schemars::schema_for;
use serde_json::{Value, json};
use standstill_core::{
    Result,
    plan::ShownPlan,
    runner::{BackupReport, VerifyReport},
};

use crate::{arguments::SchemaOf, output, test::TestsReport};

/// Prints a JSON Schema.
pub fn print(of: SchemaOf) -> Result<u8> {
    output::json(&schema(of))?;
    Ok(output::DONE)
}

fn schema(of: SchemaOf) -> Value {
    match of {
        SchemaOf::Blueprint => standstill_core::language::schema(),
        SchemaOf::Group => standstill_core::language::group_schema(),
        SchemaOf::Test => standstill_core::language::test_schema(),
        SchemaOf::Backup => json!(schema_for!(BackupReport)),
        SchemaOf::Verify => json!(schema_for!(VerifyReport)),
        SchemaOf::Plan => json!(schema_for!(ShownPlan)),
        SchemaOf::TestReport => json!(schema_for!(TestsReport)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_of_the_outputs_are_checked_in() {
        let checked_in = [
            (SchemaOf::Backup, "backup", include_str!("../../schemas/backup.json")),
            (SchemaOf::Verify, "verify", include_str!("../../schemas/verify.json")),
            (SchemaOf::Plan, "plan", include_str!("../../schemas/plan.json")),
            (SchemaOf::TestReport, "test-report", include_str!("../../schemas/test-report.json")),
        ];
        for (of, name, text) in checked_in {
            let found: Value = serde_json::from_str(text).unwrap();
            assert_eq!(
                found,
                schema(of),
                "run `standstill schema {name} > cli/schemas/{name}.json` and look at what changed"
            );
        }
    }
}
