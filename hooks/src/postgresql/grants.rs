//! What a role must be allowed to do, and the statements that allow it.

use standstill_core::{Error, Result};
use tokio_postgres::types::Type;

use super::{
    connect::{LOOKUP, Session, column},
    server::Server,
};

/// By what a backup is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum By {
    /// Statements that read.
    #[default]
    Reading,
    /// The replication protocol, which `pg_basebackup` speaks.
    Replication,
    /// Backup mode, its slot and the WAL.
    BackupMode,
}

/// What a verb is about to use.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Needs {
    /// What decides on attributes and functions.
    pub by: By,
    /// A named restore point, for exact facts.
    pub restore_point: bool,
    /// Settings such as the data directory, and other roles' transactions.
    pub monitor: bool,
}

/// The functions of backup mode; 15 renamed them.
pub(super) fn backup_functions(major: u32) -> (&'static str, &'static str) {
    if major >= 15 {
        ("pg_backup_start(text, boolean)", "pg_backup_stop(boolean)")
    } else {
        ("pg_start_backup(text, boolean, boolean)", "pg_stop_backup(boolean, boolean)")
    }
}

/// Refuses a role that lacks a grant, naming each that is missing and the statement that gives it.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`].
pub(super) async fn check(session: &Session, server: &Server, needs: Needs) -> Result<()> {
    let row = session
        .one(
            LOOKUP,
            "look at the role's attributes",
            "SELECT rolsuper, rolreplication, quote_ident(rolname), pg_has_role(current_user, 'pg_monitor', 'USAGE') \
             FROM pg_roles WHERE rolname = current_user",
            &[],
        )
        .await?;
    let (superuser, replication, monitor): (bool, bool, bool) =
        (column(&row, 0)?, column(&row, 1)?, column(&row, 3)?);
    if superuser {
        return Ok(());
    }
    let role: String = column(&row, 2)?;
    let (mut lacks, mut statements) = (Vec::new(), Vec::new());
    if needs.by != By::Reading && !replication {
        lacks.push("REPLICATION".to_owned());
        statements.push(format!("ALTER ROLE {role} REPLICATION;"));
    }
    if needs.monitor && !monitor {
        lacks.push("membership in pg_monitor".to_owned());
        statements.push(format!("GRANT pg_monitor TO {role};"));
    }
    let (start, stop) = backup_functions(server.version.major);
    let mut functions = Vec::new();
    if needs.by == By::BackupMode {
        functions.extend([start, stop, "pg_read_binary_file(text, bigint, bigint, boolean)"]);
    }
    if needs.restore_point {
        functions.push("pg_create_restore_point(text)");
    }
    for function in functions {
        let sql = "SELECT has_function_privilege(to_regprocedure($1), 'EXECUTE')";
        let row = session.one(LOOKUP, "look at the role's grants", sql, &[(&function, Type::TEXT)]).await?;
        if column::<Option<bool>>(&row, 0)? != Some(true) {
            lacks.push(format!("EXECUTE on {function}"));
            statements.push(format!("GRANT EXECUTE ON FUNCTION {function} TO {role};"));
        }
    }
    if lacks.is_empty() {
        return Ok(());
    }
    let where_ = format!("{} in database {}", session.place(), server.database);
    Err(Error::input(format!("role {role} lacks {} at {where_}", lacks.join(", "))).remedy(format!(
        "As a superuser, in database {}, run: {}",
        server.database,
        statements.join(" ")
    )))
}

/// Refuses a role that may not read all that a dump of the session's database reads: it would fail half-way, at the first
/// table that it may not lock. What belongs to an extension is made anew by that.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`].
pub(super) async fn may_read_everything(session: &Session) -> Result<()> {
    let sql = "SELECT count(*), coalesce(string_agg(name, ', ' ORDER BY name) FILTER (WHERE number <= 3), ''), \
            quote_ident(current_user), quote_ident(current_database()) \
        FROM (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, row_number() OVER () AS number \
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
            WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't' \
                AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' \
                AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') \
                AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))) unread";
    let row = session.one(LOOKUP, "look for tables that the role may not read", sql, &[]).await?;
    let count: i64 = column(&row, 0)?;
    if count == 0 {
        return Ok(());
    }
    let (names, role, database): (String, String, String) =
        (column(&row, 1)?, column(&row, 2)?, column(&row, 3)?);
    let more = if count > 3 { ", …" } else { "" };
    Err(Error::input(format!(
        "role {role} lacks membership in pg_read_all_data at {}: in database {database} it may not read {names}{more}",
        session.place()
    ))
    .remedy(format!("As a superuser, run: GRANT pg_read_all_data TO {role};")))
}
