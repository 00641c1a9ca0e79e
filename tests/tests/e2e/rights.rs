//! The least that each blueprint's page says is enough, and each right that is missing is named with what gives it.

use crate::support::{
    Subject,
    kind::Kind,
    mariadb::USER,
    pages::{least, page},
    place::Outcome,
    postgresql::Version,
};

/// What a page grants on everything, one right after the other.
fn granted(kind: &Kind) -> Vec<String> {
    let least = least(kind.blueprint());
    let (_, rest) = least.split_once("GRANT ").expect("a GRANT");
    let (rights, to) = rest.split_once(" ON *.* TO ").expect("a GRANT on everything");
    assert!(to.starts_with(&format!("{USER}@localhost")), "{least}");
    rights.split(", ").map(str::to_owned).collect()
}

/// Grants what the page says and nothing else; then all of it but one, for each. Those that may be left out are missed by
/// nothing.
#[track_caller]
fn names_each_right(kind: &Kind, may_be_left_out: &[&str]) -> Option<Subject> {
    let subject = Subject::new(kind)?;
    let rights = granted(kind);
    let only = |rights: &[&String]| {
        let list = rights.iter().map(|right| right.as_str()).collect::<Vec<_>>().join(", ");
        subject.mariadb().sql(&format!(
            "REVOKE ALL, GRANT OPTION FROM {USER}@localhost; GRANT {list} ON *.* TO {USER}@localhost"
        ));
    };
    for missing in &rights {
        only(&rights.iter().filter(|right| *right != missing).collect::<Vec<_>>());
        let outcome = subject.backup();
        if may_be_left_out.contains(&missing.as_str()) {
            assert_eq!(outcome.code(), Some(0), "{missing}: {outcome}");
        } else {
            names(&outcome, missing);
        }
        subject.assert_clean();
    }
    only(&rights.iter().collect::<Vec<_>>());
    subject.backup_ok();
    subject.assert_clean();
    Some(subject)
}

#[track_caller]
fn names(outcome: &Outcome, right: &str) {
    let lacks = format!("user {USER}@localhost lacks {right} (");
    outcome.claims_nothing(2, &[&lacks, &format!("GRANT {right} ON *.* TO")]);
}

#[test]
fn each_right_that_a_backup_of_mariadb_lacks_is_named() {
    names_each_right(&Kind::Mariadb, &["SLAVE MONITOR"]);
}

#[test]
fn each_right_that_the_backup_program_of_mariadb_lacks_is_named() {
    names_each_right(&Kind::MariadbBackup, &[]);
}

#[test]
fn each_right_that_a_dump_of_mariadb_lacks_is_named() {
    names_each_right(&Kind::MariadbDump, &[]);
}

#[test]
fn each_right_that_a_backup_of_mysql_lacks_is_named() {
    let Some(subject) = names_each_right(&Kind::Mysql, &["RELOAD", "REPLICATION CLIENT"]) else { return };
    subject.mariadb().sql(&format!("REVOKE RELOAD ON *.* FROM {USER}@localhost"));
    names(&subject.with("lock=global").backup(), "RELOAD");
}

#[test]
fn each_right_that_a_dump_of_mysql_lacks_is_named() {
    names_each_right(&Kind::MysqlDump, &[]);
}

/// PostgreSQL: what takes a right of the page's away again, and what is said then.
type Missing = (&'static str, &'static str);

/// Runs the page's own statements, then takes away one right after the other.
#[track_caller]
fn names_each_grant(kind: &Kind, values: &[&str], missing: &[Missing]) {
    let Some(mut subject) = Subject::new(kind) else { return };
    subject = subject.with("user=backup");
    for value in values {
        subject = subject.with(value);
    }
    let statements = least(kind.blueprint());
    subject.server().sql(&statements);
    subject.backup_ok();
    // A role is made once; what is granted can be granted again.
    let (_, again) = statements.split_once(';').unwrap();
    for (take_away, says) in missing {
        subject.server().sql(take_away);
        let outcome = subject.backup();
        outcome.claims_nothing(2, &[says]);
        subject.assert_clean();
        subject.server().sql(&format!("ALTER ROLE backup REPLICATION; {again}"));
    }
    subject.backup_ok();
}

/// The functions have other names before 15.
fn postgresql() -> Option<Version> {
    Version::all().into_iter().find(|version| version.major >= 15)
}

#[test]
fn each_right_that_a_backup_of_postgresql_lacks_is_named() {
    let Some(version) = postgresql() else { return };
    names_each_grant(
        &Kind::Postgresql(version),
        &[],
        &[
            ("ALTER ROLE backup NOREPLICATION", "role backup lacks REPLICATION at"),
            ("REVOKE pg_monitor FROM backup", "role backup lacks membership in pg_monitor at"),
            ("REVOKE pg_checkpoint FROM backup", "GRANT pg_checkpoint to the role"),
            (
                "REVOKE EXECUTE ON FUNCTION pg_backup_start(text, boolean) FROM backup",
                "GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean) TO backup;",
            ),
            (
                "REVOKE EXECUTE ON FUNCTION pg_backup_stop(boolean) FROM backup",
                "GRANT EXECUTE ON FUNCTION pg_backup_stop(boolean) TO backup;",
            ),
            (
                "REVOKE EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) FROM backup",
                "GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO backup;",
            ),
        ],
    );
}

/// Without it nothing is missing from the files, and what was not counted is said.
#[test]
fn a_role_that_may_not_read_tables_backs_up_postgresql_without_counts() {
    let Some(version) = postgresql() else { return };
    let Some(subject) = Subject::new(&Kind::Postgresql(version)) else { return };
    let subject = subject.with("user=backup").with("database=app");
    subject.server().sql("CREATE ROLE backup LOGIN REPLICATION; GRANT pg_monitor, pg_checkpoint TO backup");
    let functions = "GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean), \
        pg_read_binary_file(text, bigint, bigint, boolean) TO backup";
    subject.server().connect("app").run(functions).unwrap();
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let facts = outcome.json()["facts"].to_string();
    assert!(facts.contains("not counted in app") && facts.contains("app.public.orders"), "{outcome}");
    assert!(page("postgresql").contains("Without `pg_read_all_data` no rows are counted"));
}

#[test]
fn each_right_that_a_base_backup_of_postgresql_lacks_is_named() {
    let Some(version) = postgresql() else { return };
    names_each_grant(
        &Kind::Basebackup(version),
        &[],
        &[
            ("ALTER ROLE backup NOREPLICATION", "ALTER ROLE backup REPLICATION;"),
            ("REVOKE pg_monitor FROM backup", "GRANT pg_monitor TO backup;"),
        ],
    );
}

#[test]
fn each_right_that_a_dump_of_postgresql_lacks_is_named() {
    let Some(version) = postgresql() else { return };
    names_each_grant(
        &Kind::Dump(version.clone()),
        &["rolePasswords=false"],
        &[
            ("REVOKE pg_monitor FROM backup", "GRANT pg_monitor TO backup;"),
            (
                "REVOKE pg_read_all_data FROM backup",
                "in database app it may not read public.ballast, public.orders",
            ),
        ],
    );
    let Some(subject) = Subject::new(&Kind::Dump(version)) else { return };
    subject.server().sql(&least("postgresql-dump"));
    let subject = subject.with("user=backup");
    // The passwords of roles are among all data.
    subject.backup_ok();
    subject.server().sql("REVOKE pg_read_all_data FROM backup");
    subject
        .backup()
        .claims_nothing(2, &["role backup may not read the passwords of roles", "rolePasswords=false"]);
}
