//! The JSON Schema of the language, made from the model's types.

use std::sync::LazyLock;

use serde_json::Value;

use super::model::Blueprint;

/// Where the schema says that it lives; editors only compare it.
const ID: &str = "https://standstill.dev/schema/v1alpha1/blueprint.json";

/// JSON Schema (2020-12) of a blueprint.
pub fn schema() -> Value {
    of_blueprint().clone()
}

/// As [`schema`], made once.
pub(super) fn of_blueprint() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let mut schema = schemars::schema_for!(Blueprint);
        schema.insert("$id".to_owned(), ID.into());
        schema.insert("title".to_owned(), "Standstill blueprint".into());
        schema.to_value()
    });
    &SCHEMA
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Set this variable to write the schema instead of comparing it.
    const UPDATE: &str = "STANDSTILL_UPDATE_SCHEMA";

    #[test]
    fn the_schema_that_is_checked_in_is_the_one_of_the_types() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../blueprints/schema.json");
        let schema = serde_json::to_string_pretty(&super::schema()).unwrap() + "\n";
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&file, &schema).unwrap();
        }
        let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            checked_in == schema,
            "blueprints/schema.json is not the schema of the types; update it with \
             `{UPDATE}=1 cargo test -p standstill-core the_schema_that_is_checked_in`"
        );
    }

    #[test]
    fn the_schema_names_its_dialect_and_itself() {
        let schema = super::schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$id"], super::ID);
        assert_eq!(schema["additionalProperties"], false);
    }
}
