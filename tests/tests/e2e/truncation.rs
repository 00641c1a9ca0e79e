//! Truncation is impossible: a stream whose producer did not end well is no recovery point.

use std::{fs, path::PathBuf, process::Command};

use crate::support::{Place, leftovers, place::Outcome};

/// A place with a program that streams, by this shell text.
struct Streaming {
    place: Place,
    blueprint: PathBuf,
}

impl Streaming {
    fn of(script: &str) -> Self {
        let place = Place::new();
        let program = place.file("produce", &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let text = format!(
            r#"apiVersion: standstill.dev/v1alpha1
kind: Blueprint
metadata:
  name: streaming
spec:
  summary: A stream of its own
  actions:
    backup:
      capture:
        - name: good
          stream: {{artifact: good, command: [echo, whole], consistent: true}}
        - name: data
          stream: {{artifact: data, command: ["{}"], consistent: true}}
    restore:
      steps:
        - stream: {{artifact: data, command: [tee, "{}"]}}
"#,
            program.display(),
            place.join("restored").display()
        );
        let blueprint = place.file("streaming.yaml", &text);
        place.init();
        Self { place, blueprint }
    }

    fn backup(&self) -> Outcome {
        self.place.run(["backup", self.blueprint.to_str().unwrap(), "--output=json"])
    }

    /// Asserts that the backup failed, told why, and left nothing.
    #[track_caller]
    fn leaves_nothing(&self, says: &[&str]) {
        let outcome = self.backup();
        assert_eq!(outcome.code(), Some(1), "{outcome}");
        let report = outcome.json();
        assert!(report["recoveryPoint"].is_null(), "{outcome}");
        let error = &report["error"];
        assert_eq!(error["phase"], "capture", "{outcome}");
        assert_eq!(error["step"], "capture.data", "{outcome}");
        let message = error["message"].as_str().unwrap();
        for text in says {
            assert!(message.contains(text), "`{text}` is not said: {outcome}");
        }
        assert!(error["remedy"].is_string(), "{outcome}");
        assert_eq!(self.place.points(), Vec::<String>::new());
        assert_eq!(snapshots(&self.place), 0, "a snapshot is left of the artifact, or of the one before it");
        leftovers::assert_none(&self.place, &[], &[]);
        self.place.ok(["check", "--read-data"]);
    }
}

/// How many snapshots the repository has, of whatever kind.
fn snapshots(place: &Place) -> usize {
    fs::read_dir(place.repository().join("snapshots")).unwrap().count()
}

const TEN_MEBIBYTES: &str = "head -c 10485760 /dev/urandom";

#[test]
fn a_producer_that_exits_1_after_10_mebibytes_leaves_no_recovery_point() {
    let script = format!("{TEN_MEBIBYTES}\necho reading table 7 >&2\necho the disk is on fire >&2\nexit 1");
    Streaming::of(&script).leaves_nothing(&[
        "produce ended with exit status 1",
        "after 10485760 bytes",
        "reading table 7",
        "the disk is on fire",
    ]);
}

#[test]
fn a_producer_that_is_killed_leaves_no_recovery_point() {
    let script = format!("{TEN_MEBIBYTES}\necho half way >&2\nkill -9 $$");
    Streaming::of(&script).leaves_nothing(&["produce was killed by signal 9", "half way"]);
}

#[test]
fn a_producer_whose_output_is_cut_leaves_no_recovery_point() {
    // It closes its output in the middle and knows nothing of it; only its end tells.
    let script = format!("{TEN_MEBIBYTES}\nexec >&-\nsleep 0.3\necho cannot write >&2\nexit 74");
    Streaming::of(&script).leaves_nothing(&["produce ended with exit status 74", "cannot write"]);
}

#[test]
fn a_producer_whose_worker_was_left_behind_leaves_no_recovery_point() {
    // Its output ends while a part of it that still has something to say lives on.
    let script = format!("{TEN_MEBIBYTES}\n(exec >&-; sleep 60) &\nexit 0");
    Streaming::of(&script).leaves_nothing(&["produce", "left 1 processes behind"]);
}

#[test]
fn a_producer_that_cannot_be_started_leaves_no_recovery_point() {
    let streaming = Streaming::of("exit 0");
    fs::remove_file(streaming.place.join("produce")).unwrap();
    let outcome = streaming.backup();
    assert!(matches!(outcome.code(), Some(1 | 2)), "{outcome}");
    assert!(outcome.json()["error"]["message"].as_str().unwrap().contains("produce"), "{outcome}");
    assert_eq!(streaming.place.points(), Vec::<String>::new());
    assert_eq!(snapshots(&streaming.place), 0);
    leftovers::assert_none(&streaming.place, &[], &[]);
}

#[test]
fn a_killed_pg_dump_leaves_no_recovery_point() {
    use crate::support::{Subject, kind::Kind, postgresql::Version};
    let Some(version) = Version::first() else { return };
    let Some(mut subject) = Subject::new(&Kind::Dump(version.clone())) else { return };
    // In the place of the real one: it hands over some of the dump, then dies.
    let bin = subject.place.join("half");
    fs::create_dir(&bin).unwrap();
    for program in ["pg_dumpall", "psql"] {
        std::os::unix::fs::symlink(version.bin.join(program), bin.join(program)).unwrap();
    }
    let script =
        format!("#!/bin/sh\n{}/pg_dump \"$@\" | head -c 100000\nkill -9 $$\n", version.bin.display());
    fs::write(bin.join("pg_dump"), script).unwrap();
    fs::set_permissions(bin.join("pg_dump"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    subject = subject.with(&format!("binDir={}", bin.display()));
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    let message = outcome.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("pg_dump was killed by signal 9"), "{outcome}");
    assert_eq!(subject.place.points(), Vec::<String>::new());
    assert_eq!(snapshots(&subject.place), 0);
    subject.assert_clean();
}

#[test]
fn a_whole_stream_comes_back_byte_for_byte() {
    let streaming = Streaming::of("cat /usr/bin/env \"$0\"; head -c 3000000 /dev/zero");
    let outcome = streaming.backup();
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let report = outcome.json();
    assert_eq!(report["artifacts"][1]["kind"], "stream", "{outcome}");
    assert_eq!(report["artifacts"][1]["blake3"].as_str().map(str::len), Some(64), "{outcome}");
    streaming.place.ok(["restore", "latest"]);
    let produced = Command::new(streaming.place.join("produce")).output().unwrap();
    let restored = fs::read(streaming.place.join("restored")).unwrap();
    assert!(
        produced.stdout == restored,
        "{} bytes were produced, {} restored",
        produced.stdout.len(),
        restored.len()
    );
    assert_eq!(report["artifacts"][1]["bytes"], produced.stdout.len(), "{outcome}");
}
