//! Dumps of MongoDB, on `SecantusDB`, a server of the same protocol that was not written here.

use std::time::Duration;

use bson::{Document, doc};
use rustix::process::Signal;

use crate::support::{
    Subject,
    certificates::Certificates,
    eventually,
    kind::Kind,
    mongodb::{Client, Flavour, Server},
    pages::page,
    relay::Relay,
};

#[track_caller]
fn dumped() -> Option<Subject> {
    Subject::new(&Kind::MongodbDump)
}

#[test]
fn a_dump_is_restored_with_its_options_and_indexes_and_replaces_nothing() {
    let Some(mut subject) = dumped() else { return };
    let server = subject.mongodb();
    for number in 0..1500_i64 {
        server.ask(
            "app",
            doc! {"insert": "rows", "documents": [{"_id": number + 1, "text": "x".repeat(1000)}]},
        );
    }
    let index = doc! {"key": {"text": 1, "_id": -1}, "name": "by_text"};
    server.ask("app", doc! {"createIndexes": "rows", "indexes": [index]});
    server.ask("app", doc! {"create": "log", "capped": true, "size": 4096});
    server.ask("other", doc! {"insert": "empty", "documents": [{"_id": 1}]});
    server.ask("other", doc! {"delete": "empty", "deletes": [{"q": {}, "limit": 0}]});
    let subject = subject.with("facts=exact");
    let point = subject.backup_ok();
    let verified = subject.verify(&point);
    assert_eq!(verified.code(), Some(0), "{verified}");
    let checks = verified.json()["checks"].as_array().cloned().unwrap();
    let passed =
        |name: &str| checks.iter().any(|check| check["name"] == name && check["outcome"] == "passed");
    assert!(
        passed("documents app.rows") && passed("documents other.empty") && passed("app.rows"),
        "{verified}"
    );
    let restored = subject.restore(&point, "restored");
    assert_eq!(subject.read(&restored).len(), 1500);
    let port = restored.port();
    let mut client = Client::open(port).unwrap();
    let indexes = client.all("app", doc! {"listIndexes": "rows"}).unwrap();
    assert!(
        indexes.iter().any(|index| index.get_str("name").is_ok_and(|name| name == "by_text")),
        "{indexes:?}"
    );
    let again = subject.place.run([
        "restore".to_owned(),
        point,
        format!("--set=port={port}"),
        format!("--set=file={}", subject.place.join("again").display()),
    ]);
    assert_eq!(again.code(), Some(2), "{again}");
    assert!(again.stderr.contains("is there already"), "{again}");
    drop(restored);
    subject.assert_clean();
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_its_dump_leaves_no_recovery_point() {
    let Some(mut subject) = dumped() else { return };
    for number in 0..300_i64 {
        let documents = [doc! {"_id": number + 1, "text": "x".repeat(100_000)}];
        subject.mongodb().ask("app", doc! {"insert": "rows", "documents": documents.to_vec()});
    }
    let relay = Relay::to(subject.mongodb().port);
    let mut subject = subject.with(&format!("port={}", relay.port)).with("facts=none");
    relay.pass_at_most(8_000_000);
    let runner = subject.place.start(subject.backup_arguments());
    eventually(Duration::from_mins(1), "much was sent", || relay.is_full());
    subject.mongodb().end(Signal::KILL);
    relay.pass_at_most(u64::MAX);
    let outcome = runner.wait();
    outcome.claims_nothing(1, &["MongoDB at", "read app.rows"]);
    assert_eq!(subject.place.points(), Vec::<String>::new());
    let snapshots = std::fs::read_dir(subject.place.repository().join("snapshots")).unwrap().count();
    assert_eq!(snapshots, 0, "a part of a dump was stored");
}

#[test]
fn a_server_without_history_and_one_that_is_no_mongodb_are_told_so() {
    let Some(mut subject) = dumped() else { return };
    subject.mongodb().restart(&["--standalone"]);
    let outcome = subject.backup();
    subject.assert_refused(&outcome, 2, &["stands alone", "rs.initiate()"]);
    let subject = subject.with("port=1");
    let outcome = subject.backup();
    outcome.claims_nothing(2, &["nobody listens at 127.0.0.1:1"]);
}

/// SCRAM-SHA-256 on `SecantusDB`, a server that was not written here. It has no lock, and no files of MongoDB's.
#[test]
fn users_log_in_and_a_wrong_password_is_told() {
    let subject = Subject::new(&Kind::MongodbLocked).unwrap();
    if Flavour::Secantus.program().is_none() {
        return;
    }
    let (data, bin) = (subject.place.join("secantus"), subject.place.join("secantus-bin"));
    let mut server = Server::make(Flavour::Secantus, &data, &bin);
    server.ask("admin", doc! {"createUser": "backup", "pwd": "a-pass/word", "roles": ["root"]});
    // In order, or it may have forgotten the user.
    server.end(Signal::TERM);
    server.options = vec!["--auth".to_owned()];
    server.start();
    let right = subject.place.file("right", "a-pass/word\n");
    let wrong = subject.place.file("wrong", "another\n");
    let says = |more: &[String], says: &[&str]| {
        let mut arguments = subject.backup_arguments();
        arguments.push(format!("--set=port={}", server.port));
        arguments.extend_from_slice(more);
        subject.place.run(arguments).claims_nothing(2, says);
    };
    says(&[], &["asks who one is", "`user` and `password`"]);
    let user = "--set=user=backup".to_owned();
    says(std::slice::from_ref(&user), &["user backup has no password"]);
    says(&[user.clone(), format!("--set=password=@{}", wrong.display())], &["or the password, is wrong"]);
    says(&[user, format!("--set=password=@{}", right.display())], &[]);
}

/// What the page lists, on what it lists it.
const PRIVILEGES: &[(&str, bool)] =
    &[("listDatabases", true), ("find", false), ("listCollections", false), ("listIndexes", false)];

/// Found before anything is read where the server tells what a user may; the fake does.
#[test]
fn each_privilege_that_a_dump_lacks_is_named() {
    let mut subject = Subject::new(&Kind::MongodbLocked).unwrap();
    for (action, _) in PRIVILEGES {
        subject.mongodb().restart(&["--lacks", action]);
        let port = format!("--set=port={}", subject.mongodb().port);
        let outcome = subject.place.run(["backup", "mongodb-dump", "--output=json", &port]);
        let lacks = format!("it lacks `{action}`");
        subject.assert_refused(&outcome, 2, &["user backup may not", &lacks, "db.grantPrivilegesToRole"]);
    }
}

/// A role with these privileges but one.
fn role(name: &str, without: &str) -> Document {
    let but = |cluster: bool| -> Vec<&str> {
        let of = PRIVILEGES.iter().filter(|(action, on)| *on == cluster && *action != without);
        of.map(|(action, _)| *action).collect()
    };
    let privileges = [
        doc! {"resource": {"cluster": true}, "actions": but(true)},
        doc! {"resource": {"db": "", "collection": ""}, "actions": but(false)},
    ];
    doc! {"createRole": name, "privileges": privileges.to_vec(), "roles": []}
}

/// It refuses by itself what a user may not do, and tells nobody beforehand.
#[test]
fn a_dump_needs_no_more_than_its_page_lists_and_what_a_server_refuses_is_said() {
    let Some(mut subject) = dumped() else { return };
    for (action, _) in PRIVILEGES {
        assert!(page("mongodb-dump").contains(&format!("\"{action}\"")), "the page does not list {action}");
    }
    subject.mongodb().ask("app", doc! {"insert": "rows", "documents": [{"_id": 1_i64}]});
    for (action, _) in PRIVILEGES.iter().chain(&[("nothing", true)]) {
        let name = format!("no-{action}");
        subject.mongodb().ask("admin", role(&name, action));
        let user =
            doc! {"createUser": &name, "pwd": "a-pass/word", "roles": [{"role": &name, "db": "admin"}]};
        subject.mongodb().ask("admin", user);
    }
    // In order, or it may have forgotten the users.
    subject.mongodb().end(Signal::TERM);
    subject.mongodb().restart(&["--auth"]);
    let password = subject.place.file("password-of-users", "a-pass/word\n");
    let subject = subject.with(&format!("password=@{}", password.display()));
    for (action, _) in PRIVILEGES {
        let mut arguments = subject.backup_arguments();
        arguments.push(format!("--set=user=no-{action}"));
        let outcome = subject.place.run(arguments);
        println!("{action}: {outcome}");
        outcome.claims_nothing(2, &[&format!("user no-{action} may not "), "db.grantRolesToUser"]);
    }
    let subject = subject.with("user=no-nothing");
    let point = subject.backup_ok();
    subject.verify_ok(&point);
}

#[test]
fn tls_is_looked_at_as_far_as_was_asked() {
    let Some(mut subject) = dumped() else { return };
    let certificates = Certificates::make(&subject.place);
    let file = |name: &str| certificates.file(name);
    let (certificate, key, authority) = (file("server.pem"), file("server.key"), file("ca.pem"));
    let options = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
    subject.mongodb().ask("app", doc! {"insert": "rows", "documents": [{"_id": 1_i64}]});
    subject.mongodb().end(Signal::TERM);
    subject.mongodb().restart(&options);
    let with = |subject: &Subject, more: &[String]| {
        let mut arguments = subject.backup_arguments();
        arguments.extend(more.iter().map(|value| format!("--set={value}")));
        subject.place.run(arguments)
    };
    let refused = |subject: &Subject, more: &[String], says: &[&str]| {
        let outcome = with(subject, more);
        println!("{more:?}: {outcome}");
        outcome.claims_nothing(2, says);
    };
    let mode = |mode: &str| format!("sslmode={mode}");
    let trusts = |name: &str| format!("sslRootCert={}", file(name));
    refused(&subject, &[], &["does not answer as MongoDB", "sslmode"]);
    let untrusted = ["the TLS certificate of MongoDB at 127.0.0.1", "is not trusted", "sslRootCert"];
    for verify in ["verify-ca", "verify-full"] {
        refused(&subject, &[mode(verify), trusts("other.pem")], &untrusted);
        let outcome = with(&subject, &[mode(verify), trusts("ca.pem")]);
        assert_eq!(outcome.code(), Some(0), "{outcome}");
    }
    // Another name than the certificate is for.
    let named = [mode("verify-full"), trusts("ca.pem"), "host=localhost".to_owned()];
    refused(&subject, &named, &["is not trusted", "connect by the name it is for"]);
    let outcome = with(&subject, &[mode("require")]);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    subject.verify_ok("latest");

    let asks = ["--tls-ca-file", &authority, "--tls-require-client-cert"];
    subject.mongodb().restart(&[&options[..], &asks[..]].concat());
    let full = [mode("verify-full"), trusts("ca.pem")];
    refused(&subject, &full, &["refuses our side of TLS", "`sslCert` and `sslKey`"]);
    let own = [format!("sslCert={}", file("client.pem")), format!("sslKey={}", file("client.key"))];
    let outcome = with(&subject, &[&full[..], &own[..]].concat());
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let plain = Server::make(Flavour::Secantus, &subject.place.join("plain"), &subject.mongodb().bin.clone());
    let plain = format!("port={}", plain.port);
    refused(
        &subject,
        &[mode("require"), plain],
        &["no answer from MongoDB at 127.0.0.1", "has TLS (`sslmode`)"],
    );
}
