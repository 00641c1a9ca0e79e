//! The seam itself, without a runner: a claim is snapshotted, moved by a pod, and all of that disposed of.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use standstill_core::{
    ErrorKind, Result,
    hook::Undone,
    point::{ArtifactKind, RunId},
    repository::{Progress, PutTree, TreeSelection},
    runtime::{CaptureMode, Runtime, Volume},
    transfer::{TransferReport, TransferSpec},
};
use standstill_kubernetes::{
    Cluster, Credentials, KubernetesRuntime, MoverSettings, RuntimeSettings, Security, SnapshotSettings,
    Target, TargetValues,
};
use standstill_local::{LocalRuntime, StateDir};
use tokio_util::sync::CancellationToken;

use crate::support::{Postgres, Space, place::PASSWORD};

/// The Secret of the repository's credentials.
const CREDENTIALS: &str = "credentials";
const DATA: &str = "/var/lib/postgresql/data";

/// What was told of a transfer.
#[derive(Default)]
struct Told(AtomicU64);

impl Progress for Told {
    fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A namespace with a database, and the runtime of a runner that works on it.
struct Scene {
    space: Space,
    runtime: KubernetesRuntime,
    run: RunId,
}

impl Scene {
    async fn new(space: Space, image: Option<&str>, class: Option<&str>) -> Self {
        space.place.init();
        Postgres::start(&space);
        let environment = credentials(&space);
        // As `main` does; a second time changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cluster = Cluster::of_file(&space.kubeconfig, &space.name).await.unwrap();
        let values = TargetValues { workload: Some("statefulset/pg".into()), ..TargetValues::default() };
        let target = Target::find(&cluster, &values).await.unwrap();
        let owner = target.owner(&cluster, Path::new(DATA)).await.unwrap();
        let repository = space.place.env.iter().find(|(name, _)| name == "STANDSTILL_REPOSITORY").unwrap();
        let mover = MoverSettings {
            image: image.unwrap_or(&space.image).to_owned(),
            pull_policy: Some("Never".into()),
            pull_secrets: Vec::new(),
            tolerations: Vec::new(),
            repository: repository.1.to_str().unwrap().to_owned(),
            credentials: Credentials {
                secret: CREDENTIALS.to_owned(),
                password: "password".to_owned(),
                environment,
            },
            data_owner: Some(owner),
            security: Security::Restricted,
            owner: None,
            start: Duration::from_mins(1),
        };
        let settings = RuntimeSettings {
            target: Some(target),
            snapshots: SnapshotSettings { class: class.map(str::to_owned), ..SnapshotSettings::default() },
            mover: Some(mover),
            ..RuntimeSettings::default()
        };
        let state = StateDir::at(&space.place.join("state")).unwrap();
        let unused = Arc::new(|_: &str, _: &serde_json::Value| Ok(true));
        let inner =
            LocalRuntime::new(&space.place.binary, None, &state, Duration::from_secs(10), unused).unwrap();
        let runtime = KubernetesRuntime::new(Arc::new(inner), cluster, settings);
        Self { space, runtime, run: RunId::generate() }
    }

    /// Captures, moves, and disposes of both.
    async fn capture_and_move(&self, cancel: &CancellationToken) -> Outcome {
        let volume = Volume { name: "data".into(), path: PathBuf::from(DATA) };
        let snapshotter = self.runtime.snapshotter();
        let intent = snapshotter.intend(&volume, CaptureMode::Atomic, &self.run).await.unwrap();
        let captured = snapshotter.capture(&intent, false, &CancellationToken::new()).await.unwrap();
        let spec = TransferSpec::PutTree(PutTree {
            run: self.run.clone(),
            application: "pg".into(),
            artifact: "data".into(),
            kind: ArtifactKind::Volume,
            root: captured.path,
            original: captured.original,
            selection: TreeSelection::default(),
            cut_at: None,
        });
        let remote = captured.remote.expect("this process cannot read a claim");
        let record = self.runtime.transfer_intent(&remote, &spec, &self.run).await.unwrap().unwrap();
        let told = Arc::new(Told::default());
        let progress: Arc<dyn Progress> = Arc::clone(&told) as Arc<dyn Progress>;
        let report = self.runtime.transfer(&remote, &spec, progress, cancel).await;
        let mover = self.dispose_of(&record).await;
        assert_eq!(self.dispose_of(&intent.record).await, Undone::LetGo);
        for made in [&record, &intent.record] {
            assert_eq!(self.dispose_of(made).await, Undone::AlreadyGone);
        }
        self.space.assert_clean();
        Outcome { report, told: told.0.load(Ordering::Relaxed), mover }
    }

    async fn dispose_of(&self, record: &serde_json::Value) -> Undone {
        self.runtime.dispose(record, &BTreeMap::new()).await.unwrap()
    }
}

/// What came of a transfer.
struct Outcome {
    report: Result<TransferReport>,
    /// How many bytes of it were told.
    told: u64,
    /// What was found of the mover afterwards.
    mover: Undone,
}

/// Makes the Secret; the names of what is the environment's.
fn credentials(space: &Space) -> Vec<String> {
    let env = space.place.env.iter().filter(|(name, _)| name.starts_with("AWS_"));
    let keys: Vec<String> = env.clone().map(|(name, _)| name.clone()).collect();
    let literals = env.map(|(name, value)| format!("--from-literal={name}={}", value.to_str().unwrap()));
    let password = format!("--from-literal=password={}", *PASSWORD);
    let mut arguments =
        vec!["create".into(), "secret".into(), "generic".into(), CREDENTIALS.into(), password];
    arguments.extend(literals);
    space.kubectl(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    keys
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_captured_claim_is_moved_by_a_pod_and_nothing_of_it_stays() {
    let Some(space) = Space::new("mover") else { return };
    block_on(async {
        let scene = Scene::new(space, None, None).await;
        let outcome = scene.capture_and_move(&CancellationToken::new()).await;
        let TransferReport::Stored(stored) = outcome.report.unwrap() else {
            panic!("something else was done")
        };
        assert_eq!(stored.name, "data");
        assert!(stored.bytes > 20_000_000, "{stored:?}");
        assert_eq!((outcome.told, outcome.mover), (stored.bytes, Undone::LetGo));
    });
}

#[test]
fn a_mover_whose_image_is_not_there_is_told_in_the_clusters_words() {
    let Some(space) = Space::new("noimage") else { return };
    block_on(async {
        let scene = Scene::new(space, Some("standstill.test/nothing:1"), None).await;
        let error = scene.capture_and_move(&CancellationToken::new()).await.report.unwrap_err().to_string();
        assert!(
            error.contains("ErrImageNeverPull") && error.contains("standstill.test/nothing:1"),
            "{error}"
        );
    });
}

#[test]
fn a_transfer_that_is_cancelled_while_the_snapshot_is_not_ready_leaves_nothing() {
    let Some(space) = Space::new("cancel") else { return };
    block_on(async {
        let scene = Scene::new(space, None, Some("btrfs-slow")).await;
        let cancel = CancellationToken::new();
        let soon = cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            soon.cancel();
        });
        let outcome = scene.capture_and_move(&cancel).await;
        assert_eq!(outcome.report.unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(outcome.mover, Undone::AlreadyGone, "it was not made yet");
    });
}
