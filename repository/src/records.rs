//! Recovery points and verifications: each a small snapshot that holds one JSON file.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustic_core::repofile::{SnapshotFile, SnapshotId};
use serde::{Serialize, de::DeserializeOwned};
use standstill_core::{
    Error, ErrorKind, Result,
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
    there: HashSet<SnapshotId>,
}

/// One record, of either kind.
enum Record {
    Point(Box<RecoveryPoint>),
    Verification(Box<Verification>),
}

/// How many records are read at the same time: each costs two round trips to an object store.
const AT_ONCE: usize = 8;

impl Records {
    /// Reads all records. One that is damaged does not hide the others.
    pub(crate) fn read(store: &Store) -> Result<Self> {
        let snapshots = store.snapshots()?;
        let there = ids(&snapshots.all);
        let (points, verifications, unreadable) = (Vec::new(), Vec::new(), Vec::new());
        let mut records = Self { snapshots, points, verifications, unreadable, there };
        for (snapshot, record) in read_all(store, &records.snapshots.all) {
            match record {
                Ok(Record::Point(record)) => {
                    records.points.push(Found { snapshot: snapshot.id, record: *record });
                }
                Ok(Record::Verification(record)) => {
                    records.verifications.push(Found { snapshot: snapshot.id, record: *record });
                }
                Err(error) if error.kind() == ErrorKind::Damaged => {
                    let run = tags::value(snapshot, "run").and_then(|run| run.parse().ok());
                    records.unreadable.push((run, error.chain()));
                }
                Err(error) => return Err(error),
            }
        }
        records.points.sort_by(|one, other| {
            (one.record.cut_at, &one.record.id).cmp(&(other.record.cut_at, &other.record.id))
        });
        Ok(records)
    }

    /// The artifacts of a point that are not in the repository.
    pub(crate) fn missing<'a>(&self, point: &'a RecoveryPoint) -> Vec<&'a str> {
        missing(&self.there, point)
    }

    /// The points that exist, each with its newest verification, oldest first.
    pub(crate) fn listed(self) -> Vec<ListedPoint> {
        let whole: Vec<bool> =
            self.points.iter().map(|found| self.missing(&found.record).is_empty()).collect();
        let mut newest: HashMap<RunId, Verification> = HashMap::new();
        for found in self.verifications {
            let verification = found.record;
            if verification.member.is_some() {
                continue;
            }
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

/// Reads what is a record among the snapshots, several at the same time.
fn read_all<'a>(store: &Store, snapshots: &'a [SnapshotFile]) -> Vec<(&'a SnapshotFile, Result<Record>)> {
    let read_one = |snapshot: &'a SnapshotFile| {
        let record = match tags::kind(snapshot)? {
            Kind::Point => {
                read(store, snapshot, "a recovery point's record").map(Box::new).map(Record::Point)
            }
            Kind::Verification => {
                read(store, snapshot, "a verification's record").map(Box::new).map(Record::Verification)
            }
            Kind::Stream | Kind::Volume | Kind::Files => return None,
        };
        Some((snapshot, record))
    };
    let next = AtomicUsize::new(0);
    let read_some = || {
        let mut found = Vec::new();
        while let Some(snapshot) = snapshots.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.extend(read_one(snapshot));
        }
        found
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (1..AT_ONCE.min(snapshots.len())).map(|_| scope.spawn(read_some)).collect();
        let mut found = read_some();
        for reader in readers {
            found.extend(reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        found
    })
}

/// The artifacts of a point that are not among the snapshots.
fn missing<'a>(there: &HashSet<SnapshotId>, point: &'a RecoveryPoint) -> Vec<&'a str> {
    let is_there = |snapshot: &str| snapshot.parse().is_ok_and(|id| there.contains(&id));
    let missing = point.artifacts.iter().filter(|artifact| !is_there(&artifact.snapshot));
    missing.map(|artifact| artifact.name.as_str()).collect()
}

fn ids(snapshots: &[SnapshotFile]) -> HashSet<SnapshotId> {
    snapshots.iter().map(|snapshot| snapshot.id).collect()
}

/// The snapshot of a recovery point's record.
fn snapshot_of<'a>(snapshots: &'a [SnapshotFile], id: &RunId) -> Option<&'a SnapshotFile> {
    let of = |snapshot: &&SnapshotFile| {
        tags::kind(snapshot) == Some(Kind::Point) && tags::has(snapshot, "run", id.as_str())
    };
    snapshots.iter().find(of)
}

/// Commits a recovery point: its artifacts must be there, it is written, read back and compared.
pub(crate) fn commit(store: &Store, point: &RecoveryPoint) -> Result<()> {
    let lock = store.locks.shared()?;
    let snapshots = store.snapshots()?.all;
    let missing = missing(&ids(&snapshots), point);
    if !missing.is_empty() {
        return Err(Error::failed(format!("the artifacts {} are not in the repository", missing.join(", ")))
            .remedy("Run the backup again."));
    }
    if let Some(snapshot) = snapshot_of(&snapshots, &point.id) {
        // A commit that is repeated after its answer was lost.
        return if read::<RecoveryPoint>(store, snapshot, "the recovery point's record")? == *point {
            Ok(())
        } else {
            Err(Error::failed(format!("there is another recovery point {} already", point.id)))
        };
    }
    let snapshot = tags::snapshot(Kind::Point, &point.id, &[("application", point.name.as_str())]);
    let written = write(store, snapshot, Path::new("/recovery-point.json"), point, &lock)?;
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
    if snapshot_of(&store.snapshots()?.all, &verification.recovery_point).is_none() {
        return Err(no_such_point(&verification.recovery_point));
    }
    let point = verification.recovery_point.to_string();
    let snapshot = tags::snapshot(Kind::Verification, &verification.run, &[("point", point.as_str())]);
    write(store, snapshot, Path::new("/verification.json"), verification, &lock).map(drop)
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
