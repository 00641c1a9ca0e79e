//! Waiting for the cut of a snapshot that was asked for, of one claim or of several.

use std::time::{Duration, Instant};

use kube::{
    ResourceExt,
    api::{ApiResource, DynamicObject},
};
use standstill_core::{Error, Result, units::show_duration};

use super::{
    api,
    standing::{Bound, Standing, bound, complaint},
};
use crate::{
    client::Cluster,
    record::{GroupRecord, SnapshotRecord},
};

/// How long a driver may complain before it is believed. Controllers repeat what failed, and most conflicts between
/// them are over within a second; a database may be held meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the time that was complained is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is looked whether a content is bound back.
pub(super) const GLANCE: Duration = Duration::from_millis(50);

/// What is waited for.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    kind: ApiResource,
    contents: ApiResource,
    name: &'a str,
    class: &'a str,
    cut_when_ready: bool,
    /// What it is, for people.
    what: String,
}

impl<'a> Asked<'a> {
    /// A snapshot of one claim.
    pub(crate) fn single(record: &'a SnapshotRecord) -> Self {
        Self {
            kind: api::snapshots(&record.version),
            contents: api::contents(&record.version),
            name: &record.name,
            class: &record.class,
            cut_when_ready: record.cut_when_ready,
            what: format!("the snapshot {} of the claim {}", record.name, record.claim),
        }
    }

    /// A snapshot of several claims.
    pub(crate) fn group(record: &'a GroupRecord) -> Self {
        Self {
            kind: api::groups(&record.version),
            contents: api::group_contents(&record.version),
            name: &record.name,
            class: &record.class,
            cut_when_ready: record.cut_when_ready,
            what: format!("the group snapshot {}", record.name),
        }
    }
}

/// How long is waited in all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) within: Duration,
    at: Instant,
}

impl Deadline {
    /// From now on.
    pub(crate) fn of(within: Duration) -> Self {
        Self { within, at: Instant::now() + within }
    }

    pub(crate) fn is_over(self) -> bool {
        self.left().is_zero()
    }

    fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

/// Waits until a snapshot, which was just `made` unless it was there, is cut and bound both ways: as it is then.
///
/// # Errors
/// When the driver complains and goes on complaining (in its words), or nothing happens before the deadline.
pub(crate) async fn wait(
    cluster: &Cluster,
    asked: &Asked<'_>,
    made: Option<DynamicObject>,
    deadline: Deadline,
) -> Result<DynamicObject> {
    let mut watch = Watch::new(asked, deadline);
    let (snapshot, content) = watch.cut(cluster, made).await?;
    watch.bound_back(cluster, &snapshot, &content).await?;
    Ok(snapshot)
}

/// What is known while waiting.
struct Watch<'a> {
    asked: &'a Asked<'a>,
    deadline: Deadline,
    /// What is missing, as it was seen last.
    waits: &'static str,
    complaint: Option<(String, Instant)>,
}

/// What was seen of a snapshot that ends one wait.
enum Seen {
    Cut(Box<DynamicObject>, String),
    Complaint,
}

impl<'a> Watch<'a> {
    fn new(asked: &'a Asked<'a>, deadline: Deadline) -> Self {
        Self { asked, deadline, waits: "it has not been seen yet", complaint: None }
    }

    /// Waits until the snapshot says that it is cut, and by which content.
    async fn cut(
        &mut self,
        cluster: &Cluster,
        made: Option<DynamicObject>,
    ) -> Result<(DynamicObject, String)> {
        if let Some(made) = &made
            && let Some(Seen::Cut(snapshot, content)) = self.look(Some(made))?
        {
            return Ok((*snapshot, content));
        }
        let mut since = made.and_then(|made| made.resource_version());
        let snapshots = cluster.dynamic(&self.asked.kind);
        loop {
            let left = self.deadline.left();
            if left.is_zero() {
                return Err(self.too_late());
            }
            let slice = if self.complaint.is_some() { left.min(LOOK) } else { left };
            let seen = snapshots.wait_since(self.asked.name, since.take(), slice, |found| self.look(found));
            let seen = seen.await?;
            if let Some(Seen::Cut(snapshot, content)) = seen {
                return Ok((*snapshot, content));
            }
            if let Some((words, _)) = self.complaint.as_ref().filter(|(_, since)| since.elapsed() >= PATIENCE)
            {
                return Err(self.refused(words));
            }
            if matches!(seen, Some(Seen::Complaint)) {
                tokio::time::sleep(LOOK.min(left)).await;
            }
        }
    }

    /// Takes a look. A complaint ends the wait once, so that its patience can be measured.
    fn look(&mut self, found: Option<&DynamicObject>) -> Result<Option<Seen>> {
        let Some(found) = found else {
            return Err(Error::failed(format!("{} was deleted while it was being taken", self.asked.what))
                .remedy("Find out who deletes snapshots in this namespace, then run the backup again."));
        };
        match Standing::of(found, self.asked.cut_when_ready)? {
            Standing::Cut { content } => Ok(Some(Seen::Cut(Box::new(found.clone()), content))),
            Standing::Waits(what) => {
                (self.waits, self.complaint) = (what, None);
                Ok(None)
            }
            Standing::Complains(words) => {
                let since = self.complaint.as_ref().map_or_else(Instant::now, |(_, since)| *since);
                self.complaint = Some((words, since));
                Ok(Some(Seen::Complaint))
            }
        }
    }

    /// Waits until the content says that it belongs to this very snapshot.
    async fn bound_back(&mut self, cluster: &Cluster, snapshot: &DynamicObject, content: &str) -> Result<()> {
        let contents = cluster.dynamic_global(&self.asked.contents);
        loop {
            if let Some(found) = contents.find(content).await? {
                match bound(&found, snapshot)? {
                    Bound::Here => return Ok(()),
                    Bound::NotYet => {}
                    Bound::Elsewhere(to) => return Err(self.foreign(content, &to)),
                }
                if let Some(words) = complaint(&found) {
                    self.complaint = Some((words, Instant::now()));
                }
            }
            if self.deadline.is_over() {
                self.waits = "its content does not say that it is bound to it";
                return Err(self.too_late());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn refused(&self, words: &str) -> Error {
        Error::failed(format!("{} was not taken: {words}", self.asked.what)).remedy(format!(
            "These are the words of the driver behind the class {}; look at its log, put it right, and run the backup again.",
            self.asked.class
        ))
    }

    fn too_late(&self) -> Error {
        let why = match &self.complaint {
            Some((words, _)) => words.as_str(),
            None => self.waits,
        };
        Error::failed(format!("{} was not cut within {}: {why}", self.asked.what, show_duration(self.deadline.within)))
            .remedy(format!(
                "Check that the snapshot controller and the driver of the class {} are running; give slow storage more \
                 time by `snapshotDeadline` of the target.",
                self.asked.class
            ))
    }

    fn foreign(&self, content: &str, to: &str) -> Error {
        Error::failed(format!("{} names the content {content}, which is bound to {to}", self.asked.what))
            .remedy("Look at the content: what it holds is not this backup's.")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use standstill_core::point::RunId;

    use super::*;

    fn record() -> SnapshotRecord {
        SnapshotRecord {
            run: RunId::generate(),
            namespace: "db".into(),
            version: "v1".into(),
            name: "standstill-data-1".into(),
            class: "file".into(),
            cut_when_ready: false,
            claim: "data-pg-0".into(),
        }
    }

    fn snapshot(status: &serde_json::Value) -> DynamicObject {
        serde_json::from_value(json!({"metadata": {"name": "standstill-data-1"}, "status": status})).unwrap()
    }

    #[test]
    fn a_snapshot_that_never_comes_is_told_with_the_time_and_what_is_missing() {
        let record = record();
        let asked = Asked::single(&record);
        let mut watch = Watch::new(&asked, Deadline::of(Duration::from_secs(25)));
        assert!(watch.look(Some(&snapshot(&json!({})))).unwrap().is_none());
        let error = watch.too_late();
        insta::assert_snapshot!(error, @"the snapshot standstill-data-1 of the claim data-pg-0 was not cut within 25.0 s: no snapshot controller has taken it up");
        assert!(error.remedy_text().unwrap().contains("snapshotDeadline"));
    }

    #[test]
    fn a_complaint_keeps_the_time_it_began_and_is_forgotten_when_it_ends() {
        let record = record();
        let asked = Asked::single(&record);
        let mut watch = Watch::new(&asked, Deadline::of(Duration::from_secs(25)));
        let complains = |words: &str| snapshot(&json!({"error": {"message": words}}));
        assert!(matches!(watch.look(Some(&complains("conflict"))).unwrap(), Some(Seen::Complaint)));
        let since = watch.complaint.as_ref().unwrap().1;
        watch.look(Some(&complains("out of space"))).unwrap();
        assert_eq!(watch.complaint, Some(("out of space".into(), since)));
        insta::assert_snapshot!(watch.refused("out of space"), @"the snapshot standstill-data-1 of the claim data-pg-0 was not taken: out of space");
        watch.look(Some(&snapshot(&json!({"readyToUse": false})))).unwrap();
        assert_eq!(watch.complaint, None);
    }

    #[test]
    fn a_snapshot_that_somebody_deletes_is_an_error_at_once() {
        let record = record();
        let asked = Asked::single(&record);
        let mut watch = Watch::new(&asked, Deadline::of(Duration::from_secs(25)));
        assert!(watch.look(None).is_err());
    }
}
