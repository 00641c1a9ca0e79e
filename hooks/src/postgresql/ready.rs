//! The verb `ready`: everything that a physical backup needs, looked at before anything is touched.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
    point::Outputs,
    units::parse_duration,
};
use tokio_postgres::types::Type;

use super::{
    connect::{LOOKUP, Purpose, Session, column},
    grants::{self, By, Needs},
    server::Server,
};
use crate::server::volumes::{Volumes, real};

/// Which kind of server is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Role {
    /// Either will do.
    #[default]
    Any,
    /// It takes writes.
    Primary,
    /// It follows a primary.
    Standby,
}

/// What `ready` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// Which kind of server is asked for.
    #[serde(default)]
    role: Role,
    /// The volumes that are captured: data directory, WAL and all tablespaces must lie in them.
    #[serde(default)]
    covers: Vec<String>,
    /// Whether the role must be allowed to replicate, as `pg_basebackup` does.
    #[serde(default)]
    replicates: bool,
    /// Refuse while a transaction is older than this (`1h`); by default none is too old.
    #[serde(default)]
    max_transaction_age: Option<String>,
}

/// Does the verb.
pub(super) async fn ready(context: &HookContext, arguments: Arguments) -> Result<Called> {
    let session = Session::open(context, Purpose::Call).await?;
    let server = Server::of(&session).await?;
    role_fits(&session, &server, arguments.role)?;
    let by = match (arguments.covers.is_empty(), arguments.replicates) {
        (false, _) => By::BackupMode,
        (true, true) => By::Replication,
        (true, false) => By::Reading,
    };
    grants::check(&session, &server, Needs { by, monitor: true, ..Needs::default() }).await?;
    settings_fit(&session, by == By::BackupMode).await?;
    no_old_transaction(&session, arguments.max_transaction_age.as_deref()).await?;
    let layout = Layout::of(&session).await?;
    let wal = if arguments.covers.is_empty() {
        layout.data.join("pg_wal")
    } else {
        layout.covered(context, &session, &arguments.covers).await?
    };
    session.close().await;
    let tablespaces: Vec<_> = layout.tablespaces.iter().map(|path| json!(path)).collect();
    Ok(Called {
        outputs: Outputs::from([
            ("dataDirectory".into(), json!(layout.data)),
            ("walDirectory".into(), json!(wal)),
            ("tablespaces".into(), json!(tablespaces)),
            ("version".into(), json!(server.version.full)),
            ("role".into(), json!(server.role_name())),
        ]),
        ..Called::default()
    })
}

fn role_fits(session: &Session, server: &Server, role: Role) -> Result<()> {
    let wanted = match (role, server.standby) {
        (Role::Any, _) | (Role::Primary, false) | (Role::Standby, true) => return Ok(()),
        (Role::Primary, true) => "primary",
        (Role::Standby, false) => "standby",
    };
    let found = server.role_name();
    Err(Error::input(format!("PostgreSQL at {} is a {found}, and a {wanted} was asked for", session.place()))
        .remedy(format!("Connect to the {wanted}, or ask for role `any`.")))
}

async fn settings_fit(session: &Session, backup: bool) -> Result<()> {
    if !backup {
        return Ok(());
    }
    let sql = "SELECT current_setting('wal_level'), current_setting('max_replication_slots')::int8, \
        (SELECT count(*) FROM pg_replication_slots), current_setting('max_wal_senders')::int8";
    let row = session.one(LOOKUP, "look at the server's settings", sql, &[]).await?;
    let level: String = column(&row, 0)?;
    if level == "minimal" {
        return Err(Error::input(format!("wal_level of PostgreSQL at {} is minimal", session.place()))
            .remedy("Set `wal_level = replica` and restart the server: a backup needs the WAL that minimal leaves out."));
    }
    let (slots, taken): (i64, i64) = (column(&row, 1)?, column(&row, 2)?);
    if taken >= slots {
        return Err(Error::input(format!("all {slots} replication slots of PostgreSQL at {} are taken", session.place()))
            .remedy("Drop a slot that nobody uses (pg_replication_slots lists them), or raise `max_replication_slots` and restart the server."));
    }
    Ok(())
}

async fn no_old_transaction(session: &Session, limit: Option<&str>) -> Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    let seconds = parse_duration(limit)?.as_secs_f64();
    let sql = "SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::float8, \
            coalesce(usename::text, ''), coalesce(application_name, '') \
         FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() \
           AND xact_start < clock_timestamp() - make_interval(secs => $1) ORDER BY xact_start LIMIT 1";
    let rows = session.rows(LOOKUP, "look for old transactions", sql, &[(&seconds, Type::FLOAT8)]).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (pid, age): (i32, f64) = (column(row, 0)?, column(row, 1)?);
    let (user, program): (String, String) = (column(row, 2)?, column(row, 3)?);
    Err(Error::temporary(format!(
        "a transaction of process {pid} (role {user}, program `{program}`) at {} has been open for {age:.0} s, longer than {limit}",
        session.place()
    ))
    .remedy(format!("Let it end, or end it: SELECT pg_terminate_backend({pid});")))
}

/// Where the server keeps its files, as it sees them itself.
struct Layout {
    data: PathBuf,
    tablespaces: Vec<PathBuf>,
}

impl Layout {
    async fn of(session: &Session) -> Result<Self> {
        let sql = "SELECT current_setting('data_directory')";
        let row = session.one(LOOKUP, "find the data directory", sql, &[]).await?;
        let data = PathBuf::from(column::<String>(&row, 0)?);
        // A tablespace that is in place lies in the data directory and has a relative location.
        let sql = "SELECT pg_tablespace_location(oid) FROM pg_tablespace \
            WHERE pg_tablespace_location(oid) LIKE '/%' ORDER BY 1";
        let rows = session.rows(LOOKUP, "find the tablespaces", sql, &[]).await?;
        let paths = rows.iter().map(|row| column::<String>(row, 0).map(PathBuf::from));
        Ok(Self { data, tablespaces: paths.collect::<Result<_>>()? })
    }

    /// Refuses volumes that would miss a part of the database, or belong to another one; returns where the WAL is.
    async fn covered(&self, context: &HookContext, session: &Session, covers: &[String]) -> Result<PathBuf> {
        let volumes = Volumes::of(context, covers)?;
        let data = real(&self.data);
        if !volumes.hold(&data) {
            return Err(Error::input(format!(
                "the data directory of PostgreSQL at {} is {}, which is not in {volumes}",
                session.place(),
                data.display()
            ))
            .remedy("Correct the path of the volume, or the address of the server."));
        }
        self.is_this_servers(session, &data).await?;
        let wal = real(&data.join("pg_wal"));
        let missing: Vec<_> = std::iter::once(wal.clone())
            .chain(self.tablespaces.iter().map(|path| real(path)))
            .filter(|path| !volumes.hold(path))
            .map(|path| path.display().to_string())
            .collect();
        if missing.is_empty() {
            return Ok(wal);
        }
        Err(Error::input(format!("the captured volumes {volumes} miss {}", missing.join(" and ")))
            .remedy("Declare a volume for each of these places, capture it, and name it in `covers`."))
    }

    /// Binds the files to the session: where the data directory can be seen from here, its `postmaster.pid` must
    /// be the very one that the server reads.
    async fn is_this_servers(&self, session: &Session, data: &Path) -> Result<()> {
        if !data.join("PG_VERSION").exists() {
            if data.exists() {
                return Err(not_its_directory(session, data, "it has no PG_VERSION"));
            }
            // The files are on another machine: the runtime that reads them there is bound by its address.
            return Ok(());
        }
        let here = std::fs::read(data.join("postmaster.pid")).map_err(|cause| {
            not_its_directory(session, data, "its postmaster.pid cannot be read").because(cause)
        })?;
        let sql = "SELECT pg_read_binary_file('postmaster.pid', 0, 8192, true)";
        let row = session.one(LOOKUP, "read postmaster.pid", sql, &[]).await?;
        let there: Vec<u8> = column::<Option<Vec<u8>>>(&row, 0)?.unwrap_or_default();
        if identifying(&here) != identifying(&there) {
            return Err(not_its_directory(session, data, "another server runs on it"));
        }
        Ok(())
    }
}

/// The lines of `postmaster.pid` that tell a server from every other: process, directory, start and port. The
/// lines after them change while it runs.
fn identifying(file: &[u8]) -> Vec<&[u8]> {
    file.split(|byte| *byte == b'\n').take(4).map(<[u8]>::trim_ascii).collect()
}

fn not_its_directory(session: &Session, data: &Path, why: &str) -> Error {
    Error::input(format!(
        "{} is not the data directory of PostgreSQL at {}: {why}",
        data.display(),
        session.place()
    ))
    .remedy("Give the volume and the address of one and the same server.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_differ_in_their_postmaster_files_though_process_and_port_are_the_same() {
        let one = b"1\n/data\n1763800000\n5432\n/run\n*\n123 4\nready   \n";
        let same = b"1\n/data\n1763800000\n5432\n/run\n*\n123 4\nstopping\n";
        let other = b"1\n/data\n1763800007\n5432\n/run\n*\n123 4\nready   \n";
        assert_eq!(identifying(one), identifying(same));
        assert_ne!(identifying(one), identifying(other));
    }
}
