//! Redis in a pod, by the blueprints that ship: backed up under a writer, verified, restored; and a runner that dies
//! while it holds rewrites off.

use std::time::Duration;

use crate::{
    blueprints::in_rounds,
    matrix::recovers,
    support::{
        Space, eventually,
        outage::{delete_runner, kill_runner},
        redis::Redis,
        runs::{HELD, await_held},
        writer::assert_whole,
    },
};

/// How soon a helper lets go when its runner is gone: at once, and room for a busy machine.
const LET_GO: Duration = Duration::from_secs(10);
/// The least that the blueprints need, by their READMEs.
const SAVE: &str = "+ping +info +client|setname +client|list +config|get +bgsave";
const DUMP: &str = "+ping +info +client|setname +client|list +psync +replconf";
const APPEND_ONLY: &str = "+ping +info +client|setname +client|list +config|get +config|set";

#[track_caller]
fn there_and_back(space: &Space, blueprint: &str, permissions: &str, appends: bool) {
    let server = Redis::start(space, permissions);
    let writer = server.writer();
    let before = writer.acknowledged();
    let backup = server.start_backup(blueprint, &[]).wait();
    let after = writer.stop() + 1;
    assert_eq!(backup.code(), Some(0), "{backup}");
    assert_eq!(backup.json()["consistency"], "application", "{backup}");
    println!("backup: {:?}, writes waited {}", backup.took, backup.json()["freeze"]);
    assert_eq!(server.held(), Vec::<String>::new());
    let verified = server.of_newest("verify", &[]);
    assert_eq!(verified.json()["outcome"], "passed", "{verified}");
    space.assert_clean();
    server.of_newest("restore", &["--set=target.claim=restored"]);
    assert_whole(&Redis::second(space, "restored", appends).numbers(), before, after);
    space.assert_clean();
}

#[test]
fn a_redis_under_a_writer_comes_back_whole_from_a_save() {
    in_rounds("redis", |space| there_and_back(space, "redis", SAVE, false));
}

#[test]
fn a_redis_under_a_writer_comes_back_whole_from_its_append_only_file() {
    in_rounds("redisaof", |space| there_and_back(space, "redis-aof", APPEND_ONLY, true));
}

#[test]
fn a_redis_under_a_writer_comes_back_whole_from_a_dump() {
    in_rounds("redisdump", |space| there_and_back(space, "redis-dump", DUMP, false));
}

#[test]
fn rewrites_that_a_killed_runner_held_off_go_on_at_once_and_writes_never_wait() {
    let Some(space) = Space::new("rewrites") else { return };
    space.place.init();
    let server = Redis::start(&space, APPEND_ONLY);
    let writer = server.writer();
    for (by_command, end) in [(true, kill_runner as fn(&Space)), (false, delete_runner)] {
        let mut run = server.start_backup("redis-aof", &HELD);
        await_held(&space, &mut run);
        let held = server.held();
        assert!(held.iter().any(|held| held.starts_with("rewrites")), "{held:?}");
        end(&space);
        // Its helper is in a container of its own, and puts the setting back before anybody recovers the run.
        let within = eventually(LET_GO, "rewrites go on", || server.held().is_empty());
        println!("rewrites went on after {within:?}");
        let outcome = run.wait();
        assert_eq!(outcome.code(), Some(1), "{outcome}");
        writer.goes_on(Duration::from_secs(5));
        recovers(&space, "killed", by_command, || server.start_backup("redis-aof", &[]).wait());
        assert_eq!(server.held(), Vec::<String>::new());
    }
    writer.stop();
}
