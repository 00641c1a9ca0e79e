//! Applications that no hook knows: what `pair` and `session` promise.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::support::{Application, Subject, eventually, kind::Kind, sample::full};

#[test]
fn an_application_that_somebody_resumes_meanwhile_is_never_called_consistent() {
    for kind in [Kind::Pair, Kind::Session] {
        let subject = Subject::new(&kind).unwrap();
        let Application::Kv(kv) = &subject.application else { panic!("not kv") };
        // Between the acquire and the proof, somebody else lets go.
        let resume = subject
            .script("resume", &format!("{} {} RESUME", crate::support::kv::PROGRAM, kv.directory.display()));
        let text = fs::read_to_string(&subject.blueprint).unwrap();
        let capture = "      capture:\n";
        let text = text
            .replace(capture, &format!("{capture}        - exec: {{command: [\"{}\"]}}\n", resume.display()));
        fs::write(&subject.blueprint, text).unwrap();
        let outcome = subject.backup();
        assert_eq!(outcome.code(), Some(1), "{outcome}");
        assert!(outcome.json()["recoveryPoint"].is_null(), "{outcome}");
        assert_eq!(subject.place.points(), Vec::<String>::new());
        subject.assert_clean();
    }
}

#[test]
fn an_application_that_does_not_pause_is_not_captured() {
    let subject = Subject::new(&Kind::Pair).unwrap();
    let text = fs::read_to_string(&subject.blueprint).unwrap().replace("PAUSE]", "PAWS, NOW]");
    // `kv` answers WHAT and exits 0; so have it fail instead.
    let text = text.replace(
        "acquire: [\"{{ params.kv }}\", \"{{ params.directory }}\"",
        "acquire: [\"{{ params.kv }}\", /nonexistent",
    );
    fs::write(&subject.blueprint, text).unwrap();
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    let error = &outcome.json()["error"];
    assert_eq!(error["step"], "quiesce.pause", "{outcome}");
    assert!(error["message"].as_str().unwrap().contains("No such file or directory"), "{outcome}");
    assert_eq!(subject.place.points(), Vec::<String>::new());
    subject.assert_clean();
}

#[test]
fn an_application_that_dies_while_it_is_paused_fails_the_backup_in_time() {
    let mut subject = Subject::new(&Kind::Session).unwrap().with_short_lease();
    let kill = subject.script("kill", "kill -9 \"$1\"");
    let Application::Kv(kv) = &mut subject.application else { panic!("not kv") };
    let text = fs::read_to_string(&subject.blueprint).unwrap();
    let capture = "      capture:\n";
    let step = format!("{capture}        - exec: {{command: [\"{}\", \"{}\"]}}\n", kill.display(), kv.pid());
    fs::write(&subject.blueprint, text.replace(capture, &step)).unwrap();
    let started = Instant::now();
    let outcome = subject.backup();
    assert!(matches!(outcome.code(), Some(1 | 3)), "{outcome}");
    assert!(started.elapsed() < Duration::from_secs(150), "{outcome}");
    assert_eq!(subject.place.points(), Vec::<String>::new());
}

#[test]
fn writers_wait_for_the_release_of_another_hold_no_longer_than_they_may() {
    let subject = Subject::new(&Kind::Pair).unwrap().with_short_lease();
    let (stuck, releasing) = (subject.place.file("stuck", ""), subject.place.join("releasing"));
    let release =
        format!("touch {}; while [ -e {} ]; do sleep 0.1; done", releasing.display(), stuck.display());
    let release = subject.script("release", &release);
    // Acquired last, it is let go first, while the application is still paused.
    let other = format!(
        "        - name: other\n          pair:\n            blocksWrites: false\n            tolerates: [notAtomic, changingFiles]\n            \
         acquire: [\"true\"]\n            confirm: {{command: [\"true\"], expect: \"result.exitCode == 0\"}}\n            \
         release: [{}]\n      capture:\n",
        release.display()
    );
    let text = fs::read_to_string(&subject.blueprint).unwrap().replace("      capture:\n", &other);
    let text = text.replace("      quiesce:\n", "      maxFreeze: 2s\n      quiesce:\n");
    fs::write(&subject.blueprint, text).unwrap();
    let (writer, since) = (subject.database().writer(), Instant::now());
    let mut run = subject.place.start(subject.backup_arguments());
    eventually(Duration::from_secs(30), "the other hold is being let go", || {
        assert!(!run.has_ended(), "{}", run.stderr());
        releasing.exists()
    });
    writer.goes_on(Duration::from_secs(2 + 1 + 4));
    assert!(!run.has_ended(), "the other hold is let go already: {}", run.stderr());
    fs::remove_file(stuck).unwrap();
    let outcome = run.wait();
    let stalled = writer.longest_stall(since);
    assert!(
        stalled > Duration::from_secs(1) && stalled < Duration::from_secs(2 + 1 + 4),
        "writes waited {stalled:?}"
    );
    subject.assert_refused(&outcome, 1, &["maxFreeze was reached"]);
    drop(writer);
    subject.assert_clean();
}

#[test]
fn what_could_not_be_let_go_is_tried_again_by_the_next_recovery() {
    if !full() {
        println!("left out: two minutes are tried before it is said; in the full form");
        return;
    }
    let subject = Subject::new(&Kind::Pair).unwrap().with_short_lease();
    let Application::Kv(kv) = &subject.application else { panic!("not kv") };
    let stuck = subject.place.file("stuck", "");
    let (program, directory) = (crate::support::kv::PROGRAM, kv.directory.display());
    let release = format!("[ ! -e {} ] && {program} {directory} RESUME", stuck.display());
    let release = subject.script("release", &release);
    let usual = "release: [\"{{ params.kv }}\", \"{{ params.directory }}\", RESUME]";
    let text = fs::read_to_string(&subject.blueprint).unwrap();
    assert!(text.contains(usual), "{text}");
    fs::write(&subject.blueprint, text.replace(usual, &format!("release: [{}]", release.display()))).unwrap();
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(3), "{outcome}");
    assert_eq!(subject.place.points(), Vec::<String>::new());
    let run = subject.place.newest_run();
    fs::remove_file(&stuck).unwrap();
    let recovered = subject.place.ok(["recover"]);
    assert!(recovered.stdout.contains(&run), "{recovered}");
    subject.assert_clean();
    subject.backup_ok();
    subject.assert_clean();
    // And where it can never be let go but by hand: whoever did it says so.
    fs::write(stuck, "").unwrap();
    assert_eq!(subject.backup().code(), Some(3));
    let Application::Kv(kv) = &subject.application else { panic!("not kv") };
    kv.ask("RESUME");
    let run = subject.place.newest_run();
    let recovered = subject.place.ok(["recover", "--let-go-by-hand", &format!("--run={run}")]);
    assert!(recovered.stdout.contains(&run), "{recovered}");
    assert!(subject.place.ok(["recover"]).stdout.contains("nothing is held"));
}
