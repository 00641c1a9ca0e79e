//! Captures on a real btrfs, in a loop-mounted image.

#![expect(clippy::unwrap_used, reason = "a helper of a test that fails is a test that fails")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use common::Machine;
use standstill_core::{
    hook::Undone,
    point::RunId,
    runtime::{CaptureAbility, CaptureMode, Runtime, Volume},
};
use tokio_util::sync::CancellationToken;

/// A btrfs of its own, unmounted when the test ends, also when it fails.
struct Btrfs {
    _image: tempfile::TempDir,
    mount: PathBuf,
}

impl Btrfs {
    /// `None`, with the reason printed, where none can be mounted.
    fn mount() -> Option<Self> {
        let image = tempfile::Builder::new().prefix("standstill-local-").tempdir().unwrap();
        let (file, mount) = (image.path().join("image"), image.path().join("mount"));
        fs::create_dir(&mount).unwrap();
        fs::File::create(&file).unwrap().set_len(256 << 20).unwrap();
        let run = |program: &str, arguments: &[&Path]| {
            Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
        };
        let mounted = run("mkfs.btrfs", &["-q".as_ref(), &file])
            && run("mount", &["-o".as_ref(), "loop".as_ref(), &file, &mount]);
        if !mounted {
            println!(
                "skipped: a btrfs image cannot be mounted here (it needs root, btrfs-progs and loop devices)"
            );
            return None;
        }
        Some(Self { _image: image, mount })
    }

    fn subvolume(&self, name: &str) -> PathBuf {
        let path = self.mount.join(name);
        let made = Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(&path).status().unwrap();
        assert!(made.success());
        path
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.mount).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
        }
    }
}

async fn ability(machine: &Machine, volume: &Volume, mode: CaptureMode) -> CaptureAbility {
    let abilities = machine.runtime.snapshotter().abilities(volume).await.unwrap();
    abilities.into_iter().find(|ability| ability.mode == mode).unwrap()
}

#[tokio::test]
async fn a_btrfs_snapshot_is_of_one_moment_and_is_disposed_of_by_its_record() {
    let Some(btrfs) = Btrfs::mount() else { return };
    let machine = Machine::new(Duration::from_secs(10));
    let subvolume = btrfs.subvolume("srv");
    fs::create_dir_all(subvolume.join("pg/data")).unwrap();
    fs::write(subvolume.join("pg/data/file"), "before").unwrap();
    for path in [subvolume.join("pg/data"), subvolume.clone(), subvolume.join("pg/data/file")] {
        let volume = machine.runtime.volume("data", &path).await.unwrap();
        let able = ability(&machine, &volume, CaptureMode::Atomic).await;
        assert_eq!((able.refused, able.block_level, able.by), (None, false, "btrfs"));
        let run = RunId::generate();
        let snapshotter = machine.runtime.snapshotter();
        let intent = snapshotter.intend(&volume, CaptureMode::Atomic, &run).await.unwrap();
        let captured = snapshotter.capture(&intent, false, &CancellationToken::new()).await.unwrap();
        fs::write(subvolume.join("pg/data/file"), "after").unwrap();
        let file = if path == subvolume { captured.path.join("pg/data/file") } else { captured.path.clone() };
        let file = if file.is_dir() { file.join("file") } else { file };
        assert_eq!(fs::read_to_string(&file).unwrap(), "before");
        assert!(fs::write(&file, "changed").is_err(), "it is read-only");
        assert_eq!(captured.original, path);
        assert!(!captured.path.starts_with(&subvolume), "no volume holds the snapshot of another");
        let none = BTreeMap::new();
        assert_eq!(machine.runtime.dispose(&intent.record, &none).await.unwrap(), Undone::LetGo);
        assert_eq!(machine.runtime.dispose(&intent.record, &none).await.unwrap(), Undone::AlreadyGone);
        assert!(!captured.path.exists());
        fs::write(subvolume.join("pg/data/file"), "before").unwrap();
    }
}

#[tokio::test]
async fn a_volume_that_is_the_root_of_a_mount_is_captured_into_itself_unseen() {
    let Some(btrfs) = Btrfs::mount() else { return };
    let machine = Machine::new(Duration::from_secs(10));
    fs::write(btrfs.mount.join("file"), "data").unwrap();
    let volume = machine.runtime.volume("data", &btrfs.mount).await.unwrap();
    let snapshotter = machine.runtime.snapshotter();
    let run = RunId::generate();
    let intent = snapshotter.intend(&volume, CaptureMode::Atomic, &run).await.unwrap();
    let captured = snapshotter.capture(&intent, false, &CancellationToken::new()).await.unwrap();
    let names: Vec<_> =
        fs::read_dir(&captured.path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(
        ability(&machine, &volume, CaptureMode::Atomic).await.refused,
        None,
        "our own snapshot is no obstacle"
    );
    machine.runtime.dispose(&intent.record, &BTreeMap::new()).await.unwrap();
}

#[tokio::test]
async fn nested_subvolumes_and_mounts_are_refused_since_they_would_be_missing() {
    let Some(btrfs) = Btrfs::mount() else { return };
    let machine = Machine::new(Duration::from_secs(10));
    let subvolume = btrfs.subvolume("srv");
    fs::create_dir(subvolume.join("data")).unwrap();
    let nested = btrfs.subvolume("srv/data/nested");
    let volume = machine.runtime.volume("data", &subvolume.join("data")).await.unwrap();
    for mode in [CaptureMode::Atomic, CaptureMode::Copy, CaptureMode::Live] {
        let reason = ability(&machine, &volume, mode).await.refused.unwrap();
        assert_eq!(
            reason,
            format!("the volume holds a nested subvolume, {}, which would be missing", nested.display())
        );
    }
    fs::remove_dir(&nested).unwrap();
    assert_eq!(ability(&machine, &volume, CaptureMode::Atomic).await.refused, None);
    // Also one of the same device: a bind mount has no device number of its own.
    let bound = subvolume.join("data/bound");
    fs::create_dir(&bound).unwrap();
    assert!(Command::new("mount").arg("--bind").args([&subvolume, &bound]).status().unwrap().success());
    let reason = ability(&machine, &volume, CaptureMode::Atomic).await.refused;
    assert!(Command::new("umount").arg(&bound).status().unwrap().success());
    assert!(reason.unwrap().starts_with("another file system is mounted below the volume, at "));
}

#[tokio::test]
async fn a_copy_shares_blocks_where_the_file_system_can() {
    let Some(btrfs) = Btrfs::mount() else { return };
    let machine = Machine::new(Duration::from_secs(10));
    let data = btrfs.mount.join("data");
    fs::create_dir(&data).unwrap();
    // More than half of the file system: a copy that shares nothing would not fit.
    fs::write(data.join("big"), vec![7; 140 << 20]).unwrap();
    let volume = machine.runtime.volume("data", &data).await.unwrap();
    let able = ability(&machine, &volume, CaptureMode::Copy).await;
    assert_eq!((able.refused, able.by), (None, "reflink"));
    let snapshotter = machine.runtime.snapshotter();
    let intent = snapshotter.intend(&volume, CaptureMode::Copy, &RunId::generate()).await.unwrap();
    let captured = snapshotter.capture(&intent, false, &CancellationToken::new()).await.unwrap();
    assert!(captured.path.starts_with(&btrfs.mount));
    assert_eq!(fs::metadata(captured.path.join("big")).unwrap().len(), 140 << 20);
    assert_eq!(machine.runtime.dispose(&intent.record, &BTreeMap::new()).await.unwrap(), Undone::LetGo);
    assert!(!captured.path.exists());
}

#[tokio::test]
async fn a_file_system_without_snapshots_is_refused_with_its_name() {
    let machine = Machine::new(Duration::from_secs(10));
    let volume = machine.runtime.volume("data", machine.place.path()).await.unwrap();
    let able = ability(&machine, &volume, CaptureMode::Atomic).await;
    match able.refused {
        Some(reason) => assert!(reason.contains("which has no snapshots"), "{reason}"),
        None => println!("skipped: the directory for temporary files is on btrfs"),
    }
    assert_eq!(ability(&machine, &volume, CaptureMode::Live).await.refused, None);
    let snapshotter = machine.runtime.snapshotter();
    let intent = snapshotter.intend(&volume, CaptureMode::Live, &RunId::generate()).await.unwrap();
    let captured = snapshotter.capture(&intent, true, &CancellationToken::new()).await.unwrap();
    assert_eq!(captured.path, volume.path);
}

#[tokio::test]
async fn what_bears_another_name_than_its_record_says_is_not_removed() {
    let Some(btrfs) = Btrfs::mount() else { return };
    let machine = Machine::new(Duration::from_secs(10));
    let subvolume = btrfs.subvolume("srv");
    let record = serde_json::json!({"btrfsSnapshot": {
        "run": RunId::generate(), "subvolume": subvolume, "path": subvolume, "below": ""
    }});
    let error = machine.runtime.dispose(&record, &BTreeMap::new()).await.unwrap_err();
    assert!(error.to_string().contains("is not a snapshot of run"), "{error}");
    assert!(subvolume.exists());
}

#[tokio::test]
async fn a_snapshot_takes_hardly_longer_than_the_bare_command() {
    let Some(btrfs) = Btrfs::mount() else { return };
    let machine = Machine::new(Duration::from_secs(10));
    let subvolume = btrfs.subvolume("srv");
    let volume = machine.runtime.volume("data", &subvolume).await.unwrap();
    let snapshotter = machine.runtime.snapshotter();
    let (mut bare, mut ours) = (Duration::MAX, Duration::MAX);
    // The best of several: whatever else the machine does only adds to it.
    for round in 0..7 {
        fs::write(subvolume.join("file"), vec![round; 1 << 20]).unwrap();
        let started = Instant::now();
        let mut command = Command::new("btrfs");
        command
            .args(["-q", "subvolume", "snapshot", "-r"])
            .arg(&subvolume)
            .arg(btrfs.mount.join(format!("{round}")));
        assert!(command.status().unwrap().success());
        bare = bare.min(started.elapsed());

        fs::write(subvolume.join("file"), vec![round + 100; 1 << 20]).unwrap();
        let intent = snapshotter.intend(&volume, CaptureMode::Atomic, &RunId::generate()).await.unwrap();
        let started = Instant::now();
        snapshotter.capture(&intent, false, &CancellationToken::new()).await.unwrap();
        ours = ours.min(started.elapsed());
    }
    println!("bare {bare:?}, ours {ours:?}");
    assert!(ours < bare + Duration::from_millis(10), "bare {bare:?}, ours {ours:?}");
}
