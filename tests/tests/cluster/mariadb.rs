//! MariaDB in a pod, by the blueprints that ship: backed up under a writer, verified, restored. MySQL by the same.

use crate::{
    blueprints::in_rounds,
    support::{
        Space,
        mariadb::{Flavour, MARIADB, Server},
        mysql::MYSQL,
        writer::assert_whole,
    },
};

/// By the files: into another claim.
#[track_caller]
fn by_files(space: &Space, flavour: &'static Flavour, blueprint: &str) {
    if !flavour.is_here(space) {
        return;
    }
    let server = Server::start(space, flavour);
    let data = "--set=dataDir=/var/lib/mysql/data";
    let (before, after) = server.back_up(&[blueprint, "--name=shop", "--set=user=backup", data]);
    server.ok(&["restore", "latest", "--set=target.claim=restored"], &server.target());
    assert_whole(&Server::second(space, flavour, Some("restored")).numbers(), before, after);
    space.assert_clean();
}

/// By statements: into another server, which `prepare` makes ready for them.
#[track_caller]
fn by_statements(space: &Space, flavour: &'static Flavour, blueprint: &str, prepare: &str) {
    if !flavour.is_here(space) {
        return;
    }
    let server = Server::start(space, flavour);
    let (before, after) = server.back_up(&[blueprint, "--name=shop", "--set=user=backup"]);
    let second = Server::second(space, flavour, None);
    second.sql(prepare);
    server.ok(&["restore", "latest", "--set=user=root"], "pod/second");
    assert_whole(&second.numbers(), before, after);
    space.assert_clean();
}

#[test]
fn a_mariadb_under_a_writer_comes_back_whole_from_a_snapshot() {
    in_rounds("maria", |space| by_files(space, &MARIADB, "mariadb"));
}

#[test]
fn a_mariadb_under_a_writer_comes_back_whole_from_its_own_backup_program() {
    in_rounds("mariabackup", |space| by_files(space, &MARIADB, "mariadb-backup"));
}

#[test]
fn a_mariadb_under_a_writer_comes_back_whole_from_a_dump() {
    // As root at the server's own host has it: the restored users' grants pass it on.
    let passes_on = "GRANT PROXY ON ''@'%' TO root@'%' WITH GRANT OPTION";
    in_rounds("mariadump", |space| by_statements(space, &MARIADB, "mariadb-dump", passes_on));
}

#[test]
fn a_mysql_under_a_writer_comes_back_whole_from_a_snapshot() {
    in_rounds("mysql", |space| by_files(space, &MYSQL, "mysql"));
}

#[test]
fn a_mysql_under_a_writer_comes_back_whole_from_a_dump() {
    in_rounds("mysqldump", |space| by_statements(space, &MYSQL, "mysql-dump", "DO 0"));
}
