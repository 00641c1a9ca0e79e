//! The server's variables that its files cannot be read without.

use serde_json::{Map, Value, json};
use standstill_core::Result;

use super::connect::{LOOKUP, Session, column};

/// What is recorded with a backup, and given to a scratch server. The first ones decide whether it starts at all.
const NAMES: &[&str] = &[
    "version",
    "version_comment",
    "log_bin",
    "log_bin_basename",
    "log_bin_index",
    "server_id",
    "innodb_page_size",
    "innodb_data_file_path",
    "innodb_undo_tablespaces",
    "innodb_log_file_size",
    "innodb_log_files_in_group",
    "innodb_checksum_algorithm",
    "innodb_file_per_table",
    "lower_case_table_names",
    "aria_log_file_size",
    "character_set_server",
    "collation_server",
    "sql_mode",
    "explicit_defaults_for_timestamp",
    "sync_binlog",
    "innodb_flush_log_at_trx_commit",
    "plugin_load_add",
];

/// Reads them; those that this version does not have are left out.
pub(super) async fn read(session: &Session) -> Result<Value> {
    let list = NAMES.iter().map(|name| format!("'{}'", name.to_uppercase())).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT LOWER(VARIABLE_NAME), VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES \
         WHERE VARIABLE_NAME IN ({list}) ORDER BY 1"
    );
    let rows = session.rows(LOOKUP, "read the server's variables", &sql, Vec::new()).await?;
    let pairs =
        rows.iter().map(|row| Ok((column::<String>(row, 0)?, json!(column::<Option<String>>(row, 1)?))));
    Ok(Value::Object(pairs.collect::<Result<Map<_, _>>>()?))
}
