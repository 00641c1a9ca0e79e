//! What is left of a hold when its server is killed, or when the network swallows everything without a word.

use std::time::{Duration, Instant};

use crate::support::{
    Application, Subject,
    kind::Kind,
    postgresql::{ROLE, ROLE_PASSWORD, Version},
    relay::Relay,
    sample::{Random, full},
    slow::Slow,
    subject::LEASE,
};

/// How long writes may wait, with room for a busy machine.
const PROMISED: Duration = Duration::from_secs(LEASE.as_secs() + 1 + 2);

/// The kinds of holds that a server has: those that block writes, and those that leave something behind.
fn kinds(test: &str) -> Vec<Kind> {
    let postgresql = Version::first().map(Kind::Postgresql);
    let others = [Kind::MariadbBlocked, Kind::MysqlBlocked, Kind::RedisAof, Kind::Mariadb, Kind::Mysql];
    let all: Vec<Kind> = postgresql.into_iter().chain(others).collect();
    if full() { all } else { Random::of(test).sample(all, 1) }
}

/// From now on over a network.
fn over(subject: Subject) -> (Subject, Relay) {
    let port = match &subject.application {
        Application::Postgresql(server) => server.port,
        Application::Mariadb(server) => server.port,
        Application::Redis(server) => server.port,
        _ => panic!("{} has no port", subject.kind),
    };
    let relay = Relay::to(port);
    let password = subject.place.file("role-password", &ROLE_PASSWORD);
    let subject = subject
        .with("host=127.0.0.1")
        .with(&format!("port={}", relay.port))
        .with(&format!("user={ROLE}"))
        .with(&format!("password=@{}", password.display()));
    let has_socket = !matches!(subject.application, Application::Postgresql(_));
    (if has_socket { subject.with("socket=") } else { subject }, relay)
}

/// No side hears that the other is gone: only the server's own limits end what is held.
#[test]
fn a_connection_that_is_cut_without_a_word_keeps_no_writer_waiting_beyond_the_lease() {
    for kind in kinds("cut") {
        let Some(subject) = Subject::new(&kind) else { continue };
        let (subject, relay) = over(subject.with_short_lease());
        let writer = subject.database().writer();
        let slow = Slow::start(&subject, &[]);
        relay.cut();
        let cut = Instant::now();
        writer.goes_on(PROMISED);
        let outcome = slow.runner.wait();
        let stalled = writer.longest_stall(cut);
        println!("{kind}: writers waited {stalled:?} after the cut; the run ended after {:?}", cut.elapsed());
        assert!(stalled <= PROMISED, "{kind}: writers waited {stalled:?}");
        drop(writer);
        // The lock on the target is let go by a server that hears nothing for half a minute. It keeps no writer waiting.
        relay.hang_up();
        subject.assert_refused(&outcome, 1, &["a hold lapsed: "]);
        subject.backup_ok();
        subject.assert_clean();
    }
}

/// Nobody is there to be let go, and nobody answers who could say so.
#[test]
fn a_server_that_is_killed_while_it_is_held_and_stays_away_ends_the_run_with_one_sentence() {
    for kind in kinds("killed") {
        let Some(subject) = Subject::new(&kind) else { continue };
        let mut subject = subject.with_short_lease();
        let slow = Slow::start(&subject, &[]);
        subject.kill_server();
        let killed = Instant::now();
        let outcome = slow.runner.wait();
        println!("{kind}: the run ended {:?} after its server", killed.elapsed());
        subject.start_server();
        subject.assert_refused(&outcome, 1, &["a hold lapsed: "]);
        subject.backup_ok();
        subject.assert_clean();
    }
}

/// What comes of a backup whose server was restarted between quiesce and cut.
enum Restarted {
    /// It is refused, in these words.
    Refused(&'static str),
    /// It is whole: what is captured then depends on no server of before.
    Whole,
}

fn restarted() -> Vec<(Kind, Restarted)> {
    use Restarted::{Refused, Whole};

    let mut kinds = vec![
        (Kind::MariadbBackup, Refused("lost the session at ")),
        (Kind::MariadbDump, Refused("the lock on the target was lost")),
        (Kind::MysqlDump, Refused("the lock on the target was lost")),
        (Kind::Mongodb, Refused("was restarted")),
        (Kind::MongodbDump, Refused("was restarted")),
        (Kind::Etcd, Whole),
    ];
    if let Some(version) = Version::first() {
        kinds.push((Kind::Postgresql(version.clone()), Refused("backup mode lapsed: ")));
        // Who says first that it is gone is its hold ("lapsed") or `pg_dump`, whom the new server does not let have it.
        kinds.push((Kind::Dump(version), Refused("snapshot ")));
    }
    kinds
}

/// It comes back at once, and answers as if nothing had been.
#[test]
fn a_server_that_is_restarted_between_quiesce_and_cut_is_noticed_where_it_matters() {
    for (kind, then) in Random::of("restarted").sample(restarted(), 2) {
        let Some(mut subject) = Subject::new(&kind) else { continue };
        let slow = Slow::start(&subject, &[]);
        subject.kill_server();
        subject.start_server();
        let outcome = slow.finish();
        println!("{kind}: {outcome}");
        match then {
            Restarted::Refused(words) => subject.assert_refused(&outcome, 1, &[words]),
            Restarted::Whole => {
                assert_eq!(outcome.code(), Some(0), "{kind}: {outcome}");
                subject.verify_ok("latest");
            }
        }
        subject.backup_ok();
        subject.assert_clean();
    }
}
