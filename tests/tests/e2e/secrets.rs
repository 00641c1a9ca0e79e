//! A password is nowhere but where it is needed.

use std::{fs, path::Path, sync::LazyLock};

use bson::doc;
use rustix::process::Signal;

use crate::support::{
    Application, Subject,
    kind::Kind,
    mongodb::Flavour,
    place::PASSWORD,
    postgresql::{ROLE, ROLE_PASSWORD, Version},
    watch::Watch,
};

/// Every file below a directory that holds one of the secrets, whatever else it holds.
fn files_with(directory: &Path, secrets: &[&str], except: &[&Path], found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap().filter_map(Result::ok) {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if except.contains(&path.as_path()) {
            continue;
        }
        if kind.is_dir() {
            files_with(&path, secrets, except, found);
        } else if kind.is_file() {
            let content = fs::read(&path).unwrap_or_default();
            let holds =
                |secret: &&&str| content.windows(secret.len()).any(|window| window == secret.as_bytes());
            found.extend(
                secrets.iter().filter(holds).map(|secret| format!("`{secret}` is in {}", path.display())),
            );
        }
    }
}

/// The secrets of this test process alone.
static SECRETS: LazyLock<[&str; 2]> = LazyLock::new(|| [&ROLE_PASSWORD, &PASSWORD]);

/// Has a server of MongoDB's protocol ask for the role's password.
fn log_in_to_mongodb(subject: &mut Subject, password: &Path) {
    let Application::Mongodb(server) = &mut subject.application else { return };
    match server.flavour {
        Flavour::Fake => server.restart(&["--password", password.to_str().unwrap()]),
        Flavour::Secantus => {
            server.ask("app", doc! {"insert": "rows", "documents": [{"_id": 1_i64}]});
            server.ask("admin", doc! {"createUser": ROLE, "pwd": &*ROLE_PASSWORD, "roles": ["root"]});
            // In order, or it may have forgotten the user.
            server.end(Signal::TERM);
            server.restart(&["--auth"]);
        }
    }
}

#[track_caller]
fn keeps_secrets(kind: &Kind, by_environment: bool) {
    let Some(mut subject) = Subject::new(kind) else { return };
    let password = subject.place.file("role-password", &format!("{}\n", *ROLE_PASSWORD));
    let given = if by_environment {
        subject.place.env.push(("SST_ROLE".into(), ROLE_PASSWORD.as_str().into()));
        "env:SST_ROLE".to_owned()
    } else {
        format!("@{}", password.display())
    };
    let mut subject =
        subject.with("host=127.0.0.1").with(&format!("user={ROLE}")).with(&format!("password={given}"));
    let port = match &subject.application {
        Application::Mariadb(server) => Some(server.port),
        Application::Redis(server) => Some(server.port),
        _ => None,
    };
    if let Some(port) = port {
        subject = subject.with("socket=").with(&format!("port={port}"));
    }
    log_in_to_mongodb(&mut subject, &password);
    // Its restored member asks who one is, too.
    let mut verify = vec!["--output=json".to_owned()];
    if let Application::Etcd(member) = &subject.application {
        member.ask_who_one_is(&ROLE_PASSWORD);
        subject = subject.with("user=root");
        verify.push(format!("--set=password={given}"));
    }
    // The runner itself may be given a secret by its environment; that is the user's choice. Its children may not.
    let clients = ["pg_dump", "pg_dumpall", "pg_basebackup", "mariadb-dump", "mariadb-backup", "mysqldump"];
    let given_by_it = by_environment.then_some("standstill");
    let watch = Watch::start(&*SECRETS, clients.into_iter().chain(given_by_it));
    let mut said = String::new();
    let mut arguments = subject.backup_arguments();
    arguments.extend(["-vvv".to_owned()]);
    let backup = subject.place.run(&arguments);
    assert_eq!(backup.code(), Some(0), "{backup}");
    let point = backup.json()["recoveryPoint"].as_str().unwrap().to_owned();
    "plan".clone_into(&mut arguments[0]);
    let mut more = vec![backup, subject.place.ok(&arguments)];
    more.push(subject.place.ok(["show", &point, "--output=json", "-vvv"]));
    more.push(subject.place.ok(["show", &point]));
    more.push(subject.place.ok(["list", "--output=json"]));
    more.push(subject.place.ok(["logs", &point]));
    more.push(subject.place.ok(["runs", "--output=json"]));
    more.push(subject.place.run(["verify".to_owned(), point].into_iter().chain(verify)));
    assert_eq!(more.last().unwrap().code(), Some(0), "{}", more.last().unwrap());
    watch.found_nothing();
    for outcome in &more {
        said.push_str(&outcome.to_string());
    }
    for secret in *SECRETS {
        let line = said.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "`{secret}` was printed");
    }
    let mut found = Vec::new();
    // The server's own files, and the file system that they are on.
    let (own, image) = (subject.data(), subject.place.join("disk.image"));
    let given = [password.as_path(), &subject.place.join("password"), &own, &image].map(Path::to_owned);
    let except: Vec<&Path> = given.iter().map(std::path::PathBuf::as_path).collect();
    files_with(subject.place.root(), &*SECRETS, &except, &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_passwords_of_a_physical_backup_are_nowhere() {
    if let Some(version) = Version::first() {
        keeps_secrets(&Kind::Postgresql(version), false);
    }
}

#[test]
fn the_passwords_of_a_dump_are_nowhere() {
    if let Some(version) = Version::first() {
        keeps_secrets(&Kind::Dump(version), true);
    }
}

#[test]
fn the_passwords_of_a_base_backup_are_nowhere() {
    if let Some(version) = Version::first() {
        keeps_secrets(&Kind::Basebackup(version), false);
    }
}

#[test]
fn the_passwords_of_backups_of_mariadb_are_nowhere() {
    keeps_secrets(&Kind::Mariadb, true);
    keeps_secrets(&Kind::MariadbDump, false);
    keeps_secrets(&Kind::MariadbBackup, true);
}

#[test]
fn the_passwords_of_backups_of_redis_are_nowhere() {
    keeps_secrets(&Kind::Redis, true);
    keeps_secrets(&Kind::RedisAof, false);
    keeps_secrets(&Kind::RedisDump, false);
}

#[test]
fn the_passwords_of_backups_of_etcd_are_nowhere() {
    keeps_secrets(&Kind::Etcd, true);
    keeps_secrets(&Kind::Etcd, false);
}

#[test]
fn the_passwords_of_backups_of_mysql_are_nowhere() {
    keeps_secrets(&Kind::Mysql, true);
    keeps_secrets(&Kind::MysqlDump, false);
}

#[test]
fn the_passwords_of_backups_of_mongodb_are_nowhere() {
    keeps_secrets(&Kind::MongodbLocked, true);
    keeps_secrets(&Kind::MongodbDump, false);
}

#[test]
fn a_secret_in_plain_text_is_refused_and_not_repeated() {
    let Some(version) = Version::first() else { return };
    let Some(subject) = Subject::new(&Kind::Dump(version)) else { return };
    let subject = subject.with(&format!("password={}", *ROLE_PASSWORD));
    let outcome = subject.place.run(subject.backup_arguments());
    assert_eq!(outcome.code(), Some(2), "{outcome}");
    assert!(
        !outcome.stdout.contains(ROLE_PASSWORD.as_str()) && !outcome.stderr.contains(ROLE_PASSWORD.as_str()),
        "{outcome}"
    );
    assert!(outcome.stdout.contains("is a secret and is never given in plain text"), "{outcome}");
}
