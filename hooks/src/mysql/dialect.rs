//! MySQL's own words.

use std::time::Duration;

use super::{NAME, position::sequences};
use crate::mysql_protocol::{
    copy::Scratch,
    dialect::{Binding, Dialect},
    lease::Limits,
    names::Name,
};

/// MySQL.
pub(crate) static MYSQL: Dialect = Dialect {
    hook: NAME,
    product: "MySQL",
    other: "MariaDB",
    is_ours: |version| !version.contains("MariaDB"),
    // The lock for backups and `log_status` are new in it.
    oldest: (8, 0),
    socket: "mysql.sock",
    // Messages in English, because some are read; short waits for locks, because the default is a year; and looking at
    // tables writes nothing, as caching their statistics would.
    session: "SET SESSION sql_mode = '', lc_messages = 'en_US', autocommit = 1, sql_select_limit = DEFAULT, \
        lock_wait_timeout = 3, innodb_lock_wait_timeout = 3, time_zone = '+00:00', \
        information_schema_stats_expiry = 0",
    arm,
    patient: "SET SESSION max_execution_time = 0, wait_timeout = 28800, net_write_timeout = 60",
    count,
    // Counters of statements are not among the status variables of the performance schema.
    activity: "SELECT \
        (SELECT SUM(VARIABLE_VALUE) FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Handler_write'), \
        (SELECT SUM(VARIABLE_VALUE) FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Handler_delete'), \
        (SELECT COALESCE(SUM(COUNT_STAR), 0) + 0E0 \
            FROM performance_schema.events_statements_summary_global_by_event_name \
            WHERE EVENT_NAME IN ('statement/sql/truncate', 'statement/sql/drop_table', 'statement/sql/create_table', \
                'statement/sql/alter_table', 'statement/sql/rename_table'))",
    busy,
    waiting: "SELECT PROCESSLIST_ID, CONCAT(PROCESSLIST_USER, '@', PROCESSLIST_HOST), \
            UPPER(REGEXP_SUBSTR(COALESCE(PROCESSLIST_INFO, PROCESSLIST_COMMAND), '[A-Za-z_]+')) \
        FROM performance_schema.threads WHERE PROCESSLIST_STATE = 'Waiting for backup lock'",
    variables: "performance_schema.global_variables",
    recorded: &[
        "version",
        "version_comment",
        "log_bin",
        "log_bin_basename",
        "log_bin_index",
        "server_id",
        "server_uuid",
        "gtid_mode",
        "enforce_gtid_consistency",
        "innodb_page_size",
        "innodb_data_file_path",
        "innodb_redo_log_capacity",
        "innodb_checksum_algorithm",
        "innodb_file_per_table",
        "lower_case_table_names",
        "character_set_server",
        "collation_server",
        "sql_mode",
        "explicit_defaults_for_timestamp",
        "sync_binlog",
        "innodb_flush_log_at_trx_commit",
        "default_table_encryption",
    ],
    // It needs REPLICATION CLIENT, and 8.0.22.
    replication: "SHOW REPLICA STATUS",
    replicating: "SELECT COUNT(*) FROM performance_schema.replication_connection_status WHERE SERVICE_STATE <> 'OFF'",
    transactions: "SELECT @@GLOBAL.gtid_executed",
    sequences,
    places: &[
        ("system tablespace", "COALESCE(@@innodb_data_home_dir, '')"),
        ("redo log", "@@innodb_log_group_home_dir"),
        ("undo tablespaces", "COALESCE(@@innodb_undo_directory, '')"),
        ("binary log", "COALESCE(REGEXP_REPLACE(@@log_bin_basename, '[^/]*$', ''), '')"),
    ],
    tablespaces: "SELECT TABLESPACE_NAME, FILE_NAME FROM information_schema.FILES \
        WHERE FILE_TYPE = 'TABLESPACE' AND (FILE_NAME LIKE '/%' OR FILE_NAME LIKE '../%') ORDER BY 1",
    binding: Binding::Identity,
    backup_grants: &[
        ("BACKUP_ADMIN", "the lock for backups"),
        ("PROCESS", "long statements, and where tables lie"),
        ("SELECT", "the tables' engines, and counts"),
    ],
    dump_grants: &[
        ("SELECT", "the rows"),
        ("SHOW VIEW", "views"),
        ("TRIGGER", "triggers"),
        ("EVENT", "events"),
    ],
    scratch: Scratch {
        section: "[mysqld]",
        directories: &["datadir", "tmpdir"],
        // Settings that were made to persist may name the original's places.
        fixed: &[
            "persisted-globals-load = OFF",
            "loose-skip-replica-start",
            "loose-skip-slave-start",
            "loose-mysqlx = OFF",
            "secure-file-priv = NULL",
        ],
        of_files: &[
            "server_id",
            "innodb_page_size",
            "innodb_data_file_path",
            // One before the other: the mode needs it.
            "enforce_gtid_consistency",
            "gtid_mode",
        ],
    },
};

/// The limit of a statement's time is one of reading statements only; those that take locks wait no longer for them
/// than `lock_wait_timeout`.
fn arm(limits: &Limits, statement: Duration) -> String {
    format!("SET SESSION {}, max_execution_time = {}", limits.common(), statement.as_millis().max(1))
}

fn count(name: &Name, within: Duration) -> String {
    let limit = within.as_millis().max(1);
    format!("SELECT /*+ MAX_EXECUTION_TIME({limit}) */ COUNT(*) FROM {}", name.sql())
}

/// The process list knows whole seconds only, so the age is that of the statement's event, where there is one.
fn busy(readers: bool) -> String {
    let writes = if readers {
        ""
    } else {
        "AND p.INFO NOT REGEXP '^[[:space:](]*(SELECT|SHOW|DO|SET|WITH|EXPLAIN|DESC|DESCRIBE|TABLE|VALUES|LOCK INSTANCE|FLUSH)[[:space:](]'"
    };
    let age = "COALESCE(e.TIMER_WAIT / 1E12, p.TIME)";
    format!(
        "SELECT p.ID, CONCAT(p.USER, '@', p.HOST), {age} + 0E0, \
            UPPER(REGEXP_SUBSTR(COALESCE(p.INFO, p.COMMAND), '[A-Za-z_]+')) \
        FROM performance_schema.processlist p \
            LEFT JOIN performance_schema.threads t ON t.PROCESSLIST_ID = p.ID \
            LEFT JOIN performance_schema.events_statements_current e \
                ON e.THREAD_ID = t.THREAD_ID AND e.END_EVENT_ID IS NULL AND e.NESTING_EVENT_LEVEL = 0 \
        WHERE p.COMMAND IN ('Query', 'Execute') AND p.ID <> CONNECTION_ID() AND {age} > ? {writes} \
        ORDER BY 3 DESC LIMIT 1"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_armed_with_every_limit() {
        let limits = Limits::of(Duration::from_secs(10));
        let armed = arm(&limits, limits.statement);
        for part in ["wait_timeout = 6", "max_execution_time = 2000", "net_write_timeout = 1"] {
            assert!(armed.contains(part), "{armed}");
        }
    }
}
