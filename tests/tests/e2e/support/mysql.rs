//! What is particular about servers of MySQL; the rest is [`super::mariadb`]'s.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::mariadb::{self, Flavour};

/// MySQL.
pub static MYSQL: Flavour = Flavour {
    name: "MySQL",
    server: "mysqld",
    make: ("mysqld", &["--initialize-insecure", "--secure-file-priv=NULL"]),
    programs: || programs().into_iter().collect(),
    section: "[mysqld]",
    settings: "innodb-flush-log-at-trx-commit = 2\ninnodb-buffer-pool-size = 32M\n\
        innodb-redo-log-capacity = 64M\ninnodb-use-native-aio = OFF\nskip-name-resolve\nmysqlx = OFF\n\
        secure-file-priv = NULL\n",
    grants: "BACKUP_ADMIN, PROCESS, SELECT, RELOAD, REPLICATION CLIENT",
    grants_for_dumps: "SHOW VIEW, TRIGGER, EVENT",
    prepare: "DO 0",
    numbers: "SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 1 AS seq FROM \
        (VALUES ROW(0), ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8), ROW(9)) AS a (n), \
        (VALUES ROW(0), ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8), ROW(9)) AS b (n), \
        (VALUES ROW(0), ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8), ROW(9)) AS c (n), \
        (VALUES ROW(0), ROW(1), ROW(2), ROW(3), ROW(4)) AS d (n)",
    processes: "performance_schema.processlist",
    held: "SELECT CONCAT(OBJECT_TYPE, ' of thread ', OWNER_THREAD_ID) FROM performance_schema.metadata_locks \
        WHERE OBJECT_TYPE IN ('BACKUP LOCK', 'GLOBAL', 'COMMIT') AND LOCK_DURATION = 'EXPLICIT'",
    try_to_hold: "DO 0",
};

/// Where its programs are, and the servers' user may run them: unpacked by `tests/unpack-mysql`.
pub fn programs() -> Option<PathBuf> {
    let place = std::env::var_os("STANDSTILL_MYSQL").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        Some(cache.join("standstill/mysql"))
    })?;
    let server = place.join("bin/mysqld");
    if !server.exists() {
        return None;
    }
    if mariadb::server_user().is_none() {
        return Some(place.join("bin"));
    }
    // Another user cannot get into root's home, so what is there is copied once.
    let copy = Path::new("/var/tmp/standstill-tests-mysql");
    if !copy.exists() {
        let fresh = PathBuf::from(format!("{}.{}", copy.display(), std::process::id()));
        let copied = Command::new("cp").arg("-a").args([&place, &fresh]).status().ok()?;
        // Another test may have been quicker.
        if !copied.success() || fs::rename(&fresh, copy).is_err() {
            fs::remove_dir_all(&fresh).ok()?;
        }
    }
    Some(copy.join("bin"))
}
