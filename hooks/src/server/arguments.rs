//! What a verb is told.

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
};

/// The most rows that a `query` returns.
pub(crate) const ROWS: usize = 10_000;

/// What `query` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct QueryArguments {
    /// One statement; it runs in a read-only transaction.
    pub sql: String,
}

/// A verb that is told nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NoArguments {}

/// Reads the arguments of a hook's verb; none at all means an empty object.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when they do not fit their schema.
pub(crate) fn read<T: DeserializeOwned>(hook: &str, verb: &str, arguments: &Value) -> Result<T> {
    let arguments =
        if arguments.is_null() { Value::Object(serde_json::Map::new()) } else { arguments.clone() };
    serde_json::from_value(arguments).map_err(|cause| {
        Error::input(format!("the arguments of {hook}/{verb} do not fit"))
            .remedy("Compare `with` with the verb's arguments.")
            .because(cause)
    })
}

/// The hook has no such verb, or it is of another kind.
pub(crate) fn unknown(hook: &str, verb: &str) -> Error {
    Error::input(format!("the hook {hook} has no verb {verb} of this kind"))
}

/// Refuses an answer with more than [`ROWS`] rows.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`].
pub(crate) fn not_too_many(rows: usize) -> Result<()> {
    if rows <= ROWS {
        return Ok(());
    }
    Err(Error::input(format!("the query returns more than {ROWS} rows"))
        .remedy("Ask for fewer, with LIMIT or an aggregate."))
}

/// Does work on files: it belongs on a thread that may wait.
///
/// # Errors
/// Those of the work, and when it broke off.
pub(crate) async fn on_files<A: Send + 'static>(
    context: &HookContext,
    arguments: A,
    work: fn(&HookContext, &A) -> Result<Called>,
) -> Result<Called> {
    let context = context.clone();
    tokio::task::spawn_blocking(move || work(&context, &arguments))
        .await
        .map_err(|cause| Error::failed("the work on the restored files broke off").because(cause))?
}
