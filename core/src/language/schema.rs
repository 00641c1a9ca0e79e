//! The JSON Schema of the language, made from the model's types.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde_json::Value;

use super::model::Blueprint;

/// Where the schemas say that they live; editors only compare it.
const PLACE: &str = "https://standstill.dev/schema/v1alpha1/";

/// JSON Schema (2020-12) of a blueprint.
pub fn schema() -> Value {
    of_blueprint().clone()
}

/// The schema of a type of documents, with its identity.
pub(super) fn of_type<T: JsonSchema>(name: &str, title: &str) -> Value {
    let mut schema = schemars::schema_for!(T);
    schema.insert("$id".to_owned(), format!("{PLACE}{name}.json").into());
    schema.insert("title".to_owned(), title.into());
    schema.to_value()
}

/// As [`schema`], made once.
pub(super) fn of_blueprint() -> &'static Value {
    static SCHEMA: LazyLock<Value> =
        LazyLock::new(|| of_type::<Blueprint>("blueprint", "Standstill blueprint"));
    &SCHEMA
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::language::{group_schema, test_schema};

    /// Set this variable to write the schemas instead of comparing it.
    const UPDATE: &str = "STANDSTILL_UPDATE_SCHEMA";

    #[test]
    fn the_schemas_that_are_checked_in_are_those_of_the_types() {
        let schemas = [
            ("schema.json", super::schema()),
            ("group.schema.json", group_schema()),
            ("test.schema.json", test_schema()),
        ];
        for (name, schema) in schemas {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../blueprints").join(name);
            let schema = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            if std::env::var_os(UPDATE).is_some() {
                std::fs::write(&file, &schema).unwrap();
            }
            let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(
                checked_in == schema,
                "blueprints/{name} is not the schema of the types; update it with \
                 `{UPDATE}=1 cargo test -p standstill-core the_schemas_that_are_checked_in`"
            );
        }
    }

    #[test]
    fn the_schema_names_its_dialect_and_itself() {
        let schema = super::schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$id"], "https://standstill.dev/schema/v1alpha1/blueprint.json");
        assert_eq!(schema["additionalProperties"], false);
    }
}
