//! What a role must be allowed to do, and the statements that allow it.

use standstill_core::{Error, Result};
use tokio_postgres::types::Type;

use super::{
    connect::{LOOKUP, Session, column},
    server::Server,
};

/// What a verb is about to use.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Needs {
    /// Backup mode, its slot and the WAL.
    pub backup: bool,
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
    if needs.backup && !replication {
        lacks.push("REPLICATION".to_owned());
        statements.push(format!("ALTER ROLE {role} REPLICATION;"));
    }
    if needs.monitor && !monitor {
        lacks.push("membership in pg_monitor".to_owned());
        statements.push(format!("GRANT pg_monitor TO {role};"));
    }
    let (start, stop) = backup_functions(server.version.major);
    let mut functions = Vec::new();
    if needs.backup {
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
