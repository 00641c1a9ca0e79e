//! Recovery of dead runs, with the journals and keepers of this machine.

#![expect(clippy::unwrap_used, reason = "a helper of a test that fails is a test that fails")]

mod common;

use std::{collections::BTreeMap, fs, io::Write, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use common::{Machine, example, is_alive, signal, until};
use serde_json::{Map, Value};
use standstill_core::{
    Error, Result,
    hook::{Hook, Hooks},
    journal::{Entry, Event, Journal, JournalStore, RunRequest, RunState, RunSummary, Undo},
    point::{Outputs, RecoveryPoint, RunId, StoredArtifact, Verification},
    repository::{
        CheckReport, ForgetReport, ListedPoint, Progress, PutStream, PutTree, Repository, Restored,
        StreamSource,
    },
    runner::{Host, Means, NoObserver, recover},
    runtime::{KeeperProgram, KeeperSpec, Runtime},
    secret::ProcessSecrets,
};
use standstill_local::{LocalJournals, LocalLocks, LocalRuntime};
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(30);

const BLUEPRINT: &str = r#"apiVersion: standstill.dev/v1alpha1
kind: Blueprint
metadata: {name: app}
spec:
  summary: An application with a pause of its own
  actions:
    backup:
      quiesce:
        - name: pause
          pair: {blocksWrites: true, acquire: ["true"], release: ["true"]}
    verify:
      steps:
        - exec: {command: ["true"]}
"#;

/// A fake: no database is known.
struct NoHooks;

impl Hooks for NoHooks {
    fn get(&self, _: &str) -> Option<Arc<dyn Hook>> {
        None
    }

    fn names(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

fn host(machine: &Machine) -> Host {
    let runtime = LocalRuntime::new(
        &example("agent"),
        Some(Vec::new()),
        &machine.state,
        LONG,
        Arc::new(|_, _| Ok(true)),
    );
    Host {
        hooks: Arc::new(NoHooks),
        runtime: Arc::new(runtime.unwrap()),
        repository: None,
        journals: Arc::new(LocalJournals::new(&machine.state)),
        locks: Arc::new(LocalLocks::new(&machine.state)),
        secrets: Arc::new(ProcessSecrets),
        observer: Arc::new(NoObserver),
    }
}

fn started(run: &RunId, action: &str, point: Option<RunId>) -> Event {
    let request = RunRequest {
        blueprint_text: BLUEPRINT.to_owned(),
        blueprint_origin: "app.yaml".to_owned(),
        action: action.to_owned(),
        application: "app".to_owned(),
        parameters: Map::new(),
        secrets: BTreeMap::new(),
        repository: None,
        point,
        member: None,
        members: Vec::new(),
    };
    Event::Started { run: run.clone(), request: Box::new(request), standstill: "0.1.0".to_owned() }
}

fn intent(step: &str, record: Value) -> Event {
    let undo = Undo::Runtime { record, secrets: BTreeMap::new() };
    Event::Intent { step: step.to_owned(), undo, keep: false }
}

async fn journal(machine: &Machine, run: &RunId, events: &[Event]) {
    let journal = LocalJournals::new(&machine.state).create(run).await.unwrap();
    journal.append_all(events).await.unwrap();
}

/// A run that died together with its keeper, and holds `HELD`; each release leaves a line in `HELD.tries`.
async fn died_holding(machine: &Machine, held: &str) -> RunId {
    let run = RunId::generate();
    let program = KeeperProgram::Pair {
        acquire: machine.script(&format!("touch {held}")),
        confirm: None,
        release: machine.script(&format!("echo tried >> {held}.tries; rm -f {held}")),
    };
    let timeout = Duration::from_secs(5);
    let spec = KeeperSpec { name: "pause".to_owned(), program, lease: LONG, timeout };
    let record = machine.runtime.keeper_record(&spec, &run).unwrap();
    journal(machine, &run, &[started(&run, "backup", None), intent("quiesce.pause", record.clone())]).await;
    let acquired = machine.runtime.keep(&spec, &record).await.unwrap();
    let keeper = Path::new(record["keeper"]["directory"].as_str().unwrap()).join("keeper.json");
    let keeper: Value = serde_json::from_slice(&fs::read(keeper).unwrap()).unwrap();
    let keeper = u32::try_from(keeper["pid"].as_u64().unwrap()).unwrap();
    signal(keeper, "KILL");
    until("the keeper is gone", LONG, || !is_alive(keeper));
    drop(acquired);
    assert!(machine.path(held).exists());
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_be_recovered_keeps_no_other_from_it() {
    let machine = Machine::new(LONG);
    let (first, second) = (died_holding(&machine, "a").await, died_holding(&machine, "b").await);
    let file = machine.state.path().join(format!("runs/{first}/journal.jsonl"));
    let text = fs::read_to_string(&file).unwrap();
    let (start, rest) = text.split_once('\n').unwrap();
    fs::write(&file, format!("{start}\n{{\"at\": \"never\"}}\n{rest}")).unwrap();
    let host = host(&machine);
    let recovered = recover(&host, None, Means::All).await.unwrap();
    let of = |run: &RunId| recovered.iter().find(|recovered| recovered.run == *run).unwrap();
    let failure = of(&first).failure.as_ref().unwrap();
    assert!(failure.message.contains("line 2 of the journal"), "{failure:?}");
    assert!(!of(&first).is_whole());
    assert!(machine.path("a").exists());
    assert_eq!(of(&second).undone, ["quiesce.pause"], "{recovered:?}");
    assert!(of(&second).is_whole());
    assert!(!machine.path("b").exists());
    // Asked for it alone, that is the answer.
    assert_eq!(recover(&host, Some(&first), Means::All).await.unwrap_err().chain(), failure.message);
}

/// A fake: journals of dead runs that somebody else recovers right before they are taken over.
struct Contended(LocalJournals);

#[async_trait]
impl JournalStore for Contended {
    async fn create(&self, run: &RunId) -> Result<Box<dyn Journal>> {
        self.0.create(run).await
    }

    async fn runs(&self) -> Result<Vec<RunSummary>> {
        self.0.runs().await
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Entry>> {
        self.0.read(run).await
    }

    async fn take_over(&self, run: &RunId) -> Result<Box<dyn Journal>> {
        let others = self.0.take_over(run).await?;
        let step = "quiesce.pause".to_owned();
        let released = Event::Released { step, evidence: None, outputs: Outputs::new(), facts: Vec::new() };
        others.append_all(&[released, Event::Finished { success: false }]).await?;
        drop(others);
        self.0.take_over(run).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_let_go_before_a_journal_was_taken_over_is_not_let_go_again() {
    let machine = Machine::new(LONG);
    let run = died_holding(&machine, "held").await;
    let journals = LocalJournals::new(&machine.state);
    let host = Host { journals: Arc::new(Contended(journals.clone())), ..host(&machine) };
    let recovered = recover(&host, None, Means::All).await.unwrap();
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0].run, run);
    assert_eq!(recovered[0].undone, Vec::<String>::new());
    assert!(recovered[0].is_whole());
    assert!(!machine.path("held.tries").exists(), "by now it may be another run's");
    assert_eq!(journals.runs().await.unwrap()[0].state, RunState::Failed);
}

/// A fake: a repository that nobody reaches.
struct Unreachable;

#[async_trait]
impl Repository for Unreachable {
    async fn points(&self) -> Result<Vec<ListedPoint>> {
        Err(Error::temporary("no route to the repository"))
    }

    fn location(&self) -> String {
        "s3://nowhere".to_owned()
    }

    async fn put_stream(
        &self,
        _: PutStream,
        _: Box<dyn StreamSource>,
        _: Arc<dyn Progress>,
        _: CancellationToken,
    ) -> Result<StoredArtifact> {
        unreachable!()
    }

    async fn put_tree(
        &self,
        _: PutTree,
        _: Arc<dyn Progress>,
        _: CancellationToken,
    ) -> Result<StoredArtifact> {
        unreachable!()
    }

    async fn get_stream(
        &self,
        _: &StoredArtifact,
        _: Box<dyn Write + Send>,
        _: Arc<dyn Progress>,
        _: CancellationToken,
    ) -> Result<Restored> {
        unreachable!()
    }

    async fn get_tree(
        &self,
        _: &StoredArtifact,
        _: &Path,
        _: Arc<dyn Progress>,
        _: CancellationToken,
    ) -> Result<Restored> {
        unreachable!()
    }

    async fn commit(&self, _: &RecoveryPoint) -> Result<()> {
        unreachable!()
    }

    async fn record_verification(&self, _: &Verification) -> Result<()> {
        unreachable!()
    }

    async fn forget(&self, _: &[RunId], _: bool) -> Result<ForgetReport> {
        unreachable!()
    }

    async fn check(&self, _: bool) -> Result<CheckReport> {
        unreachable!()
    }

    async fn discard_strays(&self, _: Option<&RunId>) -> Result<u64> {
        unreachable!()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_that_died_is_recovered_without_its_repository() {
    let machine = Machine::new(LONG);
    let run = RunId::generate();
    let scratch = machine.runtime.scratch_intent(&run).await.unwrap();
    let events =
        [started(&run, "verify", Some(RunId::generate())), intent("run.scratch", scratch.record.clone())];
    journal(&machine, &run, &events).await;
    machine.runtime.make_scratch(&scratch, None).await.unwrap();
    let host = Host { repository: Some(Arc::new(Unreachable)), ..host(&machine) };
    let recovered = recover(&host, None, Means::All).await.unwrap();
    assert_eq!(recovered[0].undone, ["run.scratch"], "{recovered:?}");
    assert!(recovered[0].is_whole());
    assert!(!scratch.path.exists());
}
