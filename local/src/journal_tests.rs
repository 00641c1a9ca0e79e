use serde_json::Map;
use standstill_core::journal::RunRequest;

use super::*;

fn store() -> (tempfile::TempDir, LocalJournals) {
    let place = tempfile::tempdir().unwrap();
    let store = LocalJournals::new(&StateDir::at(&place.path().join("state")).unwrap());
    (place, store)
}

fn started(run: &RunId) -> Event {
    let request = RunRequest {
        blueprint_text: String::new(),
        blueprint_origin: "built-in".to_owned(),
        action: "backup".to_owned(),
        application: "shop".to_owned(),
        parameters: Map::new(),
        secrets: std::collections::BTreeMap::new(),
        repository: None,
        point: None,
        member: None,
        members: Vec::new(),
    };
    Event::Started { run: run.clone(), request: Box::new(request), standstill: "0.1.0".to_owned() }
}

fn journal_file(store: &LocalJournals, run: &RunId) -> PathBuf {
    store.0.run(run).join("journal.jsonl")
}

#[tokio::test]
async fn what_was_appended_is_read_in_order() {
    let (_place, store) = store();
    let run = RunId::generate();
    let journal = store.create(&run).await.unwrap();
    journal.append(&started(&run)).await.unwrap();
    journal.append(&Event::Cut).await.unwrap();
    let events: Vec<Event> = store.read(&run).await.unwrap().into_iter().map(|entry| entry.event).collect();
    assert_eq!(events, [started(&run), Event::Cut]);
    assert_eq!(fs::metadata(journal_file(&store, &run)).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_torn_last_line_is_left_out_and_cut_off_when_the_journal_is_taken_over() {
    let (_place, store) = store();
    let run = RunId::generate();
    let journal = store.create(&run).await.unwrap();
    journal.append(&started(&run)).await.unwrap();
    drop(journal);
    let path = journal_file(&store, &run);
    for torn in [&b"{\"at\":\"2026-"[..], b"\0\0\0\0\n", b"{\"at\"\n"] {
        let whole = fs::read(&path).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(torn).unwrap();
        let before = store.read(&run).await.unwrap().len();
        let journal = store.take_over(&run).await.unwrap();
        let entries = store.read(&run).await.unwrap();
        assert_eq!(entries.len(), before + 1);
        assert_eq!(entries.last().unwrap().event, Event::TakenOver);
        assert!(fs::read(&path).unwrap().starts_with(&whole));
        drop(journal);
    }
}

#[tokio::test]
async fn the_journal_of_a_living_run_cannot_be_taken_over() {
    let (_place, store) = store();
    let run = RunId::generate();
    let journal = store.create(&run).await.unwrap();
    journal.append(&started(&run)).await.unwrap();
    assert_eq!(store.runs().await.unwrap()[0].state, RunState::Running);
    let error = store.take_over(&run).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);
    drop(journal);
    assert_eq!(store.runs().await.unwrap()[0].state, RunState::Dead);
    let taken = store.take_over(&run).await.unwrap();
    taken.append(&Event::Finished { success: false }).await.unwrap();
    assert_eq!(store.runs().await.unwrap()[0].state, RunState::Failed);
}

#[tokio::test]
async fn a_writer_whose_journal_was_replaced_or_continued_by_another_is_fenced() {
    let (_place, store) = store();
    let run = RunId::generate();
    let journal = store.create(&run).await.unwrap();
    journal.append(&started(&run)).await.unwrap();
    let path = journal_file(&store, &run);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{}\n").unwrap();
    assert_eq!(journal.append(&Event::Cut).await.unwrap_err().kind(), ErrorKind::Fenced);
    let copy = path.with_extension("copy");
    fs::copy(&path, &copy).unwrap();
    fs::rename(&copy, &path).unwrap();
    assert_eq!(journal.append(&Event::Cut).await.unwrap_err().kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn only_the_journals_of_the_newest_finished_runs_are_kept() {
    let (_place, store) = store();
    let dead = RunId::generate();
    store.create(&dead).await.unwrap().append(&started(&dead)).await.unwrap();
    let mut finished = Vec::new();
    for _ in 0..KEPT_RUNS {
        let run = RunId::generate();
        let directory = store.0.run(&run);
        make_private(&directory).unwrap();
        let text =
            [started(&run), Event::Finished { success: true }].map(|event| line_of(&event).unwrap()).concat();
        fs::write(directory.join("journal.jsonl"), text).unwrap();
        finished.push(run);
    }
    store.create(&RunId::generate()).await.unwrap();
    let left = store.names().unwrap();
    assert!(left.contains(&dead), "a dead run must be found by recover, however old it is");
    assert!(!left.contains(&finished[0]));
    assert!(left.contains(&finished[1]));
}

#[tokio::test]
async fn a_run_that_is_not_there_is_an_input_error() {
    let (_place, store) = store();
    let run = RunId::generate();
    assert_eq!(store.read(&run).await.unwrap_err().kind(), ErrorKind::Input);
    assert_eq!(store.take_over(&run).await.err().unwrap().kind(), ErrorKind::Input);
}

/// A file system of 64 KiB, unmounted when the test ends.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"]).arg(place.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(place));
        }
        println!("skipped: a small file system cannot be mounted here (it needs root)");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_journal_on_a_full_disk_fails_and_goes_on_when_there_is_room_again() {
    let Some(disk) = SmallDisk::mount() else { return };
    let store = LocalJournals::new(&StateDir::at(&disk.0.path().join("state")).unwrap());
    let run = RunId::generate();
    let journal = store.create(&run).await.unwrap();
    journal.append(&started(&run)).await.unwrap();
    let filler = disk.0.path().join("filler");
    assert!(fs::write(&filler, vec![0; 1 << 20]).is_err(), "the disk is full");
    let mut written = 1;
    let error = loop {
        match journal.append(&Event::Cut).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(error.chain().contains("No space left on device"), "{}", error.chain());
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(journal.append(&Event::Cut).await.is_err());
    fs::remove_file(&filler).unwrap();
    journal.append(&Event::Finished { success: false }).await.unwrap();
    let entries = store.read(&run).await.unwrap();
    assert_eq!(entries.len(), written + 1, "the line that was torn is gone");
    assert_eq!(entries.last().unwrap().event, Event::Finished { success: false });
}
