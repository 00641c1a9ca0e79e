//! Programs that a blueprint calls and that are not there, or are not what they are called.

use std::{collections::BTreeSet, path::Path};

use crate::support::{Subject, kind::Kind, postgresql::Version, sample::Random, subject::shipped};

/// What calls programs, in every way that ships.
fn kinds() -> Vec<Kind> {
    let mut kinds = vec![
        Kind::Mariadb,
        Kind::MariadbBackup,
        Kind::MariadbDump,
        Kind::Mysql,
        Kind::MysqlDump,
        Kind::Redis,
        Kind::RedisAof,
        Kind::RedisDump,
        Kind::MongodbLocked,
        Kind::MongodbDump,
        Kind::Etcd,
    ];
    if let Some(version) = Version::first() {
        kinds.extend([
            Kind::Postgresql(version.clone()),
            Kind::Basebackup(version.clone()),
            Kind::Dump(version),
        ]);
    }
    kinds
}

/// The programs that the steps of an action name.
fn named(text: &str, action: &str) -> BTreeSet<String> {
    let (_, actions) = text.split_once("\n  actions:\n").unwrap();
    let of_an_action = |line: &&str| line.starts_with("     ") || line.is_empty();
    let section: String = actions
        .lines()
        .skip_while(|line| *line != format!("    {action}:"))
        .skip(1)
        .take_while(of_an_action)
        .collect();
    let is_of_a_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let name = |rest: &str| rest.chars().take_while(|character| is_of_a_name(*character)).collect();
    section.split("programs.").skip(1).map(name).collect()
}

/// The blueprint with another name for that program's file, and that name.
fn renamed(text: &str, program: &str, file: &str) -> String {
    let (before, programs) = text.split_once("\n  programs:\n").unwrap();
    let key = format!("    {program}:");
    let (others, after) = programs.split_once(&key).unwrap_or_else(|| panic!("no program {program}"));
    let declared = if let Some(rest) = after.strip_prefix(" {}") {
        format!(" {{name: {file}}}{rest}")
    } else if let Some(rest) = after.strip_prefix(" {name: ") {
        format!(" {{name: {file},{}", rest.split_once(',').unwrap().1)
    } else if let Some(rest) = after.strip_prefix(" {") {
        format!(" {{name: {file}, {rest}")
    } else {
        format!("\n      name: {file}{after}")
    };
    format!("{before}\n  programs:\n{others}{key}{declared}")
}

/// Before anything is held, made or read; and the operator is told what to install.
#[test]
fn each_program_that_is_missing_is_named_before_anything_is_done() {
    for kind in Random::of("missing programs").sample(kinds(), 3) {
        let Some(subject) = Subject::new(&kind) else { continue };
        let text = shipped(kind.blueprint());
        let absent = |program: &str| format!("{program}-of-nobody");
        for program in named(&text, "backup") {
            let file = absent(&program);
            let mut arguments = subject.with_blueprint(&renamed(&text, &program, &file));
            // What only an empty list's items would call is not asked for.
            if let Kind::Postgresql(_) = kind {
                arguments.push("--set=config=/etc/hosts".to_owned());
            }
            let outcome = subject.place.run(arguments);
            let says = [format!("the program {file} was not found in "), format!("Install {file}")];
            subject.assert_refused(&outcome, 2, &[&says[0], &says[1]]);
        }
        let point = subject.backup_ok();
        let (restore, verify) = (named(&text, "restore"), named(&text, "verify"));
        let restores = restore.iter().map(|program| ("restore", program));
        // What is verified is restored first.
        let verifies = verify.union(&restore).map(|program| ("verify", program));
        for (action, program) in restores.chain(verifies) {
            if action == "verify" && !verify.contains(program) && !text.contains("action: {run: restore") {
                continue;
            }
            let file = absent(program);
            let own = subject.place.file("own.yaml", &renamed(&text, program, &file));
            let own = format!("--blueprint={}", own.display());
            let outcome = subject.place.run([action, point.as_str(), own.as_str()]);
            outcome.fails(2, &[&format!("the program {file} was not found in "), &format!("Install {file}")]);
            subject.assert_clean();
        }
    }
}

/// MariaDB's packages have a program of the same name, which fails on the first option that it does not know.
#[test]
fn a_dump_program_of_mysql_that_is_mariadbs_is_told_apart() {
    if !Path::new("/usr/bin/mariadb-dump").exists() {
        println!("left out: there is no mariadb-dump on this machine");
        return;
    }
    let Some(subject) = Subject::new(&Kind::MysqlDump) else { return };
    let text = renamed(&shipped("mysql-dump"), "dump", "mariadb-dump");
    let outcome = subject.place.run(subject.with_blueprint(&text));
    subject.assert_refused(&outcome, 1, &["/usr/bin/mariadb-dump is MariaDB's", "set binDir"]);
}
