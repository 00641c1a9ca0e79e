//! MongoDB's blueprints in pods: `mongodb` on the fake of its server, `mongodb-dump` on `SecantusDB`.

use std::time::Duration;

use crate::{
    blueprints::in_rounds,
    matrix::recovers,
    support::{
        Space, eventually,
        mongodb::Mongod,
        outage::{delete_runner, kill_runner},
        runs::{HELD, await_held},
        sample::Random,
        writer::assert_whole,
    },
};

/// The lease of the tests, the second that is promised on top of it, and room for a busy machine.
const PROMISED: Duration = Duration::from_secs(5 + 1 + 4);
/// Values of `mongodb` for the fake.
const FILES: [&str; 2] = ["--set=dataDir=/data/db", "--set=lease=5s"];

/// Backs up under a writer and verifies; the last row that was acknowledged before, and the last begun after.
#[track_caller]
fn back_up(server: &Mongod<'_>, blueprint: &str, more: &[&str]) -> (i64, i64) {
    let writer = server.writer();
    let before = writer.acknowledged();
    let backup = server.start_backup(blueprint, more).wait();
    let after = writer.stop() + 1;
    assert_eq!(backup.code(), Some(0), "{backup}");
    assert_eq!(backup.json()["consistency"], "application", "{backup}");
    println!("backup: {:?}, writes waited {}", backup.took, backup.json()["freeze"]);
    assert_eq!(server.held(), Vec::<String>::new());
    let verified = server.of_newest("verify", &[]);
    assert_eq!(verified.json()["outcome"], "passed", "{verified}");
    (before, after)
}

#[track_caller]
fn there_and_back(space: &Space, quiesce: &str) {
    let server = Mongod::fake(space);
    let (before, after) = back_up(&server, "mongodb", &[&FILES[..], &[quiesce]].concat());
    space.assert_clean();
    server.of_newest("restore", &["--set=target.claim=restored"]);
    assert_whole(&server.numbers_on("restored"), before, after);
    space.assert_clean();
}

#[test]
fn a_fake_mongod_under_a_writer_comes_back_whole_from_a_snapshot() {
    let ways = vec!["--set=quiesce=flush", "--set=quiesce=lock"];
    for quiesce in Random::of("cluster mongodb").sample(ways, 1) {
        in_rounds("mongo", |space| there_and_back(space, quiesce));
    }
}

#[test]
fn a_secantusdb_under_a_writer_comes_back_whole_from_a_dump() {
    in_rounds("secantus", |space| {
        let Some(server) = Mongod::secantus(space, "mongo") else { return };
        let (before, after) = back_up(&server, "mongodb-dump", &[]);
        space.assert_clean();
        let Some(second) = Mongod::secantus(space, "second") else { return };
        // The dump waits on a claim of its own while it is restored.
        second.of_newest("restore", &["--set=file=/data/dump", "--set=target.claim=meanwhile"]);
        assert_whole(&second.numbers(), before, after);
        space.assert_clean();
    });
}

#[test]
fn a_locked_fake_mongod_takes_writes_again_when_the_runner_is_killed_or_all_of_its_pod_is() {
    let Some(space) = Space::new("mongokilled") else { return };
    space.place.init();
    let server = Mongod::fake(&space);
    let writer = server.writer();
    let locked = [&FILES[..], &["--set=quiesce=lock"]].concat();
    let ends: Vec<fn(&Space)> = vec![kill_runner, delete_runner];
    for end in Random::of("cluster mongodb ends").sample(ends, 1) {
        let mut run = server.start_backup("mongodb", &[&locked[..], &HELD].concat());
        await_held(&space, &mut run);
        assert!(!server.held().is_empty());
        end(&space);
        println!("writes went on after {:?}", writer.goes_on(PROMISED));
        eventually(PROMISED, "it is not locked any more", || server.held().is_empty());
        let outcome = run.wait();
        assert_eq!(outcome.code(), Some(1), "{outcome}");
        let by_command = Random::of("cluster mongodb").coin();
        recovers(&space, "killed", by_command, || server.start_backup("mongodb", &locked).wait());
        assert_eq!(server.held(), Vec::<String>::new());
    }
    writer.stop();
}
