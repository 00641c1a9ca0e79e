//! The verb `ready`: everything that a backup needs, looked at before anything is touched.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
    point::Outputs,
    units::show_bytes,
};

use super::{
    append_only,
    config::Config,
    connect::{LOOKUP, Session},
    errors,
    info::Info,
    server::Server,
};
use crate::server::role::Role;

/// What the backup will be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum For {
    /// The file of a save.
    #[default]
    Save,
    /// The append-only file.
    AppendOnly,
    /// A dump over the connection.
    Dump,
}

/// What `ready` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// Which kind of server is asked for: any, primary or replica.
    #[serde(default)]
    role: Role,
    /// What the backup will be: save, appendOnly or dump. It decides what is looked at.
    #[serde(default, rename = "for")]
    purpose: For,
    /// The volume that is captured: it must be the server's own directory.
    #[serde(default)]
    covers: Vec<String>,
}

/// Does the verb.
pub(super) async fn ready(context: &HookContext, arguments: Arguments) -> Result<Called> {
    let session = Session::open(context).await?;
    let place = session.place();
    let info = Info::of(&session, LOOKUP).await?;
    let server = Server::read(&info, place)?;
    arguments.role.expect(server.replica, &format!("the server at {place}"))?;
    replicates(&server, &info, place)?;
    match arguments.purpose {
        For::Save => {
            // A save that was told nonsense is refused for that, or because this user may not save at all.
            may(&session, "save (BGSAVE)", &["BGSAVE", "standstill"]).await?;
            let names = ["dir", "dbfilename"];
            let config = Config::of(&session, &names).await?;
            let directory = config.directory(context, &arguments.covers, place)?;
            let file = directory.join(config.name("dbfilename", place)?);
            has_room(&info, &file, place)?;
        }
        For::AppendOnly => {
            append_only::is_on(&info, place)?;
            may(&session, "change a setting (CONFIG SET)", &["CONFIG", "SET", "standstill", "1"]).await?;
            Config::of(&session, &["dir"]).await?.directory(context, &arguments.covers, place)?;
        }
        For::Dump => {}
    }
    Ok(Called {
        outputs: Outputs::from([
            ("version".into(), json!(server.version.full)),
            ("role".into(), json!(server.role())),
            ("usedMemory".into(), json!(info.number("used_memory"))),
        ]),
        ..Called::default()
    })
}

/// Gives a command that cannot succeed, to learn whether the user may give it at all.
async fn may(session: &Session, attempt: &str, words: &[&str]) -> Result<()> {
    match session.command(LOOKUP, attempt, words).await? {
        Err(cause)
            if cause.to_string().contains("NOPERM") || cause.to_string().contains("unknown command") =>
        {
            Err(errors::answer(cause, attempt, session.place()))
        }
        _ => Ok(()),
    }
}

fn replicates(server: &Server, info: &Info, place: &str) -> Result<()> {
    if server.replica && info.get("master_link_status") != Some("up") {
        let since = info.number("master_link_down_since_seconds");
        let since = since.map_or_else(|| "ever since".into(), |seconds| format!("for {seconds} s"));
        return Err(Error::temporary(format!(
            "the replica at {place} has lost its primary {since}, so its data may be old"
        ))
        .remedy("Mend the replication, or back up the primary."));
    }
    Ok(())
}

/// A save for which there is no room does harm: with `stop-writes-on-bgsave-error` the server takes no writes from
/// then on. So it is not tried where it can be foreseen, which is where the directory can be seen from here.
fn has_room(info: &Info, file: &Path, place: &str) -> Result<()> {
    let Some(directory) = file.parent() else { return Ok(()) };
    let Ok(free) = rustix::fs::statvfs(directory) else { return Ok(()) };
    let free = free.f_bavail.saturating_mul(free.f_frsize);
    // The old file stays until the new one is whole, and the data may have grown since.
    let needed = match file.metadata() {
        Ok(old) => old.len().saturating_add(old.len() / 2),
        Err(_) => info.number("used_memory_dataset").unwrap_or_default(),
    };
    if free >= needed {
        return Ok(());
    }
    Err(Error::input(format!(
        "{} has {} free, and a save of the server at {place} may need {}",
        directory.display(),
        show_bytes(free),
        show_bytes(needed)
    ))
    .remedy("Make room first: after a save that failed the server may refuse all writes. Or use the blueprint redis-dump, which needs none there."))
}
