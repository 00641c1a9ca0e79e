//! MariaDB's own words.

use std::time::Duration;

use super::{NAME, position::sequences};
use crate::mysql_protocol::{
    copy::Scratch,
    dialect::{Binding, Dialect},
    lease::Limits,
    names::Name,
};

/// MariaDB.
pub(crate) static MARIADB: Dialect = Dialect {
    hook: NAME,
    product: "MariaDB",
    other: "MySQL",
    is_ours: |version| version.contains("MariaDB"),
    // It split the privileges that a backup needs, so that they can be granted one by one.
    oldest: (10, 5),
    socket: "mariadb.sock",
    // Messages in English, because some are read; short waits for locks, because the default is a day.
    session: "SET SESSION sql_mode = '', lc_messages = 'en_US', autocommit = 1, sql_select_limit = DEFAULT, \
        lock_wait_timeout = 3, innodb_lock_wait_timeout = 3, idle_transaction_timeout = 0, \
        idle_readonly_transaction_timeout = 0, time_zone = '+00:00'",
    arm,
    patient: "SET SESSION max_statement_time = 0, wait_timeout = 28800, net_write_timeout = 60",
    count,
    activity: "SELECT SUM(IF(VARIABLE_NAME = 'HANDLER_WRITE', VARIABLE_VALUE, 0)), \
            SUM(IF(VARIABLE_NAME = 'HANDLER_DELETE', VARIABLE_VALUE, 0)), \
            SUM(IF(VARIABLE_NAME LIKE 'COM\\_%', VARIABLE_VALUE, 0)) \
        FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN ('HANDLER_WRITE', 'HANDLER_DELETE', \
            'COM_TRUNCATE', 'COM_DROP_TABLE', 'COM_CREATE_TABLE', 'COM_ALTER_TABLE', 'COM_RENAME_TABLE')",
    busy,
    waiting: "SELECT ID, CONCAT(USER, '@', HOST), UPPER(REGEXP_SUBSTR(COALESCE(INFO, COMMAND), '[A-Za-z_]+')) \
        FROM information_schema.PROCESSLIST WHERE STATE = 'Waiting for backup lock'",
    variables: "information_schema.GLOBAL_VARIABLES",
    recorded: &[
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
    ],
    // It needs SLAVE MONITOR.
    replication: "SHOW ALL SLAVES STATUS",
    replicating: "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Slave\\_%'",
    transactions: "SELECT @@gtid_binlog_state",
    sequences,
    places: &[
        ("system tablespace", "COALESCE(@@innodb_data_home_dir, '')"),
        ("redo log", "@@innodb_log_group_home_dir"),
        ("undo tablespaces", "COALESCE(@@innodb_undo_directory, '')"),
        ("Aria log", "@@aria_log_dir_path"),
        ("binary log", "COALESCE(REGEXP_REPLACE(@@log_bin_basename, '[^/]*$', ''), '')"),
    ],
    tablespaces: "SELECT NAME, FILENAME FROM information_schema.INNODB_SYS_TABLESPACES \
        WHERE FILENAME LIKE '/%' OR FILENAME LIKE '../%' ORDER BY NAME",
    binding: Binding::Checkpoint,
    backup_grants: &[
        ("RELOAD", "the backup stages"),
        ("PROCESS", "long statements, and where tables lie"),
        ("BINLOG MONITOR", "the binary log's position"),
        ("SELECT", "the tables' engines, and counts"),
    ],
    dump_grants: &[
        ("SELECT", "the rows"),
        ("LOCK TABLES", "the start of the dump"),
        ("SHOW VIEW", "views"),
        ("TRIGGER", "triggers"),
        ("EVENT", "events"),
        ("PROCESS", "tablespaces"),
    ],
    scratch: Scratch {
        section: "[mariadbd]",
        directories: &["datadir", "tmpdir", "aria-log-dir-path"],
        fixed: &["skip-slave-start", "wsrep-on = OFF", "innodb-data-home-dir ="],
        of_files: &[
            "server_id",
            "innodb_page_size",
            "innodb_data_file_path",
            "innodb_undo_tablespaces",
            "innodb_log_file_size",
        ],
    },
};

fn arm(limits: &Limits, statement: Duration) -> String {
    format!("SET SESSION {}, max_statement_time = {:.3}", limits.common(), statement.as_secs_f64())
}

fn count(name: &Name, within: Duration) -> String {
    let limit = within.as_secs_f64();
    format!("SET STATEMENT max_statement_time = {limit:.3} FOR SELECT COUNT(*) FROM {}", name.sql())
}

fn busy(readers: bool) -> String {
    let writes = if readers {
        ""
    } else {
        "AND INFO NOT REGEXP '^[[:space:](]*(SELECT|SHOW|DO|SET|WITH|EXPLAIN|DESC|DESCRIBE|ANALYZE FORMAT|BACKUP)[[:space:](]'"
    };
    format!(
        "SELECT ID, CONCAT(USER, '@', HOST), TIME_MS / 1000, \
            UPPER(REGEXP_SUBSTR(COALESCE(INFO, COMMAND), '[A-Za-z_]+')) \
        FROM information_schema.PROCESSLIST \
        WHERE COMMAND IN ('Query', 'Execute') AND ID <> CONNECTION_ID() AND TIME_MS / 1000 > ? {writes} \
        ORDER BY TIME_MS DESC LIMIT 1"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_armed_with_every_limit() {
        let limits = Limits::of(Duration::from_secs(10));
        let armed = arm(&limits, limits.statement);
        for part in ["wait_timeout = 6", "max_statement_time = 2.000", "net_write_timeout = 1"] {
            assert!(armed.contains(part), "{armed}");
        }
    }
}
