//! The verb `ready`: everything that a backup needs, looked at before anything is touched.

use std::path::{Path, PathBuf};

use bson::{RawDocument, doc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, ErrorKind, Result,
    hook::{Called, HookContext},
    point::Outputs,
};

use super::{
    errors::{self, code},
    lock::{self, COLLECTION, DATABASE},
    privileges::{On, Privileges},
    server::{Role, Server, version},
    session::{LOOKUP, Session},
};
use crate::server::volumes::Volumes;

/// Where a server keeps its files unless it is told (manual: `storage.dbPath`).
const USUAL_PATH: &str = "/data/db";

/// Which kind of server is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Wanted {
    /// A secondary, or a server whose set has no other member that could be asked.
    #[default]
    PreferSecondary,
    /// Either will do.
    Any,
    Primary,
    Secondary,
}

/// What the backup will be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum For {
    /// An atomic snapshot of the files.
    #[default]
    Flush,
    /// A copy of the files while writes wait.
    Lock,
    /// A dump over the connection.
    Dump,
}

/// What `ready` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// Which kind of server is asked for: preferSecondary, any, primary or secondary.
    #[serde(default)]
    role: Wanted,
    /// What the backup will be: flush, lock or dump. It decides what is looked at.
    #[serde(default, rename = "for")]
    purpose: For,
    /// The volumes that are captured: the server's files must lie in them.
    #[serde(default)]
    covers: Vec<String>,
}

/// Does the verb.
pub(super) async fn ready(context: &HookContext, arguments: Arguments) -> Result<Called> {
    let session = Session::open(context).await?;
    let place = session.place();
    let server = Server::read(&session.hello, place)?;
    role_fits(&server, place, arguments.role)?;
    let privileges = Privileges::of(&session).await?;
    let version = version(&session).await?;
    match arguments.purpose {
        For::Dump => {
            for action in ["find", "listCollections", "listIndexes"] {
                privileges.need(action, On::Database("any"), "dump every database")?;
            }
            privileges.need("listDatabases", On::Cluster, "list the databases")?;
            if server.set.is_none() {
                return Err(Error::input(format!(
                    "MongoDB at {place} stands alone, and only members of a replica set keep the history that a consistent dump reads"
                ))
                .remedy("Make it a replica set of one member (rs.initiate()), or use the blueprint mongodb."));
            }
        }
        purpose @ (For::Flush | For::Lock) => {
            privileges.need("fsync", On::Cluster, "bring data to the disk (fsync)")?;
            for (action, what) in [
                ("serverStatus", "look at the storage engine"),
                ("getCmdLineOpts", "look up where its files are"),
            ] {
                privileges.need(action, On::Cluster, what)?;
            }
            on_disk(&session).await?;
            lies_in(context, &session, &arguments.covers).await?;
            if purpose == For::Lock {
                may_lock(&session, &privileges).await?;
            }
        }
    }
    let compatibility = compatibility(&session, &privileges).await?;
    Ok(Called {
        outputs: Outputs::from([
            ("version".into(), json!(version.full)),
            ("compatibility".into(), json!(compatibility)),
            ("role".into(), json!(server.role.name())),
            ("replicaSet".into(), json!(server.set)),
        ]),
        ..Called::default()
    })
}

fn role_fits(server: &Server, place: &str, wanted: Wanted) -> Result<()> {
    let refused = |asked: &str, remedy: &str| {
        Err(Error::input(format!(
            "MongoDB at {place} is a {}, and a {asked} was asked for",
            server.role.name()
        ))
        .remedy(remedy))
    };
    match (wanted, server.role) {
        (Wanted::PreferSecondary, Role::Primary) if server.members > 1 => refused(
            "secondary",
            "Connect to a secondary, so that no client of the set is slowed down; or ask for role `any` or `primary`.",
        ),
        (Wanted::Primary, Role::Secondary) => {
            refused("primary", "Connect to the primary, or ask for role `any`.")
        }
        (Wanted::Secondary, Role::Primary | Role::Standalone) => {
            refused("secondary", "Connect to a secondary, or ask for role `any`.")
        }
        _ => Ok(()),
    }
}

async fn may_lock(session: &Session, privileges: &Privileges) -> Result<()> {
    privileges.need("unlock", On::Cluster, "unlock it again (fsyncUnlock)")?;
    privileges.need("inprog", On::Cluster, "look whether it is locked (currentOp)")?;
    for action in ["find", "insert", "remove"] {
        privileges.need(action, On::Collection(DATABASE, COLLECTION), "leave a mark of its lock")?;
    }
    if lock::is_locked(session).await? { Err(lock::foreign(session).await) } else { Ok(()) }
}

/// Refuses an engine without files, or whose files are not what this is about.
async fn on_disk(session: &Session) -> Result<()> {
    let attempt = "look at the storage engine (serverStatus)";
    let said = session.ask("admin", LOOKUP, attempt, doc! {"serverStatus": 1}).await?;
    let engine = said.get_document("storageEngine");
    let engine = engine.map_err(|cause| errors::strange(attempt, session.place()).because(cause))?;
    let name = engine.get_str("name").unwrap_or("unknown");
    if name == "wiredTiger" && engine.get_bool("persistent").unwrap_or(true) {
        return Ok(());
    }
    Err(Error::input(format!(
        "the storage engine of MongoDB at {} is {name}, which has no files to back up",
        session.place()
    ))
    .remedy("Use the blueprint mongodb-dump."))
}

/// Refuses files outside of the volumes, and the parts of a sharded cluster.
async fn lies_in(context: &HookContext, session: &Session, covers: &[String]) -> Result<()> {
    let place = session.place();
    let attempt = "look up where its files are (getCmdLineOpts)";
    let said = session.run("admin", LOOKUP, attempt, doc! {"getCmdLineOpts": 1}).await?;
    let parsed = said.get_document("parsed");
    let parsed = parsed.map_err(|cause| errors::strange(attempt, place).because(cause))?;
    let under =
        |section: &str, name: &str| -> Option<&str> { parsed.get_document(section).ok()?.get_str(name).ok() };
    if let Some(role) = under("sharding", "clusterRole") {
        return Err(Error::input(format!("MongoDB at {place} is a part of a sharded cluster ({role})"))
            .remedy("A sharded cluster has no one moment that a backup of one server could be of; it is not supported."));
    }
    if covers.is_empty() {
        return Ok(());
    }
    let path = PathBuf::from(under("storage", "dbPath").unwrap_or(USUAL_PATH));
    let volumes = Volumes::of(context, covers)?;
    if !volumes.hold(&path) {
        return Err(Error::input(format!(
            "the files of MongoDB at {place} are in {}, not in {volumes}",
            path.display()
        ))
        .remedy("Set `dataDir` to the server's storage.dbPath."));
    }
    if journal_off(parsed) {
        return Err(Error::input(format!(
            "MongoDB at {place} keeps no journal, so no copy of its files recovers"
        ))
        .remedy("Remove storage.journal.enabled: false from its configuration."));
    }
    elsewhere(&path, &volumes)
}

fn journal_off(parsed: &RawDocument) -> bool {
    let journal = parsed.get_document("storage").and_then(|storage| storage.get_document("journal"));
    journal.and_then(|journal| journal.get_bool("enabled")).is_ok_and(|enabled| !enabled)
}

/// Refuses a journal or a database that a link leads out of the volumes, where the files can be seen from here.
fn elsewhere(path: &Path, volumes: &Volumes<'_>) -> Result<()> {
    let Ok(entries) = path.read_dir() else { return Ok(()) };
    let links = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    for link in links.map(|entry| entry.path()) {
        if !volumes.hold(&link) {
            return Err(Error::input(format!(
                "{} leads out of {volumes}, and belongs to the database",
                link.display()
            ))
            .remedy("Move it back: without it, a copy cannot be opened."));
        }
    }
    Ok(())
}

/// The compatibility version, which must not be on its way to another one.
async fn compatibility(session: &Session, privileges: &Privileges) -> Result<Option<String>> {
    if privileges.need("getParameter", On::Cluster, "look up its parameters").is_err() {
        return Ok(None);
    }
    let attempt = "look up its compatibility version (getParameter)";
    let command = doc! {"getParameter": 1, "featureCompatibilityVersion": 1};
    let said = match session.command("admin", LOOKUP, attempt, command).await? {
        Ok(said) => said,
        // One who may not look does without.
        Err(refusal) if refusal.code == code::UNAUTHORIZED => return Ok(None),
        Err(refusal) => return Err(errors::refused(refusal, attempt, session.place(), session.user())),
    };
    let Ok(found) = said.get_document("featureCompatibilityVersion") else { return Ok(None) };
    if let Ok(target) = found.get_str("targetVersion") {
        return Err(Error::temporary(format!(
            "MongoDB at {} is changing its compatibility version to {target}",
            session.place()
        ))
        .remedy("Wait until setFeatureCompatibilityVersion is done, or run it again if it broke off."));
    }
    Ok(found.get_str("version").ok().map(str::to_owned))
}

/// The verb `accepting`: whether the server answers at all.
///
/// # Errors
/// [`ErrorKind::Temporary`] until it does.
pub(super) async fn accepting(context: &HookContext) -> Result<Called> {
    let waiting = |error: Error| error.of_kind(ErrorKind::Temporary);
    let session = Session::open(context).await.map_err(waiting)?;
    Server::read(&session.hello, session.place()).map_err(waiting)?;
    Ok(Called::default())
}
