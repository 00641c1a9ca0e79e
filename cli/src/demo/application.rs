//! What the demo needs of a database: one file for each.

use std::{collections::BTreeMap, path::Path};

use async_trait::async_trait;
use standstill_core::{Result, plan::Given};

/// The orders that are there before the writer begins.
pub const INITIAL: u64 = 10_000;

/// What an order says besides its id: some bytes, so that the database is not tiny.
pub fn note(id: u64) -> String {
    format!(
        "order {id} of customer {}: {}",
        id * 7919 % 1000,
        "two of these, one of those, and quickly please; ".repeat(4)
    )
}

/// Values for a blueprint's parameters.
pub type Parameters = BTreeMap<String, Given>;

/// One parameter.
pub fn parameter(name: &str, value: impl Into<String>) -> (String, Given) {
    (name.to_owned(), Given::Text(value.into()))
}

/// A throwaway database with [`INITIAL`] orders.
#[async_trait]
pub trait Application: Send + Sync {
    /// What it is, for people: `SQLite 3.50.2`.
    fn title(&self) -> String;
    /// The built-in blueprint that backs it up.
    fn blueprint(&self) -> &'static str;
    /// Where the blueprint finds it.
    fn parameters(&self) -> Parameters;
    /// The parameters that make `restore` write to another directory.
    fn elsewhere(&self, directory: &Path) -> Parameters;
    /// The writer's last arguments.
    fn writer(&self) -> Vec<String>;
    /// The ids of all orders in a restored copy, read from the copy alone.
    async fn orders_in(&self, restored: &Path) -> Result<Vec<u64>>;
    /// What a user types after `standstill backup` for a database of this kind.
    fn next_command(&self) -> String;
    /// Ends whatever serves it.
    async fn stop(&self) -> Result<()>;
}
