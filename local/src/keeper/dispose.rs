//! Letting go of a keeper's hold when its runner is dead.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use rustix::process::Signal;
use standstill_core::{Error, ErrorKind, Result, hook::Undone, keeper::ReleaseRecord, secret::Secret};
use tokio_util::sync::CancellationToken;

use super::{
    client::release_by_new_client,
    pair::succeeded,
    record::{KeeperFiles, KeeperRecord},
};
use crate::{
    identity::ProcessIdentity,
    process::{
        exec::exec,
        launcher::{Launcher, blocking},
    },
};

/// What a keeper needs for its own work, beyond the deadlines of its commands.
const MARGIN: Duration = Duration::from_secs(3);

/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(10);

/// How often the release is run before it is given up.
const ATTEMPTS: u32 = 3;

/// Makes sure that a keeper's hold is let go: by the keeper, if it lives and can, else from here. So for each attempt that
/// was begun.
pub(crate) async fn dispose(
    launcher: &Arc<Launcher>,
    record: &KeeperRecord,
    secrets: &BTreeMap<String, Secret>,
) -> Result<Undone> {
    let mut undone = Undone::AlreadyGone;
    for files in KeeperFiles::of_attempts(&record.directory) {
        if dispose_attempt(launcher, record, secrets, &files).await? == Undone::LetGo {
            undone = Undone::LetGo;
        }
    }
    Ok(undone)
}

async fn dispose_attempt(
    launcher: &Arc<Launcher>,
    record: &KeeperRecord,
    secrets: &BTreeMap<String, Secret>,
    files: &KeeperFiles,
) -> Result<Undone> {
    let unreadable = |cause: io::Error| {
        Error::failed(format!("what is known about the keeper of {} cannot be read", record.name))
            .remedy(format!("Check {}.", record.directory.display()))
            .because(cause)
    };
    if files.is_released() {
        return Ok(Undone::AlreadyGone);
    }
    // In this order: a keeper that is just beginning either sees this, or is seen.
    files.forbid().map_err(unreadable)?;
    let Some(keeper) = files.keeper().map_err(unreadable)? else { return Ok(Undone::AlreadyGone) };
    let lived = keeper.is_alive();
    if lived {
        let patience = record.timeout().saturating_mul(2) + MARGIN;
        blocking(move || end_keeper(&keeper, patience)).await?;
        if files.is_released() {
            return Ok(Undone::LetGo);
        }
    }
    if let Some(client) = files.client().map_err(unreadable)? {
        blocking(move || end_client(&client)).await?;
    }
    release(launcher, record, secrets).await.map_err(|error| still_held(record, error))?;
    if let Err(cause) = files.mark_released() {
        tracing::warn!(
            step = record.name,
            ?cause,
            "that a hold was let go cannot be noted; it will be let go again"
        );
    }
    Ok(match record.release {
        ReleaseRecord::WithItsClient if !lived => Undone::AlreadyGone,
        _ => Undone::LetGo,
    })
}

/// Lets go of what a keeper held that is gone, and its directory with it.
pub(crate) async fn release_of(
    launcher: &Arc<Launcher>,
    record: &KeeperRecord,
    secrets: &BTreeMap<String, Secret>,
) -> Result<Undone> {
    if record.release == ReleaseRecord::WithItsClient {
        return Ok(Undone::AlreadyGone);
    }
    release(launcher, record, secrets).await.map_err(|error| still_held(record, error))?;
    Ok(Undone::LetGo)
}

/// Asks a keeper to let go, waits for it, and kills it when it does not.
fn end_keeper(keeper: &ProcessIdentity, patience: Duration) -> Result<()> {
    keeper.signal(Signal::TERM);
    // One that was stopped cannot hear.
    keeper.signal(Signal::CONT);
    if keeper.wait_for_end(patience) {
        return Ok(());
    }
    kill(keeper)
}

/// Ends the client of a keeper that is gone, if the client's guard has not done so already.
fn end_client(client: &ProcessIdentity) -> Result<()> {
    if client.wait_for_end(Duration::from_secs(3)) { Ok(()) } else { kill(client) }
}

fn kill(process: &ProcessIdentity) -> Result<()> {
    process.signal(Signal::KILL);
    if process.wait_for_end(KILLED) {
        return Ok(());
    }
    Err(Error::failed(format!("process {} was killed but is not gone", process.pid))
        .remedy("Find out what it waits for, then run `standstill recover` again."))
}

async fn release(
    launcher: &Arc<Launcher>,
    record: &KeeperRecord,
    secrets: &BTreeMap<String, Secret>,
) -> Result<()> {
    let mut pause = Duration::from_millis(200);
    let mut attempt = 1;
    loop {
        match release_once(launcher, record, secrets).await {
            Ok(()) => return Ok(()),
            Err(error) if attempt >= ATTEMPTS || error.kind() == ErrorKind::Input => return Err(error),
            Err(error) => {
                tracing::warn!(step = record.name, error = error.chain(), "letting go is tried again");
            }
        }
        attempt += 1;
        tokio::time::sleep(pause).await;
        pause *= 4;
    }
}

async fn release_once(
    launcher: &Arc<Launcher>,
    record: &KeeperRecord,
    secrets: &BTreeMap<String, Secret>,
) -> Result<()> {
    match &record.release {
        ReleaseRecord::WithItsClient => Ok(()),
        ReleaseRecord::Command(command) => {
            let prepared = launcher.prepare(&command.with_secrets(secrets)?)?;
            let output = exec(launcher, &prepared, record.timeout(), &CancellationToken::new()).await?;
            succeeded(prepared.program(), output).map(drop)
        }
        ReleaseRecord::Client { client, lines, until } => {
            let prepared = launcher.prepare(&client.with_secrets(secrets)?)?;
            let timeout = record.timeout();
            release_by_new_client(launcher, &prepared, lines, until.as_deref(), timeout).await.map(drop)
        }
    }
}

fn still_held(record: &KeeperRecord, error: Error) -> Error {
    match record.release.by_hand() {
        None => error,
        Some(by_hand) => Error::new(ErrorKind::StillHeld, format!("{} may still be held", record.name))
            .remedy(format!("Let it go by hand: run {by_hand}."))
            .because(error),
    }
}
