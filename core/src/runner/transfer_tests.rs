//! A transfer by another process, against a fake runtime and a fake journal that keep one list of what was asked of
//! them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::json;

use super::*;
use crate::{
    Error,
    hook::{Acquired, Endpoint, Undone},
    journal::{Event, Journal},
    point::ArtifactKind,
    repository::{NoProgress, PutTree, Restored, TreeSelection},
    runner::NoObserver,
    runtime::{
        Command, Consumer, KeeperSpec, Output, Producer, RunAs, ScratchIntent, Service, ServiceSpec, Session,
        Snapshotter, Volume,
    },
    secret::Secret,
};

/// What was asked, in order.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the fake runtime does when it is asked to transfer.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    Well,
    Fails,
    Hangs,
}

struct FakeRuntime {
    asked: Asked,
    does: Does,
    makes_something: bool,
    disposes: bool,
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn transfer_intent(&self, _: &Value, spec: &TransferSpec, _: &RunId) -> Result<Option<Value>> {
        Ok(self.makes_something.then(|| json!({"pod": spec.artifact()})))
    }

    async fn transfer(
        &self,
        remote: &Value,
        _: &TransferSpec,
        _: Arc<dyn Progress>,
        _: &CancellationToken,
    ) -> Result<TransferReport> {
        self.asked.note(format!("transfer {remote}"));
        match self.does {
            Does::Well => Ok(TransferReport::Restored(Restored { entries: 1, bytes: 2 })),
            Does::Fails => Err(Error::failed("the pod was evicted")),
            Does::Hangs => std::future::pending().await,
        }
    }

    async fn dispose(&self, record: &Value, _: &BTreeMap<String, Secret>) -> Result<Undone> {
        self.asked.note(format!("dispose {record}"));
        if self.disposes { Ok(Undone::LetGo) } else { Err(Error::temporary("no route to the cluster")) }
    }

    fn name(&self) -> &'static str {
        "fake"
    }
    async fn volume(&self, _: &str, _: &Path) -> Result<Volume> {
        unreachable!()
    }
    async fn dial(&self, _: &str, _: u16) -> Result<(String, u16)> {
        unreachable!()
    }
    async fn program(&self, _: &str, _: &[PathBuf]) -> Result<PathBuf> {
        unreachable!()
    }
    async fn exec(&self, _: &Command, _: Duration, _: &CancellationToken) -> Result<Output> {
        unreachable!()
    }
    async fn session(&self, _: &Command) -> Result<Box<dyn Session>> {
        unreachable!()
    }
    fn agent(&self, _: &[&str]) -> Command {
        unreachable!()
    }
    async fn producer(&self, _: &Command, _: &CancellationToken) -> Result<Box<dyn Producer>> {
        unreachable!()
    }
    async fn consumer(&self, _: &Command, _: &CancellationToken) -> Result<Box<dyn Consumer>> {
        unreachable!()
    }
    async fn endpoint(&self, _: &str, _: &Path, _: &RunAs, _: Option<u16>) -> Result<Endpoint> {
        unreachable!()
    }
    async fn service(&self, _: &ServiceSpec) -> Result<Arc<dyn Service>> {
        unreachable!()
    }
    fn keeper_record(&self, _: &KeeperSpec, _: &RunId) -> Result<Value> {
        unreachable!()
    }
    async fn keep(&self, _: &KeeperSpec, _: &Value) -> Result<Acquired> {
        unreachable!()
    }
    fn snapshotter(&self) -> Arc<dyn Snapshotter> {
        unreachable!()
    }
    async fn scratch_intent(&self, _: &RunId) -> Result<ScratchIntent> {
        unreachable!()
    }
    async fn scratch_volume_intent(&self, _: &str, _: Option<&Path>, _: &RunId) -> Result<ScratchIntent> {
        unreachable!()
    }
    async fn destination_intent(&self, _: &Path, _: &RunId) -> Result<ScratchIntent> {
        unreachable!()
    }
    async fn make_scratch(&self, _: &ScratchIntent, _: Option<&Path>) -> Result<()> {
        unreachable!()
    }
}

struct FakeJournal {
    asked: Asked,
    full: bool,
}

#[async_trait]
impl Journal for FakeJournal {
    async fn append(&self, event: &Event) -> Result<()> {
        if self.full {
            return Err(Error::failed("no space left on device"));
        }
        if let Event::Intent { step, .. } = event {
            self.asked.note(format!("intend {step}"));
        }
        Ok(())
    }
}

/// A run whose step stores.
struct Storing {
    asked: Asked,
    ledger: Arc<Ledger>,
    runtime: FakeRuntime,
    id: RunId,
}

impl Storing {
    fn new(does: Does) -> Self {
        Self::with_journal(does, false)
    }

    fn with_journal(does: Does, full: bool) -> Self {
        let asked = Asked::default();
        let journal = Box::new(FakeJournal { asked: asked.clone(), full });
        Self {
            ledger: Ledger::new(journal, Vec::new(), Arc::new(NoObserver)),
            runtime: FakeRuntime { asked: asked.clone(), does, makes_something: true, disposes: true },
            asked,
            id: RunId::generate(),
        }
    }

    async fn transfer(&self) -> Result<TransferReport> {
        let spec = TransferSpec::PutTree(PutTree {
            run: self.id.clone(),
            application: "shop".into(),
            artifact: "data".into(),
            kind: ArtifactKind::Volume,
            root: "/volume".into(),
            original: "/var/lib/app".into(),
            selection: TreeSelection::default(),
            cut_at: None,
        });
        let remotely =
            Remotely { runtime: &self.runtime, ledger: &self.ledger, run: &self.id, step: "store[0]" };
        remotely.transfer(&json!("snapshot"), &spec, Arc::new(NoProgress), &CancellationToken::new()).await
    }

    /// Whether the ledger has an intent whose thing is not disposed of.
    fn is_open(&self) -> bool {
        self.ledger.events().iter().fold(false, |open, event| match event {
            Event::Intent { step, keep: false, .. } if step == "store[0]/transfer" => true,
            Event::Disposed { step } if step == "store[0]/transfer" => false,
            _ => open,
        })
    }
}

const ONE_ATTEMPT: [&str; 3] =
    ["intend store[0]/transfer", "transfer \"snapshot\"", r#"dispose {"pod":"data"}"#];

#[tokio::test]
async fn what_a_transfer_needs_is_in_the_journal_before_it_is_made_and_gone_when_it_has_failed() {
    let run = Storing::new(Does::Fails);
    // Another attempt goes through the same.
    for _ in 0..2 {
        run.transfer().await.unwrap_err();
        assert_eq!(run.asked.take(), ONE_ATTEMPT);
        assert!(!run.is_open());
    }
}

#[tokio::test]
async fn what_a_transfer_needed_that_has_succeeded_is_left_to_the_end_of_the_run() {
    let run = Storing::new(Does::Well);
    run.transfer().await.unwrap();
    assert_eq!(run.asked.take(), ONE_ATTEMPT[..2]);
    assert!(run.is_open(), "the end of the run must find it");
}

#[tokio::test]
async fn an_attempt_that_ran_out_of_time_is_removed_before_the_next_one() {
    let mut run = Storing::new(Does::Hangs);
    let _late = tokio::time::timeout(Duration::from_millis(20), run.transfer()).await.unwrap_err();
    assert_eq!(run.asked.take(), ONE_ATTEMPT[..2]);
    assert!(run.is_open(), "the end of the run must find it");
    run.runtime.does = Does::Well;
    run.transfer().await.unwrap();
    let asked = run.asked.take();
    assert_eq!(asked[0], ONE_ATTEMPT[2]);
    assert_eq!(asked[1..], ONE_ATTEMPT[..2]);
}

#[tokio::test]
async fn while_an_earlier_attempt_cannot_be_removed_there_is_no_other() {
    let mut run = Storing::new(Does::Hangs);
    let _late = tokio::time::timeout(Duration::from_millis(20), run.transfer()).await.unwrap_err();
    run.asked.take();
    (run.runtime.does, run.runtime.disposes) = (Does::Well, false);
    let error = run.transfer().await.unwrap_err();
    assert!(error.chain().contains("store[0] could not be removed: no route to the cluster"), "{error}");
    assert_eq!(run.asked.take(), [ONE_ATTEMPT[2]]);
}

#[tokio::test]
async fn what_could_not_be_removed_does_not_stand_in_for_why_it_failed() {
    let mut run = Storing::new(Does::Fails);
    run.runtime.disposes = false;
    let error = run.transfer().await.unwrap_err();
    assert_eq!(error.to_string(), "the pod was evicted");
    assert!(run.is_open(), "the end of the run must find it");
}

#[tokio::test]
async fn nothing_is_made_that_is_not_in_the_journal() {
    let run = Storing::with_journal(Does::Well, true);
    let error = run.transfer().await.unwrap_err();
    assert!(error.chain().contains("no space left"), "{error}");
    assert_eq!(run.asked.take(), Vec::<String>::new());
}

#[tokio::test]
async fn a_transfer_that_makes_nothing_needs_no_journal() {
    let mut run = Storing::new(Does::Well);
    run.runtime.makes_something = false;
    run.transfer().await.unwrap();
    assert_eq!(run.asked.take(), [ONE_ATTEMPT[1]]);
}

#[test]
fn a_transfer_is_reported_as_part_of_its_step() {
    assert_eq!(step_of("store[0]/transfer"), "store[0]");
    assert_eq!(step_of("store.transfer"), "store.transfer");
}
