//! `standstill agent transfer`: data moved by a process of its own, as a pod does it, into a real repository and back.

use std::{
    fs,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use standstill_core::{
    point::{ArtifactKind, Consistency, Freeze, RecoveryPoint, RunId, StoredArtifact},
    repository::{NoProgress, PutTree, Repository as _, Restored, TreeSelection},
    secret::Secret,
    transfer::{GetTree, TransferLine, TransferReport, TransferSpec, perform},
};
use standstill_repository::Repository;
use tokio_util::sync::CancellationToken;

use crate::{
    restic::{assert_same, ok, restic},
    support::{
        Place, eventually, leftovers,
        place::{Outcome, PASSWORD, Started},
    },
};

/// Enough for a transfer to take a while: it neither compresses nor repeats.
const LARGE: u64 = 192 << 20;

/// A place with a repository and a tree.
struct Moving {
    place: Place,
    run: RunId,
}

impl Moving {
    fn new() -> Self {
        let place = Place::new();
        place.init();
        fs::create_dir(place.join("tree")).unwrap();
        Self { place, run: RunId::generate() }
    }

    fn tree(&self) -> PathBuf {
        self.place.join("tree")
    }

    /// One with what a tree can hold.
    fn with_everything() -> Self {
        let moving = Self::new();
        let tree = moving.tree();
        fs::create_dir_all(tree.join("sub/empty")).unwrap();
        fs::set_permissions(tree.join("sub/empty"), fs::Permissions::from_mode(0o2750)).unwrap();
        fs::write(tree.join("sub/größe\nline"), "x".repeat(3_000_000)).unwrap();
        fs::write(tree.join("control"), "read last").unwrap();
        fs::write(tree.join("server.pid"), "left out").unwrap();
        fs::hard_link(tree.join("control"), tree.join("sub/again")).unwrap();
        symlink("../nowhere", tree.join("sub/link")).unwrap();
        fs::File::create(tree.join("sub/sparse")).unwrap().set_len(20 << 20).unwrap();
        fs::set_permissions(tree.join("control"), fs::Permissions::from_mode(0o600)).unwrap();
        // A file that has just changed is stored as one that may change again, so that it is no two times the same.
        let changed = fs::metadata(tree.join("control")).unwrap().ctime();
        eventually(Duration::from_secs(10), "the files are older than a second", || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now.as_secs() > u64::try_from(changed).unwrap() + 2
        });
        moving
    }

    /// One that takes a while.
    fn with_much() -> Self {
        let moving = Self::new();
        let mut noise = fs::File::open("/dev/urandom").unwrap().take(LARGE);
        std::io::copy(&mut noise, &mut fs::File::create(moving.tree().join("noise")).unwrap()).unwrap();
        moving
    }

    fn put(&self) -> TransferSpec {
        TransferSpec::PutTree(PutTree {
            run: self.run.clone(),
            application: "shop".into(),
            artifact: "data".into(),
            kind: ArtifactKind::Volume,
            root: self.tree(),
            original: "/var/lib/shop".into(),
            selection: TreeSelection {
                exclude: vec!["*.pid".into()],
                tolerate_changes: false,
                last: vec!["control".into()],
            },
            cut_at: None,
        })
    }

    /// Starts the agent on a spec.
    fn start(&self, spec: &TransferSpec) -> Started {
        let spec = self.place.file("spec.json", &serde_json::to_string(spec).unwrap());
        self.place.start(["agent", "transfer", "--spec", spec.to_str().unwrap()])
    }

    /// Starts the agent, and waits until it is in the middle.
    fn start_and_wait(&self) -> Started {
        let mut started = self.start(&self.put());
        eventually(Duration::from_mins(1), "the transfer is told to go on", || {
            assert!(!started.has_ended(), "it ended before it was half-way");
            lines(&started.stdout()).iter().any(|line| matches!(line, TransferLine::Advance(_)))
        });
        started
    }

    /// Works on the repository by this process.
    fn in_process<T>(&self, work: impl AsyncFnOnce(Repository) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let location = self.place.repository().to_str().unwrap().parse().unwrap();
            work(Repository::open(&location, &Secret::new(PASSWORD.as_str())).await.unwrap()).await
        })
    }

    /// Commits a recovery point of what was stored.
    fn commit(&self, stored: &StoredArtifact) {
        let point = point(&self.run, stored);
        self.in_process(async |repository| repository.commit(&point).await.unwrap());
    }

    /// What the repository holds of a kind.
    fn files(&self, kind: &str) -> usize {
        let entries = fs::read_dir(self.place.repository().join(kind)).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .map(|path| if path.is_dir() { fs::read_dir(path).unwrap().count() } else { 1 })
            .sum()
    }

    /// Asserts that what was begun is not listed, harms nothing, and is removed by what removes.
    #[track_caller]
    fn nothing_is_left_that_cannot_be_removed(&self) {
        assert_eq!(self.files("snapshots"), 0, "an incomplete artifact is in the repository");
        assert_eq!(self.place.points(), Vec::<String>::new());
        let checked = self.place.ok(["check", "--read-data", "--output=json"]).json();
        assert_eq!(checked["damage"], json!([]), "{checked}");

        let stored = stored(&self.start(&self.put()).wait());
        self.commit(&stored);
        self.place.ok(["check", "--read-data"]);
        self.place.ok(["forget", self.run.as_str(), "--prune"]);
        assert_eq!((self.files("data"), self.files("snapshots"), self.files("locks")), (0, 0, 0));
    }
}

fn point(run: &RunId, stored: &StoredArtifact) -> RecoveryPoint {
    let now = "2026-11-22T12:00:00Z";
    RecoveryPoint {
        id: run.clone(),
        name: "shop".into(),
        blueprint: "shop".into(),
        blueprint_digest: "0".repeat(64),
        blueprint_text: String::new(),
        parameters: serde_json::Map::new(),
        cut_at: now.parse().unwrap(),
        started_at: now.parse().unwrap(),
        consistency: Consistency::Crash,
        freeze: Freeze::default(),
        holds: Vec::new(),
        outputs: std::collections::BTreeMap::new(),
        artifacts: vec![stored.clone()],
        facts: Vec::new(),
        version: None,
        identity: None,
        members: Vec::new(),
        standstill: "0.1.0".into(),
    }
}

/// What an agent said; a last line that is not whole yet is left out.
fn lines(stdout: &str) -> Vec<TransferLine> {
    let whole = stdout.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause}: {line}"))).collect()
}

#[track_caller]
fn report(outcome: &Outcome) -> TransferReport {
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let mut lines = lines(&outcome.stdout);
    let Some(TransferLine::Report(report)) = lines.pop() else { panic!("no report: {outcome}") };
    let (mut told, mut moved) = (0_u32, 0);
    for line in lines {
        match line {
            TransferLine::Advance(bytes) => (told, moved) = (told + 1, moved + bytes),
            TransferLine::Expect(_) => {}
            TransferLine::Report(_) | TransferLine::Error(_) => panic!("not the last line: {outcome}"),
            other => panic!("{other:?}"),
        }
    }
    let bytes = match &report {
        TransferReport::Stored(stored) => stored.bytes,
        TransferReport::Restored(restored) => restored.bytes,
        other => panic!("{other:?}"),
    };
    assert_eq!(moved, bytes, "{outcome}");
    let halves = 2.0 * outcome.took.as_secs_f64();
    assert!(f64::from(told) <= halves + 2.0, "told {told} times in {:?}", outcome.took);
    report
}

#[track_caller]
fn stored(outcome: &Outcome) -> StoredArtifact {
    match report(outcome) {
        TransferReport::Stored(stored) => stored,
        other => panic!("{other:?}"),
    }
}

/// Asserts that an agent failed like this, on standard output for the run and on standard error for people.
#[track_caller]
fn fails(outcome: &Outcome, status: i32, kind: &str, says: &str) {
    outcome.fails(status, &[]);
    let last = outcome.stdout.lines().last().unwrap_or_default();
    let line: Value = serde_json::from_str(last).unwrap_or_else(|cause| panic!("{cause}: {outcome}"));
    let error = &line["error"];
    assert_eq!(error["kind"], kind, "{outcome}");
    assert!(error["message"].as_str().unwrap().contains(says), "`{says}` is not said: {outcome}");
    assert!(!outcome.stdout.contains("report"), "{outcome}");
}

#[test]
fn a_tree_is_stored_and_restored_by_processes_of_their_own_as_by_the_run_itself() {
    let moving = Moving::with_everything();
    let stored = stored(&moving.start(&moving.put()).wait());
    assert_eq!((stored.name.as_str(), stored.kind), ("data", ArtifactKind::Volume));

    let by_us = moving.in_process(async |repository| {
        let report =
            perform(&moving.put(), &repository, Arc::new(NoProgress), CancellationToken::new()).await;
        moving.put().stored(report.unwrap()).unwrap()
    });
    let same = StoredArtifact {
        snapshot: stored.snapshot.clone(),
        stored_bytes: stored.stored_bytes,
        ..by_us.clone()
    };
    assert_eq!(stored, same, "the same tree, read once and then found unchanged");
    assert!(by_us.stored_bytes < stored.stored_bytes);

    moving.commit(&stored);
    assert_eq!(moving.place.points(), [moving.run.as_str()]);
    moving.place.ok(["check", "--read-data"]);

    let destination = moving.place.join("restored");
    fs::create_dir(&destination).unwrap();
    let get = TransferSpec::GetTree(GetTree { artifact: stored.clone(), destination: destination.clone() });
    let restored = get.restored(report(&moving.start(&get).wait())).unwrap();
    // Two directories, three files of which one has two names, a link; not the file that is left out.
    assert_eq!(restored, Restored { entries: 7, bytes: stored.bytes });
    assert!(!destination.join("server.pid").exists());
    fs::remove_file(moving.tree().join("server.pid")).unwrap();
    assert_same(&moving.tree(), &destination);

    let Some(listed) = restic(&moving.place, &["snapshots", "--json"]) else { return };
    assert!(ok(&listed).contains(&stored.snapshot), "restic sees it");
    let target = moving.place.join("by-restic");
    let by_restic =
        restic(&moving.place, &["restore", &stored.snapshot, "--target", target.to_str().unwrap()]);
    ok(&by_restic.unwrap());
    assert_same(&target.join("var/lib/shop"), &destination);
    leftovers::assert_none(&moving.place, &[], &[]);
}

#[test]
fn a_transfer_that_is_killed_half_way_leaves_nothing_that_is_listed_or_stays() {
    let moving = Moving::with_much();
    let started = moving.start_and_wait();
    started.signal(Signal::KILL);
    assert!(started.wait().was_killed());
    moving.nothing_is_left_that_cannot_be_removed();
}

#[test]
fn a_transfer_that_is_asked_to_end_says_so_and_leaves_nothing() {
    let moving = Moving::with_much();
    let started = moving.start_and_wait();
    let asked = Instant::now();
    started.signal(Signal::TERM);
    let outcome = started.wait();
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}: {outcome}", asked.elapsed());
    fails(&outcome, 1, "cancelled", "was cancelled");
    assert_eq!(moving.files("locks"), 0, "the repository is still locked");
    moving.nothing_is_left_that_cannot_be_removed();
}

#[test]
fn what_is_wrong_is_said_to_the_run_too() {
    let moving = Moving::with_everything();
    let spec = serde_json::to_value(moving.put()).unwrap();
    let with = |pointer: &str, value: Value| {
        let mut spec = spec.clone();
        *spec.pointer_mut(pointer).unwrap() = value;
        let spec = moving.place.file("spec.json", &spec.to_string());
        moving.place.run(["agent", "transfer", "--spec", spec.to_str().unwrap()])
    };
    fails(&with("/version", json!(2)), 2, "input", "described in version 2");
    fails(&with("/putTree/root", json!("tree")), 2, "input", "not an absolute path");
    fails(&with("/putTree/root", json!("/tmp/../etc")), 2, "input", "without `..`");
    let absent = moving.place.join("absent");
    fails(&with("/putTree/root", json!(absent)), 1, "failed", absent.to_str().unwrap());

    let run = |arguments: &[&str]| moving.place.run(["agent", "transfer"].iter().chain(arguments));
    fails(&run(&[]), 2, "input", "--spec");
    fails(&run(&["--spec", "/nowhere.json"]), 2, "input", "/nowhere.json, cannot be read");
    let spec = moving.place.file("spec.json", &spec.to_string());
    let good = ["--spec", spec.to_str().unwrap()];
    let nowhere = moving.place.join("nowhere");
    fails(
        &run(&[&good[..], &["--repository", nowhere.to_str().unwrap()]].concat()),
        2,
        "input",
        "no repository",
    );
    assert!(!nowhere.exists());
    assert_eq!(moving.files("snapshots"), 0);
}

#[test]
fn a_wrong_password_is_said_and_not_repeated() {
    let moving = Moving::with_everything();
    let wrong = moving.place.file("wrong", "Tr0ub4dor&3");
    let spec = moving.place.file("spec.json", &serde_json::to_string(&moving.put()).unwrap());
    let words = ["agent", "transfer", "--spec", spec.to_str().unwrap(), "--password-file"];
    let outcome = moving.place.run(words.iter().chain([&wrong.to_str().unwrap()]));
    fails(&outcome, 2, "input", "the password does not open the repository");
    let help = "Give the password that the repository was made with.";
    assert!(outcome.stdout.contains(help) && outcome.stderr.contains(help), "{outcome}");
    for secret in ["Tr0ub4dor&3", &PASSWORD] {
        assert!(!outcome.to_string().contains(secret), "a password is shown");
    }
    assert_eq!(moving.files("snapshots"), 0);
}

#[test]
fn a_report_that_nobody_gets_is_a_failure() {
    let moving = Moving::with_everything();
    let spec = moving.place.file("spec.json", &serde_json::to_string(&moving.put()).unwrap());
    let mut command = moving.place.command(["agent", "transfer", "--spec", spec.to_str().unwrap()]);
    let full = fs::OpenOptions::new().write(true).open(Path::new("/dev/full")).unwrap();
    let ended = command.stdout(full).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(stderr.contains("cannot be written to standard output"), "{stderr}");
}
