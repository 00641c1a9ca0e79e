//! Holds of a keeper: they last while they are renewed, and end when they are not.

#![expect(clippy::unwrap_used, reason = "a helper of a test that fails is a test that fails")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use common::{Machine, Runner, is_alive, signal, until};
use standstill_core::{
    ErrorKind,
    hook::{Acquired, Undone},
    point::RunId,
    runtime::{Command, KeeperProgram, KeeperSpec, Runtime},
    secret::Secret,
};
use standstill_local::{LocalJournals, LocalLocks};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(900);

/// A server whose state is the file `held`, and its client: it forgets the state with its connection or not.
const CLIENT: &str = "while read line; do case $line in \
    PAUSE) touch held; echo OK;; PING) echo pong;; STATE) test -e held && echo paused || echo running;; \
    RESUME) test ! -e broken || exit 1; rm -f held;; esac; done";

fn pair(machine: &Machine, lease: Duration) -> KeeperSpec {
    let program = KeeperProgram::Pair {
        acquire: machine.script("touch held; echo acquired"),
        confirm: Some((machine.script("test ! -e held || echo paused"), "paused".to_owned())),
        release: machine.script("echo tried >> tries; test ! -e broken && rm -f held"),
    };
    KeeperSpec { name: "pause".to_owned(), program, lease, timeout: Duration::from_secs(5) }
}

fn session(machine: &Machine, lease: Duration, survives_client: bool) -> KeeperSpec {
    let forgets = if survives_client { "" } else { "trap 'rm -f held' EXIT;" };
    let program = KeeperProgram::Session {
        client: machine.script(&format!("{forgets} echo $$ > client; {CLIENT}")),
        send: vec!["PAUSE".to_owned()],
        until: "^OK".to_owned(),
        keep_alive: Some("PING".to_owned()),
        confirm: Some(("STATE".to_owned(), "^paused".to_owned())),
        release: vec!["RESUME".to_owned()],
        release_until: None,
        survives_client,
    };
    KeeperSpec { name: "pause".to_owned(), program, lease, timeout: Duration::from_secs(2) }
}

async fn kept(machine: &Machine, spec: &KeeperSpec) -> (Acquired, serde_json::Value) {
    let record = machine.runtime.keeper_record(spec, &RunId::generate()).unwrap();
    (machine.runtime.keep(spec, &record).await.unwrap(), record)
}

/// The keeper's process id, as it noted it itself.
fn keeper_of(record: &serde_json::Value) -> u32 {
    noted_in(Path::new(record["keeper"]["directory"].as_str().unwrap()))
}

/// The directory of the newest attempt.
fn newest(directory: &Path) -> PathBuf {
    let later = (2..).map(|attempt| directory.join(attempt.to_string())).take_while(|path| path.exists());
    later.last().unwrap_or_else(|| directory.to_owned())
}

fn noted_in(directory: &Path) -> u32 {
    let text = fs::read_to_string(directory.join("keeper.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["pid"].as_u64().unwrap().try_into().unwrap()
}

#[tokio::test]
async fn what_a_keeper_held_elsewhere_is_let_go_by_its_release() {
    let machine = Machine::new(LONG);
    let spec = pair(&machine, LONG);
    let record = machine.runtime.keeper_record(&spec, &RunId::generate()).unwrap();
    fs::write(machine.path("held"), "").unwrap();
    let none = BTreeMap::new();
    // Here nothing of it is known.
    assert_eq!(machine.runtime.dispose(&record, &none).await.unwrap(), Undone::AlreadyGone);
    assert!(machine.path("held").exists());
    assert_eq!(machine.runtime.release_kept(&record, &none).await.unwrap(), Undone::LetGo);
    assert!(!machine.path("held").exists());
    fs::write(machine.path("broken"), "").unwrap();
    let error = machine.runtime.release_kept(&record, &none).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StillHeld, "{error}");
}

#[tokio::test]
async fn a_pair_is_acquired_proven_and_let_go() {
    let machine = Machine::new(LONG);
    let (mut acquired, _) = kept(&machine, &pair(&machine, LONG)).await;
    assert!(machine.path("held").exists());
    assert_eq!(acquired.outputs["stdout"], "acquired\n");
    acquired.hold.renew().await.unwrap();
    let evidence = acquired.hold.confirm().await.unwrap();
    assert_eq!(evidence.get("stdout").unwrap(), "paused");
    acquired.hold.release().await.unwrap();
    assert!(!machine.path("held").exists());
    acquired.hold.release().await.unwrap();
    assert_eq!(fs::read_to_string(machine.path("tries")).unwrap(), "tried\n");
}

#[tokio::test]
async fn a_session_is_acquired_proven_and_let_go() {
    for survives_client in [true, false] {
        let machine = Machine::new(LONG);
        let (mut acquired, _) = kept(&machine, &session(&machine, LONG, survives_client)).await;
        assert_eq!(acquired.outputs["stdout"], "OK");
        for _ in 0..3 {
            acquired.hold.renew().await.unwrap();
        }
        assert_eq!(acquired.hold.confirm().await.unwrap().get("said").unwrap(), "paused");
        acquired.hold.release().await.unwrap();
        assert!(!machine.path("held").exists());
    }
}

/// Several clients end with status 0 after any error.
#[tokio::test]
async fn a_client_that_does_not_say_that_it_let_go_is_not_believed() {
    let machine = Machine::new(LONG);
    for survives_client in [true, false] {
        let mut spec = session(&machine, LONG, survives_client);
        let KeeperProgram::Session { client, release_until, .. } = &mut spec.program else { panic!() };
        *client = machine.script(
            "while read line; do case $line in PAUSE) touch held; echo OK;; \
             RESUME) if test -e broken; then echo ERR; else rm -f held; echo gone; fi;; esac; done",
        );
        *release_until = Some("^gone$".to_owned());
        let (mut acquired, _) = kept(&machine, &spec).await;
        fs::write(machine.path("broken"), "").unwrap();
        let error = acquired.hold.release().await.unwrap_err();
        assert_eq!(error.kind() == ErrorKind::HoldLapsed, !survives_client, "{}", error.chain());
        fs::remove_file(machine.path("broken")).unwrap();
        if survives_client {
            assert!(error.chain().contains("no line matched `^gone$`"), "{}", error.chain());
            acquired.hold.release().await.unwrap();
            assert!(!machine.path("held").exists());
        }
    }
}

#[tokio::test]
async fn what_is_not_held_any_more_is_not_confirmed() {
    let machine = Machine::new(LONG);
    for spec in [pair(&machine, LONG), session(&machine, LONG, true)] {
        let (mut acquired, _) = kept(&machine, &spec).await;
        fs::remove_file(machine.path("held")).unwrap();
        acquired.hold.renew().await.unwrap();
        assert_eq!(acquired.hold.confirm().await.unwrap_err().kind(), ErrorKind::HoldLapsed);
        acquired.hold.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_hold_lasts_while_it_is_renewed_and_ends_within_the_lease_when_it_is_not() {
    let machine = Machine::new(LONG);
    for spec in [pair(&machine, SHORT), session(&machine, SHORT, true), session(&machine, SHORT, false)] {
        let (mut acquired, _) = kept(&machine, &spec).await;
        let started = Instant::now();
        while started.elapsed() < SHORT * 2 {
            tokio::time::sleep(SHORT / 3).await;
            acquired.hold.renew().await.unwrap();
        }
        assert!(machine.path("held").exists());
        until("it is let go", SHORT + Duration::from_secs(1), || !machine.path("held").exists());
        let error = acquired.hold.confirm().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HoldLapsed, "{error}");
        assert_eq!(acquired.hold.release().await.unwrap_err().kind(), ErrorKind::HoldLapsed);
    }
}

#[tokio::test]
async fn dropping_a_hold_lets_it_go() {
    let machine = Machine::new(LONG);
    for spec in [pair(&machine, LONG), session(&machine, LONG, true), session(&machine, LONG, false)] {
        let (acquired, _) = kept(&machine, &spec).await;
        assert!(machine.path("held").exists());
        drop(acquired);
        until("it is let go", Duration::from_secs(3), || !machine.path("held").exists());
    }
}

#[tokio::test]
async fn a_client_that_ends_is_noticed_and_what_survives_it_is_let_go_by_a_new_one() {
    let machine = Machine::new(LONG);
    for survives_client in [true, false] {
        let spec = session(&machine, LONG, survives_client);
        let (mut acquired, _) = kept(&machine, &spec).await;
        let client = common::number(&machine.path("client"));
        signal(client, "KILL");
        until("it is gone", LONG, || !is_alive(client));
        assert_eq!(acquired.hold.confirm().await.unwrap_err().kind(), ErrorKind::HoldLapsed);
        acquired.hold.release().await.unwrap();
        if survives_client {
            assert!(!machine.path("held").exists());
        }
        let _ = fs::remove_file(machine.path("held"));
    }
}

#[tokio::test]
async fn a_release_that_failed_may_be_asked_for_again() {
    let machine = Machine::new(LONG);
    for spec in [pair(&machine, LONG), session(&machine, LONG, true)] {
        let (mut acquired, _) = kept(&machine, &spec).await;
        fs::write(machine.path("broken"), "").unwrap();
        let error = acquired.hold.release().await.unwrap_err();
        assert_ne!(error.kind(), ErrorKind::HoldLapsed, "{error}");
        assert!(machine.path("held").exists());
        fs::remove_file(machine.path("broken")).unwrap();
        acquired.hold.release().await.unwrap();
        assert!(!machine.path("held").exists());
    }
}

#[tokio::test]
async fn a_keeper_that_lets_go_by_itself_tries_until_it_succeeds() {
    let machine = Machine::new(LONG);
    let (acquired, _) = kept(&machine, &pair(&machine, LONG)).await;
    fs::write(machine.path("broken"), "").unwrap();
    drop(acquired);
    let tries = || fs::read_to_string(machine.path("tries")).unwrap_or_default().lines().count();
    until("it was tried several times", Duration::from_secs(10), || tries() >= 3);
    assert!(machine.path("held").exists());
    fs::remove_file(machine.path("broken")).unwrap();
    until("it is let go", Duration::from_secs(10), || !machine.path("held").exists());
}

#[tokio::test]
async fn an_acquisition_that_fails_says_why_and_leaves_nothing_held() {
    let machine = Machine::new(LONG);
    let mut spec = pair(&machine, LONG);
    if let KeeperProgram::Pair { acquire, .. } = &mut spec.program {
        *acquire = machine.script("touch held; echo not allowed >&2; exit 9");
    }
    let record = machine.runtime.keeper_record(&spec, &RunId::generate()).unwrap();
    let error = machine.runtime.keep(&spec, &record).await.err().unwrap();
    assert_eq!(error.to_string(), "pause: sh ended with exit status 9: not allowed");
    until("nothing is held", Duration::from_secs(3), || !machine.path("held").exists());
    let mut spec = session(&machine, LONG, true);
    if let KeeperProgram::Session { until, .. } = &mut spec.program {
        "^never".clone_into(until);
    }
    let record = machine.runtime.keeper_record(&spec, &RunId::generate()).unwrap();
    let error = machine.runtime.keep(&spec, &record).await.err().unwrap();
    assert!(
        error.to_string().contains("no line matched `^never` within 2.0 s (the last line was `OK`)"),
        "{error}"
    );
    until("nothing is held", Duration::from_secs(4), || !machine.path("held").exists());
}

fn runner_that_keeps(machine: &Machine, kind: &str, lease: Duration) -> (Runner, serde_json::Value) {
    let place = machine.place.path().to_str().unwrap();
    let mut runner = machine.runner(lease, &["keep", kind, place]);
    let record = serde_json::from_str(&runner.line()).unwrap();
    assert_eq!(runner.line().trim(), "ready");
    assert!(machine.path("held").exists());
    (runner, record)
}

#[test]
fn killing_or_stopping_the_runner_ends_the_hold() {
    let machine = Machine::new(LONG);
    for kind in ["pair", "survivor"] {
        let (runner, _) = runner_that_keeps(&machine, kind, LONG);
        runner.signal("KILL");
        until("it is let go at once", Duration::from_secs(3), || !machine.path("held").exists());
        let (runner, _) = runner_that_keeps(&machine, kind, SHORT);
        // As Ctrl-Z does: the keeper must not be stopped with the group.
        runner.signal_group("STOP");
        until("it is let go within the lease", SHORT + Duration::from_secs(1), || {
            !machine.path("held").exists()
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_runner_and_keeper_were_killed_is_let_go_from_the_record() {
    let machine = Machine::new(LONG);
    for kind in ["pair", "survivor"] {
        let (runner, record) = runner_that_keeps(&machine, kind, LONG);
        signal(keeper_of(&record), "KILL");
        drop(runner);
        assert_eq!(machine.runtime.dispose(&record, &BTreeMap::new()).await.unwrap(), Undone::LetGo);
        assert!(!machine.path("held").exists());
        assert_eq!(machine.runtime.dispose(&record, &BTreeMap::new()).await.unwrap(), Undone::AlreadyGone);
    }
}

/// An attempt that fails leaves notes for whoever lets go; the next one must not be taken for it.
#[tokio::test(flavor = "multi_thread")]
async fn another_attempt_begins_from_nothing_and_is_let_go_from_the_same_record() {
    let none = BTreeMap::new();
    for by_session in [false, true] {
        let machine = Machine::new(LONG);
        let spec = if by_session { session(&machine, LONG, true) } else { pair(&machine, LONG) };
        let mut failing = spec.clone();
        match &mut failing.program {
            KeeperProgram::Pair { acquire, .. } => *acquire = machine.script("exit 9"),
            KeeperProgram::Session { until, .. } => "^never".clone_into(until),
        }
        let record = machine.runtime.keeper_record(&spec, &RunId::generate()).unwrap();
        let directory = Path::new(record["keeper"]["directory"].as_str().unwrap());
        // Disposed of while its keeper is ending, and after it has noted that it let go.
        for waits in [false, true] {
            assert!(machine.runtime.keep(&failing, &record).await.is_err());
            if waits {
                let noted = || newest(directory).join("released").exists();
                until("it is noted that nothing is held", Duration::from_secs(5), noted);
            }
            machine.runtime.dispose(&record, &none).await.unwrap();
        }
        let acquired = machine.runtime.keep(&spec, &record).await.unwrap();
        assert!(machine.path("held").exists());
        // As if the machine had killed both: nobody lets go by himself.
        signal(noted_in(&newest(directory)), "KILL");
        drop(acquired);
        assert!(machine.path("held").exists());
        assert_eq!(machine.runtime.dispose(&record, &none).await.unwrap(), Undone::LetGo);
        assert!(!machine.path("held").exists());
        assert_eq!(machine.runtime.dispose(&record, &none).await.unwrap(), Undone::AlreadyGone);
    }
}

#[tokio::test]
async fn what_keeps_an_earlier_attempt_from_beginning_stays_while_another_holds() {
    let machine = Machine::new(LONG);
    let (spec, none) = (pair(&machine, LONG), BTreeMap::new());
    let record = machine.runtime.keeper_record(&spec, &RunId::generate()).unwrap();
    let directory = Path::new(record["keeper"]["directory"].as_str().unwrap());
    // Its keeper has not said yet which process it is, and may still come.
    fs::create_dir_all(directory).unwrap();
    machine.runtime.dispose(&record, &none).await.unwrap();
    let mut acquired = machine.runtime.keep(&spec, &record).await.unwrap();
    assert!(directory.join("forbidden").exists());
    acquired.hold.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_was_stopped_is_woken_to_let_go() {
    let machine = Machine::new(LONG);
    let (runner, record) = runner_that_keeps(&machine, "pair", LONG);
    signal(keeper_of(&record), "STOP");
    drop(runner);
    assert_eq!(machine.runtime.dispose(&record, &BTreeMap::new()).await.unwrap(), Undone::LetGo);
    assert!(!machine.path("held").exists());
}

#[tokio::test]
async fn a_hold_that_was_let_go_or_never_acquired_is_gone_already() {
    let machine = Machine::new(LONG);
    let spec = pair(&machine, LONG);
    let record = machine.runtime.keeper_record(&spec, &RunId::generate()).unwrap();
    assert_eq!(machine.runtime.dispose(&record, &BTreeMap::new()).await.unwrap(), Undone::AlreadyGone);
    let (mut acquired, record) = kept(&machine, &spec).await;
    let keeper = keeper_of(&record);
    acquired.hold.release().await.unwrap();
    until("the keeper ends", Duration::from_secs(5), || !is_alive(keeper));
    assert_eq!(machine.runtime.dispose(&record, &BTreeMap::new()).await.unwrap(), Undone::AlreadyGone);
}

#[tokio::test]
async fn a_release_that_fails_after_a_crash_names_the_command_to_run_by_hand() {
    let machine = Machine::new(LONG);
    let mut spec = pair(&machine, LONG);
    spec.timeout = Duration::from_millis(500);
    let (acquired, record) = kept(&machine, &spec).await;
    fs::write(machine.path("broken"), "").unwrap();
    signal(keeper_of(&record), "KILL");
    let error = machine.runtime.dispose(&record, &BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StillHeld);
    assert!(error.remedy_text().unwrap().starts_with("Let it go by hand: run `sh -c "), "{error:?}");
    drop(acquired);
}

#[tokio::test]
async fn secrets_reach_the_commands_but_not_the_record_the_files_or_the_keeper() {
    let machine = Machine::new(LONG);
    let secret = "correct horse battery staple";
    let with_secret = |script: &str| {
        let mut command: Command = machine.script(script);
        command.secret_env = BTreeMap::from([("PASSWORD".to_owned(), Secret::new(secret))]);
        command
    };
    let program = KeeperProgram::Pair {
        acquire: with_secret("test -n \"$PASSWORD\" && touch held"),
        confirm: None,
        release: with_secret("test -n \"$PASSWORD\" && rm -f held"),
    };
    let spec = KeeperSpec { name: "pause".to_owned(), program, lease: LONG, timeout: Duration::from_secs(1) };
    let (acquired, record) = kept(&machine, &spec).await;
    assert!(!record.to_string().contains(secret));
    let keeper = keeper_of(&record);
    let contains = |path: &Path| {
        fs::read(path).is_ok_and(|text| text.windows(secret.len()).any(|part| part == secret.as_bytes()))
    };
    for file in ["cmdline", "environ"] {
        assert!(!contains(Path::new(&format!("/proc/{keeper}/{file}"))));
    }
    let directory = record["keeper"]["directory"].as_str().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        assert!(!contains(&entry.unwrap().path()));
    }
    signal(keeper, "KILL");
    let error = machine.runtime.dispose(&record, &BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StillHeld);
    let secrets = BTreeMap::from([("PASSWORD".to_owned(), Secret::new(secret))]);
    assert_eq!(machine.runtime.dispose(&record, &secrets).await.unwrap(), Undone::LetGo);
    assert!(!machine.path("held").exists());
    drop(acquired);
}

#[tokio::test]
async fn the_journal_and_the_lock_of_a_killed_process_are_free() {
    use standstill_core::{journal::JournalStore, lock::TargetLock};
    let machine = Machine::new(LONG);
    let mut runner = machine.runner(LONG, &["journal"]);
    let run: RunId = runner.line().strip_prefix("ready ").unwrap().parse().unwrap();
    let (journals, locks) = (LocalJournals::new(&machine.state), LocalLocks::new(&machine.state));
    let other = RunId::generate();
    let error = locks.acquire("target", &other).await.err().unwrap();
    assert_eq!(error.to_string(), format!("run {run} (process {}) is working on target", runner.child.id()));
    assert_eq!(journals.take_over(&run).await.err().unwrap().kind(), ErrorKind::Locked);
    drop(runner);
    assert!(locks.acquire("target", &other).await.unwrap().is_held().await);
    journals.take_over(&run).await.unwrap();
}
