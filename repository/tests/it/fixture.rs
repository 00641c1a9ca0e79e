//! A repository in a temporary directory, and sources that behave as told.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use standstill_core::{
    Error, Result,
    point::{
        ArtifactKind, CheckOutcome, Consistency, Freeze, RecoveryPoint, RunId, StoredArtifact, Verification,
    },
    repository::{NoProgress, PutStream, PutTree, Repository as _, Restored, StreamSource, TreeSelection},
    secret::Secret,
};
use standstill_repository::{Location, Repository};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub const PASSWORD: &str = "a password of the tests";

pub struct Fixture {
    pub home: TempDir,
    pub repository: Repository,
    pub run: RunId,
}

impl Fixture {
    pub async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let location = location(&home.path().join("repository"));
        let repository = Repository::init(&location, &Secret::new(PASSWORD)).await.unwrap();
        Self { home, repository, run: RunId::generate() }
    }

    pub fn place(&self) -> PathBuf {
        self.home.path().join("repository")
    }

    pub async fn reopened(&self) -> Repository {
        Repository::open(&location(&self.place()), &Secret::new(PASSWORD)).await.unwrap()
    }

    /// An empty directory of its own.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    pub async fn put(&self, name: &str, source: Source) -> Result<StoredArtifact> {
        let request = PutStream { run: self.run.clone(), application: "app".into(), artifact: name.into() };
        let cancel = CancellationToken::new();
        self.repository.put_stream(request, Box::new(source), Arc::new(NoProgress), cancel).await
    }

    pub async fn get(&self, artifact: &StoredArtifact) -> (Result<Restored>, Vec<u8>) {
        let sink = Shared::default();
        let cancel = CancellationToken::new();
        let result =
            self.repository.get_stream(artifact, Box::new(sink.clone()), Arc::new(NoProgress), cancel).await;
        let bytes = sink.0.lock().unwrap().clone();
        (result, bytes)
    }

    pub fn tree_request(&self, root: &Path) -> PutTree {
        PutTree {
            run: self.run.clone(),
            application: "app".into(),
            artifact: "data".into(),
            kind: ArtifactKind::Volume,
            root: root.to_owned(),
            original: "/srv/data".into(),
            selection: TreeSelection::default(),
            cut_at: None,
        }
    }

    pub async fn put_tree(&self, request: PutTree) -> Result<StoredArtifact> {
        self.repository.put_tree(request, Arc::new(NoProgress), CancellationToken::new()).await
    }

    pub async fn get_tree(&self, artifact: &StoredArtifact, destination: &Path) -> Result<Restored> {
        let cancel = CancellationToken::new();
        self.repository.get_tree(artifact, destination, Arc::new(NoProgress), cancel).await
    }

    pub fn point(&self, artifacts: Vec<StoredArtifact>) -> RecoveryPoint {
        point(&self.run, artifacts)
    }

    /// Stores a stream and commits a recovery point of it, as a run of its own.
    pub async fn backup(&self, content: &[u8]) -> RecoveryPoint {
        let run = RunId::generate();
        let request = PutStream { run: run.clone(), application: "app".into(), artifact: "dump".into() };
        let source = Box::new(Source::of(content));
        let artifact = self
            .repository
            .put_stream(request, source, Arc::new(NoProgress), CancellationToken::new())
            .await
            .unwrap();
        let point = point(&run, vec![artifact]);
        self.repository.commit(&point).await.unwrap();
        point
    }

    /// File names below a folder of the repository.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.place().join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found
    }

    /// Runs restic on the repository; panics unless it succeeds.
    pub fn restic(&self, arguments: &[&str]) -> String {
        let output = self.try_restic(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "restic {arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn try_restic(&self, arguments: &[&str]) -> Output {
        Command::new("restic")
            .arg("--repo")
            .arg(self.place())
            .args(["--no-cache", "--quiet"])
            .args(arguments)
            .env("RESTIC_PASSWORD", PASSWORD)
            .output()
            .expect("Debian's restic is installed by ./test")
    }
}

pub fn location(path: &Path) -> Location {
    path.to_str().unwrap().parse().unwrap()
}

pub fn point(run: &RunId, artifacts: Vec<StoredArtifact>) -> RecoveryPoint {
    RecoveryPoint {
        id: run.clone(),
        name: "app".into(),
        blueprint: "sqlite".into(),
        blueprint_digest: "0".repeat(64),
        blueprint_text: "apiVersion: standstill.dev/v1alpha1\n".into(),
        parameters: serde_json::Map::new(),
        cut_at: Timestamp::now(),
        started_at: Timestamp::now(),
        consistency: Consistency::Application,
        freeze: Freeze::default(),
        holds: Vec::new(),
        outputs: std::collections::BTreeMap::new(),
        artifacts,
        facts: Vec::new(),
        version: None,
        identity: Some("tests".into()),
        members: Vec::new(),
        standstill: "0.1.0".into(),
    }
}

pub fn verification(of: &RunId, outcome: CheckOutcome) -> Verification {
    Verification {
        run: RunId::generate(),
        recovery_point: of.clone(),
        member: None,
        outcome,
        checks: Vec::new(),
        rto_milliseconds: Some(1),
        data_age_seconds: 1,
        at: Timestamp::now(),
    }
}

/// Bytes that neither compress nor repeat.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut output = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut output);
    output
}

/// A stream that ends as told.
pub struct Source {
    content: io::Cursor<Vec<u8>>,
    breaks: Option<io::ErrorKind>,
    finish: Option<Result<u64>>,
}

impl Source {
    pub fn of(content: &[u8]) -> Self {
        let length = content.len() as u64;
        Self { content: io::Cursor::new(content.to_vec()), breaks: None, finish: Some(Ok(length)) }
    }

    pub fn breaking(mut self, kind: io::ErrorKind) -> Self {
        self.breaks = Some(kind);
        self
    }

    pub fn failing(mut self, error: Error) -> Self {
        self.finish = Some(Err(error));
        self
    }

    pub fn claiming(mut self, bytes: u64) -> Self {
        self.finish = Some(Ok(bytes));
        self
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.content.read(buffer)?, self.breaks) {
            (0, Some(kind)) => Err(kind.into()),
            (read, _) => Ok(read),
        }
    }
}

impl StreamSource for Source {
    fn finish(&mut self) -> Result<u64> {
        self.finish.take().expect("finish is called once")
    }
}

/// A sink that can be looked at afterwards.
#[derive(Clone, Default)]
pub struct Shared(pub Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
