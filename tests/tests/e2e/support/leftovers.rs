//! What a run may not leave behind.

use std::{fs, path::Path, time::Duration};

use super::{
    eventually, filesystem,
    place::Place,
    process::{self, Process},
};

/// Processes of a place: those that run its binary, and those whose command line names it. What `known` lists, and
/// what those started, is not counted; nor is what the test itself keeps running beside the binary.
pub fn processes(place: &Place, known: &[u32]) -> Vec<Process> {
    let all = process::all();
    let root = place.root().to_str().unwrap();
    let ours = |process: &&Process| {
        let runs_the_binary = process.program.as_deref() == Some(place.binary.as_path());
        let is_the_tests = process.parent == std::process::id();
        runs_the_binary || (process.line().contains(root) && !is_the_tests)
    };
    let is_known = |process: &Process| {
        let (mut pid, mut parent) = (process.pid, process.parent);
        loop {
            if known.contains(&pid) {
                return true;
            }
            let Some(above) = all.iter().find(|process| process.pid == parent) else { return false };
            (pid, parent) = (above.pid, above.parent);
        }
    };
    all.iter().filter(ours).filter(|process| !is_known(process)).cloned().collect()
}

/// The processes of a place that are there now and belong there.
pub fn residents(place: &Place) -> Vec<u32> {
    processes(place, &[]).into_iter().map(|process| process.pid).collect()
}

/// Temporary things of runs in a directory and the directories below it, as far as their names tell.
pub fn files(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let ours = names.filter(|name| name.trim_start_matches('.').starts_with("standstill-"));
    ours.map(|name| directory.join(name).display().to_string()).collect()
}

/// Asserts that nothing of any run is left: no process, no temporary file in the place and beside the volumes, no
/// snapshot, no lock of the repository, no run that is not finished.
#[track_caller]
pub fn assert_none(place: &Place, known: &[u32], volumes: &[&Path]) {
    // A guard that is just ending what it guarded takes a moment.
    eventually(Duration::from_secs(10), &format!("processes end: {:#?}", processes(place, known)), || {
        processes(place, known).is_empty()
    });
    assert_eq!(files(&place.tmp()), Vec::<String>::new(), "temporary files are left");
    for volume in volumes {
        for directory in volume.ancestors().take_while(|above| *above != place.root()) {
            assert_eq!(files(directory), Vec::<String>::new(), "something is left beside the volume");
        }
        if is_btrfs(volume) {
            let left: Vec<String> = filesystem::subvolumes(volume)
                .into_iter()
                .filter(|path| path.contains("standstill-"))
                .collect();
            assert_eq!(left, Vec::<String>::new(), "snapshots are left");
        }
    }
    let locks: Vec<_> = fs::read_dir(place.repository().join("locks"))
        .map(|locks| locks.map(|lock| lock.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    assert_eq!(locks, Vec::<String>::new(), "the repository is still locked");
    for run in place.run_ids() {
        // One whose first line was never written did nothing, so there is nothing to finish.
        let last = place.journal(&run).pop();
        let finished = last.as_ref().is_none_or(|(event, _)| event == "finished");
        assert!(finished, "run {run} is not finished: {last:?}");
    }
}

fn is_btrfs(path: &Path) -> bool {
    // BTRFS_SUPER_MAGIC of linux/magic.h.
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == 0x9123_683e)
}
