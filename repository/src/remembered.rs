//! The repository for work that needs its whole index: what was read of that is not read again.
//!
//! Every artifact adds files to the index, and the next one needs all of it. Files of an index never change, so each is
//! read once; without that, a dump of 200 databases would read the first one's 800 times.
//! Checks do not come this way: they see what is stored now.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use rustic_core::{BytesList, FileType, Id, ReadBackend, RusticResult, WriteBackend};

use crate::{gate::Gate, seal::digest};

/// How much is kept, as it is stored. That is the index of a few hundred gigabytes, and little beside what is made of it.
const KEPT: usize = 16 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Remembered {
    gate: Arc<Gate>,
    index: Mutex<HashMap<Id, Bytes>>,
}

impl Remembered {
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, index: Mutex::default() }
    }

    fn known(&self, id: &Id) -> Option<Bytes> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn keep(&self, id: &Id, content: &Bytes) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = index.values().map(Bytes::len).sum();
        if kept + content.len() <= KEPT {
            index.insert(*id, content.clone());
        }
    }

    /// Forgets what is not there any more.
    fn retain(&self, there: &[(Id, u32)]) {
        let there: HashSet<&Id> = there.iter().map(|(id, _)| id).collect();
        self.index.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| there.contains(id));
    }
}

impl ReadBackend for Remembered {
    fn location(&self) -> String {
        self.gate.location()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let listed = self.gate.list_with_size(kind)?;
        if kind == FileType::Index {
            self.retain(&listed);
        }
        Ok(listed)
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        if kind != FileType::Index {
            return self.gate.read_full(kind, id);
        }
        if let Some(content) = self.known(id) {
            return Ok(content);
        }
        let content = self.gate.read_full(kind, id)?;
        // What came damaged on its way is read again.
        if digest(&content) == *id {
            self.keep(id, &content);
        }
        Ok(content)
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        self.gate.read_partial(kind, id, cacheable, offset, length)
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        self.gate.warmup_path(kind, id)
    }
}

impl WriteBackend for Remembered {
    fn create(&self) -> RusticResult<()> {
        self.gate.create()
    }

    fn write_bytes(&self, kind: FileType, id: &Id, cacheable: bool, content: BytesList) -> RusticResult<()> {
        self.gate.write_bytes(kind, id, cacheable, content)
    }

    fn remove(&self, kind: FileType, id: &Id, cacheable: bool) -> RusticResult<()> {
        self.gate.remove(kind, id, cacheable)
    }
}
