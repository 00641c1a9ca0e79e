//! What the journal and the run's directory know about a keeper.
//!
//! The record is journalled before the keeper starts, so it holds no process id: the keeper writes that into its
//! directory before it acquires. None of it is secret.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use standstill_core::{
    Result,
    keeper::{KeeperSpec, ReleaseRecord},
    point::RunId,
    units::milliseconds,
};

use crate::{
    identity::ProcessIdentity,
    state::{make_private, write_durably},
};

/// What is needed to let go of a keeper's hold when its runner is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KeeperRecord {
    /// The run.
    pub(crate) run: RunId,
    /// The step.
    pub(crate) name: String,
    /// The step's own directory: that of the first attempt's keeper, with those of later attempts in it.
    pub(crate) directory: PathBuf,
    /// The deadline for each single command or answer, in milliseconds.
    pub(crate) timeout_milliseconds: u64,
    /// How to let go without the keeper.
    pub(crate) release: ReleaseRecord,
}

impl KeeperRecord {
    /// The record of a keeper that is about to be started; `directory` is its own.
    pub(crate) fn new(spec: &KeeperSpec, run: &RunId, directory: PathBuf) -> Result<Self> {
        Ok(Self {
            run: run.clone(),
            name: spec.name.clone(),
            directory,
            timeout_milliseconds: milliseconds(spec.timeout),
            release: ReleaseRecord::of(&spec.program)?,
        })
    }

    /// The deadline for each single command or answer.
    pub(crate) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_milliseconds)
    }
}

/// The directory of an attempt's keeper; attempts count from 1.
fn of_attempt(directory: &Path, attempt: u32) -> PathBuf {
    if attempt == 1 { directory.to_owned() } else { directory.join(attempt.to_string()) }
}

/// Makes the directory of another attempt's keeper. It is empty: what an earlier attempt noted says nothing of this one, and
/// an earlier keeper that comes late still finds that it must not begin.
pub(crate) fn begin_attempt(directory: &Path) -> io::Result<PathBuf> {
    if let Some(above) = directory.parent() {
        make_private(above)?;
    }
    let mut attempt = 1;
    loop {
        let own = of_attempt(directory, attempt);
        match fs::DirBuilder::new().mode(0o700).create(&own) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
            made => return made.map(|()| own),
        }
    }
}

/// The files in a keeper's own directory.
#[derive(Debug, Clone)]
pub(crate) struct KeeperFiles(PathBuf);

impl KeeperFiles {
    /// Those of each attempt that was begun, the first one first.
    pub(crate) fn of_attempts(directory: &Path) -> impl Iterator<Item = Self> {
        (1..).map(|attempt| of_attempt(directory, attempt)).take_while(|own| own.is_dir()).map(Self)
    }

    /// Those in this directory.
    pub(crate) fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// Says which process the keeper is, before it acquires.
    pub(crate) fn write_keeper(&self, identity: &ProcessIdentity) -> io::Result<()> {
        self.write("keeper.json", identity)
    }

    /// Which process the keeper is, if it came so far.
    pub(crate) fn keeper(&self) -> io::Result<Option<ProcessIdentity>> {
        self.read("keeper.json")
    }

    /// Says which process the client is, before it is told anything.
    pub(crate) fn write_client(&self, identity: &ProcessIdentity) -> io::Result<()> {
        self.write("client.json", identity)
    }

    /// Which process the client is, if there was one.
    pub(crate) fn client(&self) -> io::Result<Option<ProcessIdentity>> {
        self.read("client.json")
    }

    /// Notes that nothing is held any more.
    pub(crate) fn mark_released(&self) -> io::Result<()> {
        write_durably(&self.0.join("released"), b"")
    }

    /// Whether nothing is held any more.
    pub(crate) fn is_released(&self) -> bool {
        self.0.join("released").exists()
    }

    /// Notes that the keeper must not begin any more.
    pub(crate) fn forbid(&self) -> io::Result<()> {
        write_durably(&self.0.join("forbidden"), b"")
    }

    /// Whether the keeper must not begin any more.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.0.join("forbidden").exists()
    }

    fn write(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        write_durably(&self.0.join(name), &serde_json::to_vec(value)?)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match fs::read(self.0.join(name)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause),
        }
    }
}
