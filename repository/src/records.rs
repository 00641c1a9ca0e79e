//! Recovery points and verifications: each a small snapshot that holds one JSON file.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustic_core::repofile::{SnapshotFile, SnapshotId};
use serde::{Serialize, de::DeserializeOwned};
use standstill_core::{
    Error, Result,
    point::{RecoveryPoint, RunId, Verification},
    repository::{ListedPoint, NoProgress, StreamSource},
};
use tokio_util::sync::CancellationToken;

use crate::{
    fault, get,
    put::stream::archive_stream,
    store::{Snapshots, Store},
    tags::{self, Kind},
};

/// A record as it was found.
pub(crate) struct Found<T> {
    pub(crate) snapshot: SnapshotId,
    pub(crate) record: T,
}

/// What is in the repository besides other programs' snapshots.
pub(crate) struct Records {
    pub(crate) snapshots: Snapshots,
    pub(crate) points: Vec<Found<RecoveryPoint>>,
    pub(crate) verifications: Vec<Found<Verification>>,
    /// Records that cannot be read: the run they are of, if their tags say so, and why.
    pub(crate) unreadable: Vec<(Option<RunId>, String)>,
}

impl Records {
    /// Reads all records. One that is damaged does not hide the others.
    pub(crate) fn read(store: &Store) -> Result<Self> {
        let snapshots = store.snapshots()?;
        let mut records =
            Self { snapshots, points: Vec::new(), verifications: Vec::new(), unreadable: Vec::new() };
        let found: Vec<(Kind, SnapshotFile)> = records
            .snapshots
            .all
            .iter()
            .filter_map(|snapshot| Some((tags::kind(snapshot)?, snapshot.clone())))
            .filter(|(kind, _)| !kind.is_artifact())
            .collect();
        for (kind, snapshot) in found {
            if let Err(error) = records.add(store, kind, &snapshot) {
                if error.kind() != standstill_core::ErrorKind::Damaged {
                    return Err(error);
                }
                let run = tags::value(&snapshot, "run").and_then(|run| run.parse().ok());
                records.unreadable.push((run, error.chain()));
            }
        }
        records.points.sort_by(|one, other| {
            (one.record.cut_at, &one.record.id).cmp(&(other.record.cut_at, &other.record.id))
        });
        Ok(records)
    }

    fn add(&mut self, store: &Store, kind: Kind, snapshot: &SnapshotFile) -> Result<()> {
        if kind == Kind::Point {
            let record = read::<RecoveryPoint>(store, snapshot, "a recovery point's record")?;
            self.points.push(Found { snapshot: snapshot.id, record });
        } else {
            let record = read::<Verification>(store, snapshot, "a verification's record")?;
            self.verifications.push(Found { snapshot: snapshot.id, record });
        }
        Ok(())
    }

    /// The artifacts of a point that are not in the repository.
    pub(crate) fn missing<'a>(&self, point: &'a RecoveryPoint) -> Vec<&'a str> {
        let there: HashSet<String> =
            self.snapshots.all.iter().map(|snapshot| snapshot.id.to_hex().as_str().to_owned()).collect();
        let missing = point.artifacts.iter().filter(|artifact| !there.contains(&artifact.snapshot));
        missing.map(|artifact| artifact.name.as_str()).collect()
    }

    /// The points that exist, each with its newest verification, oldest first.
    pub(crate) fn listed(self) -> Vec<ListedPoint> {
        let whole: Vec<bool> =
            self.points.iter().map(|found| self.missing(&found.record).is_empty()).collect();
        let mut newest: HashMap<RunId, Verification> = HashMap::new();
        for found in self.verifications {
            let verification = found.record;
            match newest.get(&verification.recovery_point) {
                Some(known) if known.at >= verification.at => {}
                _ => _ = newest.insert(verification.recovery_point.clone(), verification),
            }
        }
        let existing = self.points.into_iter().zip(whole).filter(|(_, whole)| *whole);
        existing
            .map(|(found, _)| ListedPoint {
                verification: newest.remove(&found.record.id),
                point: found.record,
            })
            .collect()
    }
}

/// Commits a recovery point: its artifacts must be there, it is written, read back and compared.
pub(crate) fn commit(store: &Store, point: &RecoveryPoint) -> Result<()> {
    let lock = store.locks.shared()?;
    let records = Records::read(store)?;
    let missing = records.missing(point);
    if !missing.is_empty() {
        return Err(Error::failed(format!("the artifacts {} are not in the repository", missing.join(", ")))
            .remedy("Run the backup again."));
    }
    if let Some(found) = records.points.iter().find(|found| found.record.id == point.id) {
        // A commit that is repeated after its answer was lost.
        return if found.record == *point {
            Ok(())
        } else {
            Err(Error::failed(format!("there is another recovery point {} already", point.id)))
        };
    }
    let path = PathBuf::from(format!("/standstill/recovery-points/{}.json", point.id));
    let snapshot = tags::snapshot(Kind::Point, &point.id, &[("application", point.name.as_str())]);
    let written = write(store, snapshot, &path, point, &lock)?;
    let read_back = read_back(store, written.id, point);
    if read_back.is_err() {
        store.remove_snapshot(written.id)?;
    }
    read_back
}

fn read_back(store: &Store, id: SnapshotId, point: &RecoveryPoint) -> Result<()> {
    let snapshots = store.snapshots()?;
    let snapshot = snapshots.all.iter().find(|snapshot| snapshot.id == id);
    let record = match snapshot {
        Some(snapshot) => Some(read::<RecoveryPoint>(store, snapshot, "the recovery point just committed")?),
        None => None,
    };
    if record.as_ref() == Some(point) {
        Ok(())
    } else {
        Err(Error::failed("the recovery point that was read back is not the one that was committed")
            .remedy("Run `standstill check --read-data`: the storage does not keep what it is given."))
    }
}

/// Records a verification beside its recovery point.
pub(crate) fn record_verification(store: &Store, verification: &Verification) -> Result<()> {
    let lock = store.locks.shared()?;
    let records = Records::read(store)?;
    if !records.points.iter().any(|found| found.record.id == verification.recovery_point) {
        return Err(no_such_point(&verification.recovery_point));
    }
    let path = PathBuf::from(format!("/standstill/verifications/{}.json", verification.run));
    let point = verification.recovery_point.to_string();
    let snapshot = tags::snapshot(Kind::Verification, &verification.run, &[("point", point.as_str())]);
    write(store, snapshot, &path, verification, &lock).map(drop)
}

/// The error about a recovery point that is not there.
pub(crate) fn no_such_point(id: &RunId) -> Error {
    Error::input(format!("there is no recovery point {id} in the repository"))
        .remedy("`standstill list` shows which there are.")
}

fn write<T: Serialize>(
    store: &Store,
    snapshot: SnapshotFile,
    path: &Path,
    record: &T,
    lock: &crate::locks::Lock,
) -> Result<SnapshotFile> {
    let json = serde_json::to_vec_pretty(record)
        .map_err(|cause| Error::failed("the record cannot be written down").because(cause))?;
    let source = Box::new(Bytes { length: json.len() as u64, bytes: io::Cursor::new(json) });
    let (snapshot, _) =
        archive_stream(store, snapshot, path, source, Arc::new(NoProgress), &CancellationToken::new())?;
    lock.confirm()?;
    store.write_snapshot(snapshot)
}

fn read<T: DeserializeOwned>(store: &Store, snapshot: &SnapshotFile, what: &str) -> Result<T> {
    let indexed = store.indexed()?;
    let node = get::top(&indexed, snapshot, what)?;
    let mut json = Vec::new();
    indexed.dump(&node, &mut json).map_err(|error| fault::reading(&error, what))?;
    serde_json::from_slice(&json).map_err(|cause| {
        Error::damaged(format!("{what} cannot be understood"))
            .remedy("If a newer version of Standstill wrote it, use that one.")
            .because(cause)
    })
}

/// Bytes in memory as a stream.
struct Bytes {
    length: u64,
    bytes: io::Cursor<Vec<u8>>,
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer)
    }
}

impl StreamSource for Bytes {
    fn finish(&mut self) -> Result<u64> {
        Ok(self.length)
    }
}
