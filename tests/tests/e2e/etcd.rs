//! etcd: what makes its snapshots whole, and who is refused.

use std::{fs, time::Duration};

use rustix::process::Signal;

use crate::support::{
    Application, Subject,
    certificates::Certificates,
    etcd::{Client, Member},
    eventually, free_port,
    kind::Kind,
    leftovers,
    pages::least,
    relay::Relay,
    subject::shipped,
    writer::assert_whole,
};

#[track_caller]
fn etcd() -> Option<Subject> {
    Subject::new(&Kind::Etcd)
}

#[test]
fn a_snapshot_is_verified_in_a_member_that_is_started_and_asked() {
    let Some(subject) = etcd() else { return };
    subject.etcd().fill(200, 4096);
    let writer = subject.database().writer();
    let before = writer.acknowledged();
    let point = subject.backup_ok();
    let after = writer.acknowledged() + 1;
    let shown = subject.place.ok(["show", &point, "--output=json"]).json();
    let outputs = &shown["point"]["outputs"]["observed"];
    let (first, last) = (outputs["revision"].as_i64().unwrap(), outputs["lastRevision"].as_i64().unwrap());
    assert!(first > 200 && first <= last, "{shown:#}");
    let verified = subject.verify(&point);
    assert_eq!(verified.code(), Some(0), "{verified}");
    let checks = verified.json()["checks"].as_array().cloned().unwrap();
    for name in ["revision", "keys at revision ", "hash up to revision "] {
        let check = checks.iter().find(|check| check["name"].as_str().unwrap().starts_with(name));
        assert_eq!(check.expect(name)["outcome"], "passed", "{verified}");
    }
    let restored = subject.restore(&point, "restored");
    assert_whole(&subject.read(&restored), before, after);
    drop(writer);
    subject.assert_clean();
}

/// `snapshot status` ends with status 0 on it.
#[test]
fn a_flipped_byte_is_found_by_the_verification_and_restores_nothing() {
    let Some(subject) = etcd() else { return };
    subject.etcd().fill(50, 4096);
    subject.etcd().ctl(&["put", "ballast/known", &"x".repeat(4096)]);
    let file = subject.place.join("flipped.db");
    subject.etcd().ctl(&["snapshot", "save", file.to_str().unwrap()]);
    let mut bytes = fs::read(&file).unwrap();
    let place = bytes.windows(64).rposition(|window| window.iter().all(|byte| *byte == b'x')).unwrap();
    bytes[place] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let status = subject.etcd().etcdctl(&["snapshot", "status", file.to_str().unwrap()]);
    assert!(status.status.success(), "etcdctl has learned to notice it");
    // A blueprint that stores that file as its snapshot, in the place of what the member sends.
    let text = shipped("etcd");
    let stream = "            hook: {use: etcd/snapshot, connection: db}\n";
    assert_eq!(text.matches(stream).count(), 1);
    let cat = format!("            command: [cat, \"{}\"]\n", file.display());
    let blueprint = subject.place.file("flipped.yaml", &text.replace(stream, &cat));
    let mut arguments = subject.backup_arguments();
    blueprint.to_str().unwrap().clone_into(&mut arguments[1]);
    let backup = subject.place.ok(&arguments);
    let point = backup.json()["recoveryPoint"].as_str().unwrap().to_owned();
    let verified = subject.verify(&point);
    assert_eq!(verified.code(), Some(4), "{verified}");
    assert!(verified.stdout.contains("sha256"), "{verified}");
    let copy = subject.place.join("copy");
    let restored = subject.place.run(["restore", &point, &format!("--set=dataDir={}", copy.display())]);
    assert_ne!(restored.code(), Some(0), "{restored}");
    assert!(!copy.join("member").exists());
    subject.assert_clean();
}

#[test]
fn a_member_that_is_killed_in_the_middle_of_its_snapshot_leaves_no_recovery_point() {
    let Some(mut subject) = etcd() else { return };
    subject.etcd().fill(1500, 64 * 1024);
    let relay = Relay::to(subject.etcd().port);
    subject = subject.with(&format!("port={}", relay.port)).with("facts=revision");
    for signal in [Signal::KILL, Signal::TERM] {
        relay.pass_at_most(20_000_000);
        let runner = subject.place.start(subject.backup_arguments());
        eventually(Duration::from_mins(1), "much was sent", || relay.is_full());
        let Application::Etcd(member) = &mut subject.application else { panic!("not etcd") };
        member.end(signal);
        relay.pass_at_most(u64::MAX);
        let outcome = runner.wait();
        subject.assert_refused(&outcome, 1, &["take a snapshot"]);
        let snapshots = fs::read_dir(subject.place.repository().join("snapshots")).unwrap().count();
        assert_eq!(snapshots, 0, "a part of a snapshot was stored");
        let Application::Etcd(member) = &mut subject.application else { panic!("not etcd") };
        member.start();
    }
    leftovers::assert_none(&subject.place, &known(&subject), &[]);
    subject.backup_ok();
}

/// A network that swallows everything without a word.
#[test]
fn a_connection_that_falls_silent_in_the_middle_of_a_snapshot_is_given_up() {
    let Some(mut subject) = etcd() else { return };
    subject.etcd().fill(1500, 64 * 1024);
    let relay = Relay::to(subject.etcd().port);
    subject = subject.with(&format!("port={}", relay.port)).with("facts=revision");
    relay.pass_at_most(20_000_000);
    let outcome = subject.backup();
    subject.assert_refused(&outcome, 1, &["sent nothing of its snapshot for"]);
    subject.assert_clean();
}

#[test]
fn a_member_that_is_stopped_is_given_up_and_the_next_backup_succeeds() {
    let Some(subject) = etcd() else { return };
    subject.etcd().signal(Signal::STOP);
    let outcome = subject.backup();
    subject.etcd().signal(Signal::CONT);
    subject.assert_refused(&outcome, 1, &["gave no answer within", "has a leader"]);
    subject.backup_ok();
    subject.assert_clean();
}

#[test]
fn an_alarm_is_named_and_a_full_cluster_is_backed_up_on_request() {
    let Some(mut subject) = etcd() else { return };
    let Application::Etcd(member) = &mut subject.application else { panic!("not etcd") };
    member.end(Signal::TERM);
    member.flags = vec!["--quota-backend-bytes=2000000".to_owned()];
    member.start();
    let mut full = Client::open(member.port).unwrap();
    let value = "eHh4".repeat(50_000);
    let put = |number: usize| serde_json::json!({"key": format!("{number:04}"), "value": value});
    let refusal = (0..100).find_map(|number| full.ask("kv/put", &put(number)).err()).expect("no room");
    assert!(refusal.contains("database space exceeded"), "{refusal}");
    subject.assert_refused(&subject.backup(), 2, &["the alarm NOSPACE", "nospace: accept"]);
    let subject = subject.with("nospace=accept");
    let point = subject.backup_ok();
    subject.verify_ok(&point);
    subject.assert_clean();
}

#[test]
fn users_log_in_and_one_without_the_role_is_told_which() {
    let Some(subject) = etcd() else { return };
    subject.etcd().fill(10, 100);
    subject.etcd().ask_who_one_is("a-pass/word");
    let right = subject.place.file("right", "a-pass/word\n");
    let wrong = subject.place.file("wrong", "another\n");
    subject.assert_refused(&subject.backup(), 2, &["asks who one is", "`user` and `password`"]);
    let subject = subject.with("user=reader");
    subject.assert_refused(&subject.backup(), 2, &["does not let user reader in without a password"]);
    let subject = subject.with(&format!("password=@{}", wrong.display()));
    subject.assert_refused(&subject.backup(), 2, &["the password for user reader is wrong"]);
    let subject = subject.with(&format!("password=@{}", right.display()));
    subject.assert_refused(
        &subject.backup(),
        2,
        &["user reader may not", "etcdctl user grant-role reader root"],
    );
    assert_eq!(least("etcd"), "etcdctl user add backup && etcdctl user grant-role backup root");
    let subject = subject.with("user=backup");
    let point = subject.backup_ok();
    // A restored member asks who one is, too.
    let password = format!("--set=password=@{}", right.display());
    let verified = subject.place.run(["verify", &point, "--output=json", &password]);
    assert_eq!(verified.code(), Some(0), "{verified}");
    assert!(verified.stdout.contains("keys at revision"), "{verified}");
    subject.assert_clean();
}

/// The live member answers whatever its scratch copy is asked, and would pass for it.
#[test]
fn a_verification_never_takes_the_live_member_for_its_own() {
    let Some(subject) = etcd() else { return };
    subject.etcd().fill(10, 100);
    let port = subject.etcd().port;
    let wished = shipped("etcd").replace("listen: loopback", &format!("port: {port}"));
    let point = backed_up_with(&subject, &wished);
    subject.etcd().fill(20, 100);
    subject.verify_ok(&point);

    // With the number in its command it cannot have another port.
    let point = backed_up_with(&subject, &wished.replace("{{ services.db.port }}", &port.to_string()));
    let verified = subject.verify(&point);
    assert_eq!(verified.code(), Some(2), "{verified}");
    for said in ["is something else's on this machine", "services.db.port"] {
        assert!(verified.stdout.contains(said), "{verified}");
    }
    subject.assert_clean();
}

#[track_caller]
fn backed_up_with(subject: &Subject, blueprint: &str) -> String {
    let outcome = subject.place.run(subject.with_blueprint(blueprint));
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    outcome.json()["recoveryPoint"].as_str().unwrap().to_owned()
}

/// A member that was added as a learner has what it was sent so far.
#[test]
fn a_learner_is_refused_and_followers_and_leaders_are_told_apart() {
    let Some(subject) = etcd() else { return };
    let leader = subject.etcd();
    leader.fill(10, 100);
    let mut learner = Member::at(&subject.place.join("learner"));
    learner.name = "learner".into();
    learner.state = "existing";
    leader.ctl(&["member", "add", "learner", "--learner", &format!("--peer-urls={}", learner.peer_url())]);
    learner.cluster = format!("default={},learner={}", leader.peer_url(), learner.peer_url());
    learner.start();
    let at_learner = |role: &str| {
        let mut arguments = subject.backup_arguments();
        arguments.extend([format!("--set=port={}", learner.port), format!("--set=role={role}")]);
        subject.place.run(arguments)
    };
    subject.assert_refused(&at_learner("any"), 2, &["is a learner", "voting member"]);
    let id = leader.ctl(&["member", "list"]);
    let id = id.lines().find(|line| line.contains("learner")).unwrap().split(',').next().unwrap().to_owned();
    eventually(Duration::from_mins(1), "the learner is promoted", || {
        leader.etcdctl(&["member", "promote", &id]).status.success()
    });
    subject.assert_refused(&at_learner("leader"), 2, &["is a follower, and a leader was asked for"]);
    let taken = at_learner("follower");
    assert_eq!(taken.code(), Some(0), "{taken}");
    let verified = subject.verify("latest");
    assert_eq!(verified.code(), Some(0), "{verified}");
    // Half of the members is no majority.
    drop(learner);
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    assert!(outcome.stdout.contains("no leader"), "{outcome}");
}

#[test]
fn tls_with_a_certificate_of_our_own_and_without_the_right_one() {
    let Some(mut subject) = etcd() else { return };
    let certificates = Certificates::make(&subject.place);
    let file = |name: &str| certificates.file(name);
    let Application::Etcd(member) = &mut subject.application else { panic!("not etcd") };
    member.end(Signal::TERM);
    let url = format!("https://127.0.0.1:{}", member.port);
    member.flags = vec![
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--cert-file={}", file("server.pem")),
        format!("--key-file={}", file("server.key")),
        format!("--trusted-ca-file={}", file("ca.pem")),
        "--client-cert-auth".into(),
    ];
    member.start();
    subject.assert_refused(&subject.backup(), 2, &["sslmode"]);
    let subject = subject.with("sslmode=verify-full").with(&format!("sslRootCert={}", file("other.pem")));
    subject.assert_refused(&subject.backup(), 2, &["the TLS certificate of etcd", "is not trusted"]);
    let subject = subject.with(&format!("sslRootCert={}", file("ca.pem")));
    subject.assert_refused(&subject.backup(), 2, &["sslCert"]);
    let subject = subject
        .with(&format!("sslCert={}", file("client.pem")))
        .with(&format!("sslKey={}", file("client.key")));
    let point = subject.backup_ok();
    subject.verify_ok(&point);
    subject.assert_clean();
}

#[test]
fn what_listens_and_is_no_etcd_is_told_so() {
    let Some(subject) = etcd() else { return };
    let nobody = free_port();
    let subject = subject.with(&format!("port={nobody}"));
    subject.assert_refused(&subject.backup(), 2, &[&format!("nobody listens at 127.0.0.1:{nobody}")]);
    let web = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = web.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in web.incoming() {
            let _gone = std::io::Write::write_all(&mut stream.unwrap(), b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let subject = subject.with(&format!("port={port}"));
    subject.assert_refused(&subject.backup(), 2, &["does not answer as etcd"]);
}

/// The processes that belong to a member that was started again.
fn known(subject: &Subject) -> Vec<u32> {
    leftovers::residents(&subject.place)
}
