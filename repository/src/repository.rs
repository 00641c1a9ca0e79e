//! The repository as the rest of Standstill sees it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use standstill_core::{
    Result,
    point::{RecoveryPoint, RunId, StoredArtifact, Verification},
    repository::{
        CheckReport, ForgetReport, ListedPoint, Progress, PutStream, PutTree, Restored, StreamSource,
    },
    secret::Secret,
};
use tokio_util::sync::CancellationToken;

use crate::{
    check,
    fault::blocking,
    forget, get,
    location::Location,
    open, put,
    records::{self, Records},
    store::Store,
};

/// An open repository in restic's format (version 2), which `restic` can read too.
///
/// # Guarantees
/// - A snapshot is written only after everything that was read was counted and is stored, so an incomplete
///   artifact never exists, whatever dies when.
/// - While it works it holds restic's lock: shared for reading and writing, exclusive for pruning.
///
/// # Cancellation
/// Dropping a future, or cancelling its token, stops the work behind it soon after, and nothing of it stays listed.
#[derive(Clone)]
pub struct Repository(Arc<Store>);

impl std::fmt::Debug for Repository {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Repository").field(&self.0.location.to_string()).finish()
    }
}

impl Repository {
    /// Makes a repository in a place that is empty or does not exist.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when there is a repository already, when the place is not empty, or
    /// cannot be reached.
    pub async fn init(location: &Location, password: &Secret) -> Result<Self> {
        let (location, password) = (location.clone(), password.clone());
        let store = blocking("making the repository", move || open::init(&location, &password)).await?;
        Ok(Self(Arc::new(store)))
    }

    /// Opens a repository. It never makes one.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when there is none, when the password is wrong, or the place cannot
    /// be reached: each with its own message and remedy.
    pub async fn open(location: &Location, password: &Secret) -> Result<Self> {
        let (location, password) = (location.clone(), password.clone());
        let store = blocking("opening the repository", move || open::open(&location, &password)).await?;
        Ok(Self(Arc::new(store)))
    }

    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(&self.0);
        blocking(what, move || work(&store)).await
    }
}

#[async_trait]
impl standstill_core::repository::Repository for Repository {
    fn location(&self) -> String {
        self.0.location.to_string()
    }

    async fn put_stream(
        &self,
        request: PutStream,
        source: Box<dyn StreamSource>,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Result<StoredArtifact> {
        let cancel = cancel.child_token();
        let _dropped = cancel.clone().drop_guard();
        let attempt = format!("store {}", request.artifact);
        self.run("storing a stream", move |store| {
            put::stream::put(store, &request, source, progress, &cancel)
        })
        .await
        .map_err(|error| error.during(&attempt))
    }

    async fn put_tree(
        &self,
        request: PutTree,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Result<StoredArtifact> {
        let cancel = cancel.child_token();
        let _dropped = cancel.clone().drop_guard();
        let attempt = format!("store {}", request.artifact);
        self.run("storing a tree", move |store| put::tree::put(store, &request, progress, &cancel))
            .await
            .map_err(|error| error.during(&attempt))
    }

    async fn get_stream(
        &self,
        artifact: &StoredArtifact,
        sink: Box<dyn Write + Send>,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Result<Restored> {
        let cancel = cancel.child_token();
        let _dropped = cancel.clone().drop_guard();
        let artifact = artifact.clone();
        self.run("restoring a stream", move |store| {
            get::stream::get(store, &artifact, sink, progress, cancel)
        })
        .await
    }

    async fn get_tree(
        &self,
        artifact: &StoredArtifact,
        destination: &Path,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Result<Restored> {
        let cancel = cancel.child_token();
        let _dropped = cancel.clone().drop_guard();
        let (artifact, destination): (_, PathBuf) = (artifact.clone(), destination.to_owned());
        self.run("restoring a tree", move |store| {
            get::tree::get(store, &artifact, &destination, progress, cancel)
        })
        .await
    }

    async fn commit(&self, point: &RecoveryPoint) -> Result<()> {
        let point = point.clone();
        self.run("committing the recovery point", move |store| records::commit(store, &point)).await
    }

    async fn points(&self) -> Result<Vec<ListedPoint>> {
        self.run("listing the recovery points", |store| {
            let records = Records::read(store)?;
            for (_, why) in &records.unreadable {
                tracing::warn!(why, "a record in the repository cannot be read; run `standstill check`");
            }
            Ok(records.listed())
        })
        .await
    }

    async fn record_verification(&self, verification: &Verification) -> Result<()> {
        let verification = verification.clone();
        self.run("recording the verification", move |store| {
            records::record_verification(store, &verification)
        })
        .await
    }

    async fn forget(&self, points: &[RunId], prune: bool) -> Result<ForgetReport> {
        let points = points.to_owned();
        self.run("forgetting recovery points", move |store| forget::forget(store, &points, prune)).await
    }

    async fn check(&self, read_data: bool) -> Result<CheckReport> {
        self.run("checking the repository", move |store| check::check(store, read_data)).await
    }

    async fn discard_strays(&self, run: Option<&RunId>) -> Result<u64> {
        let run = run.cloned();
        self.run("discarding strays", move |store| forget::discard_strays(store, run.as_ref())).await
    }
}
