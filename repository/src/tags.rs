//! The tags by which our snapshots are found. `restic snapshots --tag standstill` lists them too.

use rustic_core::repofile::SnapshotFile;
use standstill_core::point::{ArtifactKind, RunId};

/// On every snapshot of ours.
pub(crate) const OURS: &str = "standstill";

/// What a snapshot of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stream,
    Volume,
    Files,
    Point,
    Verification,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Stream, Self::Volume, Self::Files, Self::Point, Self::Verification];

    const fn word(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Volume => "volume",
            Self::Files => "files",
            Self::Point => "recovery-point",
            Self::Verification => "verification",
        }
    }
}

impl From<ArtifactKind> for Kind {
    fn from(kind: ArtifactKind) -> Self {
        match kind {
            ArtifactKind::Volume => Self::Volume,
            ArtifactKind::Files => Self::Files,
            // What is known of a snapshot is stored as a stream.
            ArtifactKind::Stream | ArtifactKind::Snapshot => Self::Stream,
        }
    }
}

/// A new snapshot of ours, tagged.
pub(crate) fn snapshot(kind: Kind, run: &RunId, more: &[(&str, &str)]) -> SnapshotFile {
    let mut snapshot = SnapshotFile {
        hostname: crate::locks::host_name(),
        program_version: concat!("standstill ", env!("CARGO_PKG_VERSION")).to_owned(),
        ..SnapshotFile::default()
    };
    snapshot.tags.add(OURS.to_owned());
    snapshot.tags.add(format!("kind={}", kind.word()));
    snapshot.tags.add(format!("run={run}"));
    for (key, value) in more {
        snapshot.tags.add(format!("{key}={value}"));
    }
    snapshot
}

/// What a snapshot is; `None` for one of another program.
pub(crate) fn kind(snapshot: &SnapshotFile) -> Option<Kind> {
    if !snapshot.tags.contains(OURS) {
        return None;
    }
    let word = value(snapshot, "kind")?;
    Kind::ALL.into_iter().find(|kind| kind.word() == word)
}

/// The value of a tag `key=value`.
pub(crate) fn value<'a>(snapshot: &'a SnapshotFile, key: &str) -> Option<&'a str> {
    snapshot.tags.iter().find_map(|tag| tag.strip_prefix(key)?.strip_prefix('='))
}

/// Whether a snapshot has the tag `key=wanted`.
pub(crate) fn has(snapshot: &SnapshotFile, key: &str, wanted: &str) -> bool {
    value(snapshot, key) == Some(wanted)
}
