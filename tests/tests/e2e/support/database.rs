//! What is protected.

use std::{path::Path, process::Command};

use super::writer::Writer;

/// An application with data, which can be written to, asked whether somebody holds it, and read back from a copy.
pub trait Database {
    /// Starts a writer at full rate.
    fn writer(&self) -> Writer;

    /// What holds it or was left in it by a run, one sentence each; empty if nothing is.
    fn held(&self) -> Vec<String>;

    /// Every number in a restored copy, after the engine's own check of it.
    fn read_copy(&self, copy: &Path) -> Vec<i64> {
        self.read_careless_copy(copy)
            .unwrap_or_else(|cause| panic!("the copy in {}: {cause}", copy.display()))
    }

    /// Copies the live files without any precaution, as a control; where that makes sense.
    fn plain_copy(&self, _to: &Path) -> bool {
        false
    }

    /// What a careless copy turned out to be: `Ok` with its numbers, or why it is no database.
    fn read_careless_copy(&self, _copy: &Path) -> Result<Vec<i64>, String> {
        Err("not read".to_owned())
    }
}

/// Copies a directory without any precaution. Files that vanish meanwhile are part of what a control shows.
pub fn copy_carelessly(directory: &Path, to: &Path) {
    let _complained = Command::new("cp").arg("-a").arg(directory).arg(to).output().unwrap();
}
