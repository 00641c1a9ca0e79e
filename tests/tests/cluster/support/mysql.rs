//! What is particular about servers of MySQL; the rest is [`super::mariadb`]'s.

use super::mariadb::Flavour;

/// MySQL.
pub static MYSQL: Flavour = Flavour {
    name: "my",
    image: "mysql",
    serve: "serve-mysql",
    client: "mysql",
    admin: "mysqladmin",
    password_file: "MYSQL_ROOT_PASSWORD_FILE",
    grants: "BACKUP_ADMIN, PROCESS, SELECT, RELOAD, REPLICATION CLIENT, SHOW VIEW, TRIGGER, EVENT",
    numbers: "SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 1 AS seq FROM \
        (VALUES ROW(0), ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8), ROW(9)) AS a (n), \
        (VALUES ROW(0), ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8), ROW(9)) AS b (n), \
        (VALUES ROW(0), ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8), ROW(9)) AS c (n), \
        (VALUES ROW(0), ROW(1), ROW(2), ROW(3), ROW(4)) AS d (n)",
    prepare: "",
    held: "SELECT CONCAT(OBJECT_TYPE, ' of thread ', OWNER_THREAD_ID) FROM performance_schema.metadata_locks \
        WHERE OBJECT_TYPE IN ('BACKUP LOCK', 'GLOBAL', 'COMMIT') AND LOCK_DURATION = 'EXPLICIT';",
    try_to_hold: "DO 0;",
};
