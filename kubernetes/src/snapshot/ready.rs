//! Waiting until a snapshot that was cut can be used.

use std::time::{Duration, Instant};

use standstill_core::{Error, Result};

use super::api;
use crate::{client::Cluster, pods::deleted, record::SnapshotRecord};

/// How long storage may take until a snapshot can be used: a first one of terabytes may be copied elsewhere.
const READY: Duration = Duration::from_hours(12);
/// How long a driver may complain about a snapshot that was cut before it is believed.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often the time that it complained is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long one wait lasts.
const WAIT: Duration = Duration::from_hours(1);

/// Waits until a snapshot can be used; the size that it asks for.
pub(crate) async fn ready(cluster: &Cluster, record: &SnapshotRecord) -> Result<Option<String>> {
    let snapshots = cluster.dynamic(&api::snapshots(&record.version));
    let deadline = Instant::now() + READY;
    let mut since: Option<Instant> = None;
    while Instant::now() < deadline {
        let slice = if since.is_some() { LOOK } else { WAIT };
        let mut words = None;
        let ready = snapshots.wait(&record.name, slice, |found| {
            let Some(found) = found else { return Err(deleted(&record.name)) };
            let status = api::SnapshotStatus::of(found)?;
            if status.ready_to_use == Some(true) {
                return Ok(Some(Some(status.restore_size)));
            }
            words = status.error.as_ref().map(|error| error.words().to_owned());
            // A new complaint ends the wait, so that its patience can be measured.
            Ok((words.is_some() && slice == WAIT).then_some(None))
        });
        if let Some(Some(size)) = ready.await? {
            return Ok(size);
        }
        let Some(words) = words else {
            since = None;
            continue;
        };
        if since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
            return Err(unusable(&record.name, &words));
        }
    }
    Err(unusable(&record.name, "it is still not ready"))
}

fn unusable(name: &str, words: &str) -> Error {
    Error::failed(format!("the snapshot {name} was cut but cannot be used: {words}"))
        .remedy("These are the words of the storage's driver; look at its log, and run the backup again.")
}
