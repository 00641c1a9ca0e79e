//! `standstill init`.

use serde_json::json;
use standstill_core::Result;
use standstill_repository::Repository;

use crate::{
    arguments::{self, Global},
    output,
    repository::{location, password},
};

/// Makes a repository in an empty place, and says so.
pub async fn init(global: &Global, arguments: &arguments::Repository) -> Result<u8> {
    let location = location(arguments)?;
    Repository::init(&location, &password(&arguments.password)?).await?;
    let document = json!({"repository": location.to_string()});
    output::result(global, &document, || {
        format!(
            "made a repository at {location}\nWithout its password nothing in it can be read: keep it safe."
        )
    })?;
    Ok(output::DONE)
}
