//! The whole way: backup, list, show, verify, restore, forget, check.

use crate::support::{Subject, kind::Kind, postgresql::Version, sample::Random, writer::assert_whole};

/// Goes the whole way with one blueprint, under a writer.
#[track_caller]
fn goes_the_whole_way(kind: &Kind) {
    let Some(subject) = Subject::new(kind) else { return };
    let place = &subject.place;
    let writer = subject.database().writer();
    let before = writer.acknowledged();
    let first = subject.backup_ok();
    let after = writer.acknowledged() + 1;
    writer.goes_on(std::time::Duration::from_secs(10));
    // At full rate the database would grow for as long as all the rest takes.
    writer.slow_down();

    assert_eq!(place.points(), [first.as_str()]);
    let shown = place.ok(["show", "latest", "--output=json"]).json();
    assert_eq!(shown["point"]["id"], first, "{shown}");
    assert_eq!(shown["point"]["consistency"], "application", "{shown}");
    assert_eq!(shown["point"]["blueprint"], kind.blueprint(), "{shown}");

    subject.verify_ok(&first);
    let restored = subject.restore(&first, "restored");
    assert_whole(&subject.read(&restored), before, after);
    drop(restored);

    let second = subject.backup_ok();
    assert_eq!(place.points(), [first.clone(), second.clone()]);
    drop(writer);

    // The first one is the newest that is verified, so no rule removes it.
    place.ok(["forget", "--keep-last=1", "--prune"]);
    assert_eq!(place.points(), [first.clone(), second.clone()], "the newest verified one is kept");
    place.ok(["check", "--read-data"]);
    place.ok(["forget", &second, "--prune"]);
    assert_eq!(place.points(), [first.as_str()]);
    subject.verify_ok(&first);
    subject.assert_clean();
}

/// With one of the versions that are there, or with all of them in the full form.
#[track_caller]
fn with_versions(test: &str, kind: impl Fn(Version) -> Kind) {
    for version in Random::of(test).sample(Version::all(), 1) {
        goes_the_whole_way(&kind(version));
    }
}

#[test]
fn sqlite_goes_the_whole_way_from_a_copy() {
    goes_the_whole_way(&Kind::Sqlite);
}

#[test]
fn sqlite_goes_the_whole_way_from_a_snapshot() {
    goes_the_whole_way(&Kind::SqliteOnBtrfs);
}

#[test]
fn sqlite_online_goes_the_whole_way() {
    goes_the_whole_way(&Kind::SqliteOnline);
}

#[test]
fn postgresql_goes_the_whole_way_from_its_live_files() {
    with_versions("the whole way Postgresql", Kind::Postgresql);
}

#[test]
fn postgresql_goes_the_whole_way_from_a_snapshot() {
    with_versions("the whole way PostgresqlOnBtrfs", Kind::PostgresqlOnBtrfs);
}

#[test]
fn postgresql_goes_the_whole_way_from_a_copy() {
    if let Some(version) = Version::first() {
        goes_the_whole_way(&Kind::PostgresqlCopied(version));
    }
}

#[test]
fn postgresql_goes_the_whole_way_by_pg_basebackup() {
    with_versions("the whole way Basebackup", Kind::Basebackup);
}

#[test]
fn postgresql_goes_the_whole_way_by_pg_dump() {
    with_versions("the whole way Dump", Kind::Dump);
}

#[test]
fn mariadb_goes_the_whole_way_from_a_snapshot() {
    goes_the_whole_way(&Kind::Mariadb);
}

#[test]
fn mariadb_goes_the_whole_way_from_a_snapshot_with_commits_blocked() {
    goes_the_whole_way(&Kind::MariadbBlocked);
}

#[test]
fn mariadb_goes_the_whole_way_by_mariadb_dump() {
    goes_the_whole_way(&Kind::MariadbDump);
}

#[test]
fn mysql_goes_the_whole_way_from_a_snapshot() {
    goes_the_whole_way(&Kind::Mysql);
}

#[test]
fn mysql_goes_the_whole_way_from_a_snapshot_with_writes_blocked() {
    goes_the_whole_way(&Kind::MysqlBlocked);
}

#[test]
fn mysql_goes_the_whole_way_by_mysqldump() {
    goes_the_whole_way(&Kind::MysqlDump);
}

#[test]
fn an_application_of_ones_own_goes_the_whole_way_by_a_pair_of_commands() {
    goes_the_whole_way(&Kind::Pair);
}

#[test]
fn an_application_of_ones_own_goes_the_whole_way_by_a_session() {
    goes_the_whole_way(&Kind::Session);
}

#[test]
fn redis_goes_the_whole_way_by_a_save() {
    goes_the_whole_way(&Kind::Redis);
    goes_the_whole_way(&Kind::RedisOnBtrfs);
}

#[test]
fn redis_goes_the_whole_way_by_its_append_only_file() {
    goes_the_whole_way(&Kind::RedisAof);
    goes_the_whole_way(&Kind::RedisAofOnBtrfs);
}

#[test]
fn redis_goes_the_whole_way_by_a_dump() {
    goes_the_whole_way(&Kind::RedisDump);
}

#[test]
fn every_blueprint_that_ships_is_free_of_mistakes() {
    let place = crate::support::Place::new();
    let blueprints = place.ok(["blueprints", "--output=json"]).json();
    let names: Vec<&str> =
        blueprints.as_array().unwrap().iter().map(|blueprint| blueprint["name"].as_str().unwrap()).collect();
    for expected in [
        "mariadb",
        "mariadb-backup",
        "mariadb-dump",
        "mysql",
        "mysql-dump",
        "postgresql",
        "postgresql-basebackup",
        "postgresql-dump",
        "redis",
        "redis-aof",
        "redis-dump",
        "sqlite",
    ] {
        assert!(names.contains(&expected), "{names:?}");
    }
    place.ok(["lint"].iter().chain(&names));
}

#[test]
fn a_plan_touches_nothing() {
    let Some(subject) = Subject::new(&Kind::Sqlite) else { return };
    let mut arguments = subject.backup_arguments();
    "plan".clone_into(&mut arguments[0]);
    let plan = subject.place.ok(arguments).json();
    assert!(
        plan["steps"].as_array().is_some_and(|steps| steps.iter().any(|step| step["phase"] == "quiesce")),
        "{plan}"
    );
    assert_eq!(subject.place.run_ids(), Vec::<String>::new());
    subject.assert_clean();
}
