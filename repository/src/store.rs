//! An open repository: its index, its snapshots, and the writes that we do ourselves.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use rustic_core::{
    Credentials, FileType, Id, IndexedFullStatus, OpenStatus, ReadBackend, RepositoryBackends,
    RepositoryOptions, WriteBackend,
    repofile::{MasterKey, SnapshotFile, SnapshotId},
};
use standstill_core::{Error, Result};
use tokio_util::sync::CancellationToken;

use crate::{
    fault::{self, Attempt},
    gate::{Gate, Writing, path},
    location::Location,
    locks::Locks,
    objects::Objects,
    remembered::Remembered,
    seal::{Seal, digest},
};

/// A repository with its whole index in memory.
pub(crate) type Indexed = rustic_core::Repository<IndexedFullStatus>;

/// See the module.
pub(crate) struct Store {
    pub(crate) location: Location,
    pub(crate) locks: Locks,
    pub(crate) seal: Arc<Seal>,
    pub(crate) objects: Arc<dyn Objects>,
    gate: Arc<Gate>,
    remembered: Arc<Remembered>,
    master: MasterKey,
    open: rustic_core::Repository<OpenStatus>,
    index: Mutex<Option<(BTreeSet<Id>, Arc<Indexed>)>>,
    snapshots: Mutex<HashMap<SnapshotId, SnapshotFile>>,
}

/// All snapshots that can be read, and why the others cannot.
#[derive(Default)]
pub(crate) struct Snapshots {
    pub(crate) all: Vec<SnapshotFile>,
    pub(crate) damaged: Vec<(SnapshotId, String)>,
}

/// The options for opening: no cache outside the repository, so that nothing of it is left on this machine and a
/// check sees what is stored.
pub(crate) fn options() -> RepositoryOptions {
    RepositoryOptions::default().no_cache(true)
}

impl Store {
    pub(crate) fn new(
        location: Location,
        objects: Arc<dyn Objects>,
        gate: Arc<Gate>,
        open: rustic_core::Repository<OpenStatus>,
    ) -> Self {
        let master = open.key();
        let seal = Arc::new(Seal::new(&master));
        let locks = Locks::new(Arc::clone(&objects), Arc::clone(&seal));
        Self {
            location,
            locks,
            seal,
            objects,
            remembered: Arc::new(Remembered::new(Arc::clone(&gate))),
            gate,
            master,
            open,
            index: Mutex::new(None),
            snapshots: Mutex::new(HashMap::new()),
        }
    }

    /// The repository with its index. It is kept for as long as the set of index files stays the same, so what
    /// another process added is always seen.
    pub(crate) fn indexed(&self) -> Result<Arc<Indexed>> {
        let files: BTreeSet<Id> =
            self.list(FileType::Index, "the repository's index cannot be listed")?.into_iter().collect();
        let mut current = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, indexed)) = &*current
            && *known == files
        {
            return Ok(Arc::clone(indexed));
        }
        let backends = RepositoryBackends::new(Arc::clone(&self.remembered) as Arc<dyn WriteBackend>, None);
        let indexed = rustic_core::Repository::new(&options(), &backends)
            .and_then(|repository| repository.open(&Credentials::Masterkey(self.master.clone())))
            .and_then(rustic_core::Repository::to_indexed)
            .map_err(|error| fault::reading(&error, "the index"))?;
        let indexed = Arc::new(indexed);
        *current = Some((files, Arc::clone(&indexed)));
        Ok(indexed)
    }

    /// Begins the writing of an artifact.
    pub(crate) fn begin(&self, cancel: &CancellationToken) -> Arc<Writing> {
        self.gate.begin(cancel)
    }

    /// The repository without its index, for operations that read it themselves.
    pub(crate) fn open(&self) -> &rustic_core::Repository<OpenStatus> {
        &self.open
    }

    /// Lists files, strictly.
    pub(crate) fn list(&self, kind: FileType, message: &str) -> Result<Vec<Id>> {
        Ok(self.list_with_size(kind, message)?.into_iter().map(|(id, _)| id).collect())
    }

    /// Lists files and their sizes, strictly.
    pub(crate) fn list_with_size(&self, kind: FileType, message: &str) -> Result<Vec<(Id, u32)>> {
        self.gate.list_with_size(kind).attempt(message).map_err(|error| match error.remedy_text() {
            Some(_) => error,
            None => error.remedy(format!("Check that {} can be reached.", self.location)),
        })
    }

    /// All snapshots there are now. Snapshots never change, so each is read once.
    pub(crate) fn snapshots(&self) -> Result<Snapshots> {
        let ids = self.list(FileType::Snapshot, "the repository's snapshots cannot be listed")?;
        let ids: HashSet<SnapshotId> = ids.into_iter().map(SnapshotId::from).collect();
        let mut known = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|id, _| ids.contains(id));
        let missing: Vec<SnapshotId> = ids.iter().filter(|id| !known.contains_key(id)).copied().collect();
        let read =
            self.open.stream_files_list::<SnapshotFile>(missing).attempt("the snapshots cannot be read")?;
        for (id, mut snapshot) in read.flatten() {
            snapshot.id = id;
            known.insert(id, snapshot);
        }
        let mut found = Snapshots::default();
        for id in ids {
            match known.get(&id) {
                Some(snapshot) => found.all.push(snapshot.clone()),
                None => self.reread(id, &mut found)?,
            }
        }
        found.all.sort_by(|one, other| one.time.cmp(&other.time).then(one.id.cmp(&other.id)));
        Ok(found)
    }

    /// Finds out why a snapshot could not be read: removed meanwhile, damaged, or out of reach.
    fn reread(&self, id: SnapshotId, found: &mut Snapshots) -> Result<()> {
        match self.open.get_file::<SnapshotFile>(&id) {
            Ok(mut snapshot) => {
                snapshot.id = id;
                found.all.push(snapshot);
            }
            Err(_)
                if !self
                    .gate
                    .list(FileType::Snapshot)
                    .attempt("the snapshots cannot be listed")?
                    .contains(&id) => {}
            Err(error) => match self.objects.read(&path(FileType::Snapshot, &id)) {
                Ok(_) => found.damaged.push((id, fault::one_line(&error))),
                Err(error) => return Err(error).attempt("a snapshot of the repository cannot be read"),
            },
        }
        Ok(())
    }

    /// Writes a snapshot: the one write that makes an artifact or a record exist.
    pub(crate) fn write_snapshot(&self, mut snapshot: SnapshotFile) -> Result<SnapshotFile> {
        snapshot.id = SnapshotId::default();
        let json = serde_json::to_vec(&snapshot)
            .map_err(|cause| Error::failed("the snapshot cannot be written down").because(cause))?;
        let id = self.write_sealed(FileType::Snapshot, &json)?;
        snapshot.id = SnapshotId::from(id);
        Ok(snapshot)
    }

    /// Encrypts and writes a file that is named by its hash.
    pub(crate) fn write_sealed(&self, kind: FileType, plain: &[u8]) -> Result<Id> {
        let sealed = self.seal.encrypt(plain)?;
        let id = digest(&sealed);
        self.objects
            .write(&path(kind, &id), vec![sealed.into()])
            .attempt(format!("a file of type {kind} cannot be written to the repository"))?;
        Ok(id)
    }

    /// Removes a snapshot; one that is not there any more is no error.
    pub(crate) fn remove_snapshot(&self, id: SnapshotId) -> Result<()> {
        self.objects
            .remove(&path(FileType::Snapshot, &id))
            .attempt(format!("the snapshot {id} cannot be removed from the repository"))
    }
}
