//! What the journal holds about temporary things of this machine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use standstill_core::{Error, Result, point::RunId};

use crate::{destination::Destination, keeper::record::KeeperRecord};

/// The longest name that is used as it is.
const LONGEST_NAME: usize = 64;

/// A temporary thing. It is told apart by its name, which holds the run's id, so nothing else is ever removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Record {
    /// Nothing was made.
    Nothing,
    /// A read-only btrfs snapshot.
    BtrfsSnapshot {
        /// The run.
        run: RunId,
        /// The subvolume that it is a snapshot of.
        subvolume: PathBuf,
        /// Where it is.
        path: PathBuf,
        /// The volume's path below the subvolume.
        below: PathBuf,
    },
    /// A copied volume.
    Copy {
        /// The run.
        run: RunId,
        /// The directory that holds the copy.
        path: PathBuf,
    },
    /// A scratch directory.
    Scratch {
        /// The run.
        run: RunId,
        /// The directory.
        path: PathBuf,
    },
    /// A directory of the user's that a restore writes to.
    Destination(Destination),
    /// A hold that a keeper keeps.
    Keeper(KeeperRecord),
}

impl Record {
    /// As it goes into the journal.
    pub(crate) fn to_value(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|cause| Error::failed("a record cannot be written").because(cause))
    }

    /// As it was read from the journal.
    pub(crate) fn from_value(value: &Value) -> Result<Self> {
        Self::deserialize(value).map_err(|cause| {
            Error::failed("a record of the journal is not understood")
                .remedy("Use the version of Standstill that wrote the journal.")
                .because(cause)
        })
    }
}

/// The name of a run's temporary thing: hidden beside a volume, unless a server is to run on it, and plain in a
/// directory for temporary files.
pub(crate) fn temporary_name(run: &RunId, name: &str, hidden: bool) -> String {
    format!("{}standstill-{run}-{}", if hidden { "." } else { "" }, file_name(name))
}

/// A file name for something that an author has named: the name itself where that is harmless and short.
pub(crate) fn file_name(name: &str) -> String {
    let harmless = |character: &char| character.is_ascii_alphanumeric() || "_-".contains(*character);
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(|character| harmless(&character)) {
        return name.to_owned();
    }
    let start: String = name.chars().filter(harmless).take(LONGEST_NAME / 2).collect();
    let digest = blake3::hash(name.as_bytes()).to_hex();
    format!("{start}-{}", digest.get(..16).unwrap_or_default())
}

/// Whether a path has the name of a temporary thing of that run.
pub(crate) fn is_temporary_of(run: &RunId, path: &std::path::Path) -> bool {
    path.is_absolute()
        && !path.components().any(|part| matches!(part, std::path::Component::ParentDir))
        && path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            let name = name.strip_prefix('.').unwrap_or(name);
            name.strip_prefix("standstill-")
                .and_then(|rest| rest.strip_prefix(run.as_str()))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn only_what_bears_the_name_of_the_run_is_its_own() {
        let run = RunId::generate();
        let own = |text: String| is_temporary_of(&run, Path::new(&text));
        assert!(own(format!("/srv/{}", temporary_name(&run, "data", true))));
        assert!(own(format!("/tmp/standstill-{run}")));
        assert!(!own(format!("/tmp/standstill-{run}x")));
        assert!(!own(format!("/tmp/standstill-{}-data", RunId::generate())));
        assert!(!own(format!("/tmp/standstill-{run}/..")));
        assert!(!own("/srv/data".to_owned()));
    }

    #[test]
    fn a_name_that_is_no_good_file_name_becomes_one_that_no_other_name_has() {
        assert_eq!(file_name("data_1"), "data_1");
        let names = ["", "..", "../data", "/data", "verify.steps[2]", "verify.steps[3]", &"x".repeat(300)];
        let made: std::collections::BTreeSet<String> = names.iter().map(|name| file_name(name)).collect();
        assert_eq!(made.len(), names.len());
        assert!(made.iter().all(|name| name.len() <= LONGEST_NAME && !name.contains(['/', '.'])), "{made:?}");
    }
}
