//! MariaDB in a pod, by the blueprints that ship: backed up under a writer, verified, restored.

use crate::{
    blueprints::in_rounds,
    support::{mariadb::Maria, writer::assert_whole},
};

#[test]
fn a_mariadb_under_a_writer_comes_back_whole_from_a_snapshot() {
    in_rounds("maria", |space| {
        let server = Maria::start(space);
        let data = "--set=dataDir=/var/lib/mysql/data";
        let (before, after) = server.back_up(&["mariadb", "--name=shop", "--set=user=backup", data]);
        server.ok(&["restore", "latest", "--set=target.claim=restored"], "statefulset/maria");
        assert_whole(&Maria::second(space, Some("restored")).numbers(), before, after);
        space.assert_clean();
    });
}

#[test]
fn a_mariadb_under_a_writer_comes_back_whole_from_a_dump() {
    in_rounds("mariadump", |space| {
        let server = Maria::start(space);
        let (before, after) = server.back_up(&["mariadb-dump", "--name=shop", "--set=user=backup"]);
        let second = Maria::second(space, None);
        // As root at the server's own host has it: the restored users' grants pass it on.
        second.sql("GRANT PROXY ON ''@'%' TO root@'%' WITH GRANT OPTION");
        server.ok(&["restore", "latest", "--set=user=root"], "pod/second");
        assert_whole(&second.numbers(), before, after);
        space.assert_clean();
    });
}
