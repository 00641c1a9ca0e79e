//! Consistent means consistent: rounds of backups under a writer at full rate.

use std::fs;

use crate::support::{
    Subject, filesystem::Kind as On, kind::Kind, postgresql::Version, sample::full, writer::assert_whole,
};

/// Backs up, restores and reads, again and again; beside it the control, a plain copy of the live files.
#[track_caller]
fn stays_consistent(kind: &Kind) {
    let Some(subject) = Subject::new(kind) else { return };
    let rounds = if full() { 20 } else { 1 };
    let mut control = Vec::new();
    for round in 0..rounds {
        // It writes while copies are made, and not while they are read: else the database grows for ever.
        let writer = subject.database().writer();
        let careless = subject.place.join(&format!("careless-{round}"));
        let plain = kind.is_physical().then(|| {
            let before = writer.acknowledged();
            let copied = subject.database().plain_copy(&careless);
            (copied, before, writer.acknowledged() + 1)
        });
        let before = writer.acknowledged();
        let point = subject.backup_ok();
        let after = writer.acknowledged() + 1;
        writer.stop();
        if let Some((copied, before, after)) = plain {
            control.push(judge(&subject, &careless, before, after, copied));
            fs::remove_dir_all(&careless).unwrap();
        }
        let restored = subject.restore(&point, &format!("copy-{round}"));
        assert_whole(&subject.read(&restored), before, after);
        let copy = restored.copy.clone();
        drop(restored);
        fs::remove_dir_all(copy).unwrap();
    }
    println!("{kind}: {rounds} of {rounds} backups are whole; plain copies without a quiesce, as a control:");
    for outcome in control {
        println!("  {outcome}");
    }
    subject.assert_clean();
}

/// What a careless copy turned out to be.
fn judge(subject: &Subject, copy: &std::path::Path, before: i64, after: i64, copied: bool) -> String {
    if !copied {
        return "wrong: it could not even be copied".to_owned();
    }
    match subject.database().read_careless_copy(copy) {
        Err(cause) => format!("wrong: {}", cause.lines().next().unwrap_or_default()),
        Ok(numbers) => {
            let judged = std::panic::catch_unwind(|| assert_whole(&numbers, before, after));
            if judged.is_ok() { "right, by luck".to_owned() } else { "wrong: rows are missing".to_owned() }
        }
    }
}

#[test]
fn every_copy_of_sqlite_is_whole() {
    stays_consistent(&Kind::Sqlite);
}

#[test]
fn every_snapshot_of_sqlite_is_whole() {
    stays_consistent(&Kind::SqliteOnBtrfs);
}

#[test]
fn every_online_backup_of_sqlite_is_whole() {
    stays_consistent(&Kind::SqliteOnline);
}

#[test]
fn every_live_backup_of_postgresql_is_whole() {
    if let Some(version) = Version::first() {
        stays_consistent(&Kind::Postgresql(version));
    }
}

#[test]
fn every_snapshot_of_postgresql_is_whole() {
    if let Some(version) = Version::first() {
        stays_consistent(&Kind::PostgresqlOnBtrfs(version));
    }
}

#[test]
fn every_base_backup_of_postgresql_is_whole() {
    if let Some(version) = Version::first() {
        stays_consistent(&Kind::Basebackup(version));
    }
}

#[test]
fn every_dump_of_postgresql_is_whole() {
    if let Some(version) = Version::first() {
        stays_consistent(&Kind::Dump(version));
    }
}

#[test]
fn every_snapshot_of_mariadb_is_whole() {
    stays_consistent(&Kind::Mariadb);
    stays_consistent(&Kind::MariadbBlocked);
}

#[test]
fn every_backup_of_mariadb_by_its_own_program_is_whole() {
    stays_consistent(&Kind::MariadbBackup);
}

#[test]
fn every_dump_of_mariadb_is_whole() {
    stays_consistent(&Kind::MariadbDump);
}

#[test]
fn every_backup_of_a_group_has_no_index_without_its_order() {
    if let Some(version) = Version::first() {
        stays_consistent(&Kind::Group(version.clone()));
        stays_consistent(&Kind::GroupOnBtrfs(version));
    }
}

#[test]
fn every_save_of_redis_is_whole() {
    stays_consistent(&Kind::Redis);
    stays_consistent(&Kind::RedisOnBtrfs);
}

#[test]
fn every_append_only_file_of_redis_is_whole() {
    stays_consistent(&Kind::RedisAof);
    stays_consistent(&Kind::RedisAofOnBtrfs);
}

#[test]
fn every_dump_of_redis_is_whole() {
    stays_consistent(&Kind::RedisDump);
}

#[test]
fn every_snapshot_of_etcd_is_whole() {
    stays_consistent(&Kind::Etcd);
}

/// The fake's files tell a careless copy from a right one; what MongoDB's do, it does not show.
#[test]
fn every_copy_of_mongodb_is_whole() {
    stays_consistent(&Kind::MongodbLocked);
    stays_consistent(&Kind::Mongodb);
}

/// On `SecantusDB`, which is a database of its own.
#[test]
fn every_dump_of_mongodb_is_whole() {
    stays_consistent(&Kind::MongodbDump);
}

#[test]
fn every_copy_of_a_frozen_file_system_is_whole() {
    stays_consistent(&Kind::Frozen(On::Ext4));
    stays_consistent(&Kind::Frozen(On::Xfs));
}

#[test]
fn every_snapshot_of_mysql_is_whole() {
    stays_consistent(&Kind::Mysql);
    stays_consistent(&Kind::MysqlBlocked);
}

#[test]
fn every_dump_of_mysql_is_whole() {
    stays_consistent(&Kind::MysqlDump);
}

#[test]
fn every_copy_of_an_application_of_ones_own_is_whole() {
    stays_consistent(&Kind::Pair);
    stays_consistent(&Kind::Session);
}
