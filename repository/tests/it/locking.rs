//! restic's locks, seen from restic's side.

use std::{
    io::{self, Write},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use standstill_core::{
    ErrorKind,
    repository::{NoProgress, PutStream, Repository as _, StreamSource},
};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, PASSWORD, Source};

/// A stream that goes on until its writing end is dropped.
struct Endless(io::PipeReader, u64);

impl io::Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1 += read as u64;
        Ok(read)
    }
}

impl StreamSource for Endless {
    fn finish(&mut self) -> standstill_core::Result<u64> {
        Ok(self.1)
    }
}

/// Waits for a condition that another process brings about.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("waited in vain for {what}");
}

#[tokio::test]
async fn no_prune_runs_while_something_is_written() {
    let fixture = Fixture::new().await;
    fixture.backup(b"content").await;
    let (reader, writer) = io::pipe().unwrap();
    let request = PutStream { run: fixture.run.clone(), application: "app".into(), artifact: "dump".into() };
    let writing = fixture.repository.clone();
    let upload = tokio::spawn(async move {
        let source = Box::new(Endless(reader, 0));
        writing.put_stream(request, source, Arc::new(NoProgress), CancellationToken::new()).await
    });
    until("our lock", || locks(&fixture) == 1).await;
    let locks = fixture.restic(&["list", "locks", "--no-lock"]);
    assert_eq!(locks.lines().count(), 1);
    let prune = fixture.try_restic(&["prune"]);
    assert!(!prune.status.success());
    let said = String::from_utf8_lossy(&prune.stderr).into_owned();
    assert!(said.contains("already locked"), "{said}");
    let error = fixture.reopened().await.forget(&[], true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    drop(writer);
    upload.await.unwrap().unwrap();
    assert_eq!(fixture.files("locks").len(), 0);
    fixture.restic(&["prune"]);
}

/// A restic that holds its shared lock for as long as its standard input is open.
fn restic_backup(fixture: &Fixture) -> Child {
    let mut restic = Command::new("restic")
        .args(["backup", "--stdin", "--no-cache", "--quiet", "--repo"])
        .arg(fixture.place())
        .env("RESTIC_PASSWORD", PASSWORD)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    restic.stdin.as_mut().unwrap().write_all(b"content").unwrap();
    restic
}

/// How many locks there are; unfinished files are none.
fn locks(fixture: &Fixture) -> usize {
    fixture.files("locks").iter().filter(|path| path.file_name().unwrap().len() == 64).count()
}

#[tokio::test]
async fn we_write_beside_restic_but_do_not_prune_beside_it() {
    let fixture = Fixture::new().await;
    let mut restic = restic_backup(&fixture);
    until("restic's lock", || locks(&fixture) == 1).await;
    fixture.put("dump", Source::of(b"content")).await.unwrap();
    let error = fixture.repository.forget(&[], true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.remedy_text().unwrap().contains("restic unlock"));
    drop(restic.stdin.take());
    assert!(restic.wait().unwrap().success());
    fixture.repository.forget(&[], true).await.unwrap();
}

#[tokio::test]
async fn the_lock_of_a_process_that_is_gone_is_not_obeyed_for_long() {
    let fixture = Fixture::new().await;
    let mut restic = restic_backup(&fixture);
    until("restic's lock", || locks(&fixture) == 1).await;
    restic.kill().unwrap();
    restic.wait().unwrap();
    // It was shared, so it is in nobody's way but a prune's; for that its age counts, or `restic unlock`.
    fixture.put("dump", Source::of(b"content")).await.unwrap();
    assert_eq!(fixture.repository.forget(&[], true).await.unwrap_err().kind(), ErrorKind::Locked);
    fixture.restic(&["unlock"]);
    fixture.repository.forget(&[], true).await.unwrap();
}
