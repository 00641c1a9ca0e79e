//! The verb `dump`: all keys as of one instant, over the connection, without a file on the server's side.
//!
//! We pose as a replica. The server forks a process that sends everything as of that instant, which has a name: an
//! offset in the server's history. The file that arrives is checked by its own checksum, so a transfer that was cut or
//! changed is found before anything is stored.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Instant,
};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Acquired, Hold, HookContext, Receipt},
    point::{Evidence, Outputs},
};

use super::{
    connect::{LOOKUP, Session},
    keys,
    rdb::{self, Whole},
    replication::{Beginning, Incoming},
    server::Server,
    settings::Target,
};

/// The verb's name.
pub(super) const VERB: &str = "dump";
/// The file's name, which is the one that a server expects.
const FILE: &str = "dump.rdb";

/// What `dump` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {}

/// What came.
struct Received {
    beginning: Beginning,
    whole: Whole,
    bytes: u64,
    since: Instant,
    released: Instant,
}

/// Receives the dump into the run's own directory.
pub(super) async fn acquire(context: &HookContext) -> Result<Acquired> {
    let target = Target::of(context).await?;
    let session = Session::to(&target).await?;
    let server = Server::of(&session, LOOKUP).await?;
    let into = context.scratch.join("redis-dump");
    let (path, cancel) = (into.join(FILE), context.cancel.clone());
    // Receiving and checking keep a thread busy, which is not that of other holds' renewals.
    let (from, file) = (target.clone(), path.clone());
    let received = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| Error::failed("no thread can be started for the dump").because(cause))?;
        runtime.block_on(async {
            tokio::select! {
                received = receive(&from, &file) => received,
                () = cancel.cancelled() => Err(Error::cancelled("cancelled on receiving the dump")),
            }
        })
    });
    let received =
        received.await.map_err(|cause| Error::failed("receiving the dump broke off").because(cause))??;
    server.expect_same(&Server::of(&session, LOOKUP).await?, session.place())?;
    let header = rdb::Header::of(&path)?;
    let evidence = server
        .evidence()
        .and("replicationId", received.beginning.history.as_str())
        .and("replicationOffset", received.beginning.offset)
        .and("withoutAFile", received.beginning.diskless)
        .and("bytes", received.bytes)
        .and("checksum", if received.whole == Whole::Yes { "ok" } else { "none" });
    let facts = header.first.map(|(number, keys)| keys::of_database(number, keys)).unwrap_or_default();
    let outputs = Outputs::from([
        ("files".into(), json!({ "directory": into })),
        ("file".into(), json!(FILE)),
        ("version".into(), json!(server.version.full)),
    ]);
    let receipt = Receipt {
        evidence: evidence.clone(),
        outputs: Outputs::new(),
        facts,
        released: received.released,
        froze: None,
    };
    Ok(Acquired { hold: Box::new(Dumped(receipt)), outputs, since: received.since })
}

async fn receive(target: &Target, path: &Path) -> Result<Received> {
    let place = target.place();
    let failed = |cause: io::Error| {
        Error::failed(format!("cannot write {}", path.display()))
            .remedy("Make room for the whole dump where the run keeps its files: set TMPDIR.")
            .because(cause)
    };
    let mut file = make(path).map_err(failed)?;
    let since = Instant::now();
    let (mut incoming, beginning) = Incoming::ask(target).await?;
    let released = Instant::now();
    let (mut check, mut buffer) = (rdb::Check::default(), Vec::new());
    while incoming.next(&mut buffer).await? {
        check.update(&buffer);
        file.write_all(&buffer).map_err(failed)?;
    }
    // It is read again at once, and never from here after a crash: nothing has to reach the disk.
    drop(file);
    let bytes = check.length();
    let whole = check.finish().map_err(|wrong| {
        Error::failed(format!("what {place} sent {wrong}"))
            .remedy("Run the backup again; if it repeats, look into the server's log and at its memory.")
    })?;
    Ok(Received { beginning, whole, bytes, since, released })
}

/// An empty file in an empty directory, whatever an earlier attempt of the same run left.
fn make(path: &Path) -> io::Result<File> {
    let directory = path.parent().map(PathBuf::from).unwrap_or_default();
    match fs::remove_dir_all(&directory) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// What is left of a moment: its proof.
struct Dumped(Receipt);

#[async_trait]
impl Hold for Dumped {
    async fn renew(&mut self) -> Result<()> {
        Ok(())
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        Ok(self.0.evidence.clone())
    }

    async fn release(&mut self) -> Result<Receipt> {
        Ok(self.0.clone())
    }
}
