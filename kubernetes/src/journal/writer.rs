//! The writer of one journal.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use standstill_core::{
    Error, ErrorKind, Result,
    journal::{Entry, Event, Journal},
    point::RunId,
};
use tokio::sync::Mutex;

use super::entries::{By, key, line, lines};
use crate::{client::Objects, lease::HeldLease, names};

/// How long an append is tried while the API server is away. What waits for it has not begun yet; what ends a hold
/// never waits for it.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long to wait between two tries, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// How long entries that nothing waits for are gathered: a run has dozens of them, and the API server is everybody's.
const GATHERS: Duration = Duration::from_secs(2);

/// A journal that this process writes, for as long as the value lives.
pub(super) struct Writer {
    run: RunId,
    by: By,
    maps: Objects<ConfigMap>,
    name: String,
    state: Mutex<Known>,
    lease: HeldLease,
}

/// What the ConfigMap is known to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Its version.
    pub(super) version: String,
    /// How many entries it has.
    pub(super) entries: usize,
    /// How many bytes they take.
    pub(super) bytes: usize,
}

/// What a ConfigMap that was read again says about an append whose outcome is not known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was written.
    Written(Known),
    /// It was not, and nobody else wrote either.
    NotWritten(Known),
    /// Somebody else writes this journal now.
    Fenced,
}

impl Known {
    pub(super) fn of(map: &ConfigMap) -> Self {
        let lines = lines(map);
        Self {
            version: map.resource_version().unwrap_or_default(),
            entries: lines.len(),
            bytes: lines.iter().map(|line| line.len()).sum(),
        }
    }

    /// What a ConfigMap that was read again means for an append of `new` lines.
    pub(super) fn compare(&self, present: &ConfigMap, new: &[String]) -> Outcome {
        let known = Self::of(present);
        let written = || lines(present).get(self.entries..).is_some_and(|there| *there == *new);
        match known.entries.checked_sub(self.entries) {
            Some(0) if known.bytes == self.bytes => Outcome::NotWritten(known),
            Some(more) if more == new.len() && written() => Outcome::Written(known),
            _ => Outcome::Fenced,
        }
    }
}

impl Writer {
    pub(super) fn new(
        run: &RunId,
        by: By,
        maps: Objects<ConfigMap>,
        map: &ConfigMap,
        lease: HeldLease,
    ) -> Self {
        let name = map.meta().name.clone().unwrap_or_default();
        Self { run: run.clone(), by, maps, name, state: Mutex::new(Known::of(map)), lease }
    }

    /// One try. `None`: the version is another one, or the ConfigMap is gone.
    async fn write(&self, known: &Known, lines: &[String], labels: &Value) -> Result<Option<Known>> {
        let entries =
            lines.iter().zip(known.entries..).map(|(line, index)| (key(index), line.as_str().into()));
        let patch = json!({
            "metadata": {"resourceVersion": known.version, "labels": labels},
            "data": Value::Object(entries.collect()),
        });
        let written = self.maps.merge_version(&self.name, &patch).await?;
        Ok(written.as_ref().map(Known::of))
    }

    /// Writes until it is known to be written.
    async fn persist(&self, known: &Known, lines: &[String], labels: &Value) -> Result<Known> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = PAUSES.0;
        let mut known = known.clone();
        loop {
            let error = match self.write(&known, lines, labels).await {
                Ok(Some(written)) => return Ok(written),
                Ok(None) => None,
                Err(error) if error.kind() == ErrorKind::Temporary => Some(error),
                Err(error) => return Err(error),
            };
            let reading = match self.maps.find(&self.name).await {
                Ok(Some(present)) => match known.compare(&present, lines) {
                    Outcome::Written(written) => return Ok(written),
                    Outcome::NotWritten(present) => {
                        known = present;
                        None
                    }
                    Outcome::Fenced => return Err(self.fenced()),
                },
                Ok(None) => return Err(self.fenced()),
                Err(error) if error.kind() == ErrorKind::Temporary => Some(error),
                Err(error) => return Err(error),
            };
            if Instant::now() > deadline {
                let error = error.or(reading).unwrap_or_else(|| Error::failed("it is changed all the time"));
                return Err(error.during(&format!("the journal of run {} cannot be written", self.run)));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn fenced(&self) -> Error {
        Error::new(ErrorKind::Fenced, format!("the journal of run {} was taken over or removed", self.run))
            .remedy("Look at what the other process did with `standstill runs --on kubernetes`.")
    }
}

#[async_trait]
impl Journal for Writer {
    async fn append(&self, event: &Event) -> Result<()> {
        self.append_all(std::slice::from_ref(event)).await
    }

    /// In one request, so that all of them are written or none.
    async fn append_all(&self, events: &[Event]) -> Result<()> {
        let mut known = self.state.lock().await;
        let (at, mut taken) = (Timestamp::now(), known.bytes);
        let mut lines = Vec::with_capacity(events.len());
        for event in events {
            let line = line(&Entry { at, event: event.clone() }, taken, self.by)?;
            taken += line.len();
            lines.push(line);
        }
        *known = self.persist(&known, &lines, &labels(events)).await?;
        Ok(())
    }

    fn gathers(&self) -> Duration {
        GATHERS
    }

    async fn is_ours(&self) -> Result<()> {
        self.lease.prove().await
    }
}

/// What `kubectl get configmaps -L standstill.dev/state` shows.
fn labels(events: &[Event]) -> Value {
    match events.last() {
        Some(Event::Finished { success: true }) => json!({names::STATE: "succeeded"}),
        Some(Event::Finished { success: false }) => json!({names::STATE: "failed"}),
        _ => json!({}),
    }
}
