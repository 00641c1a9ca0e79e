use std::{io, sync::Arc};

use standstill_core::{
    Error, ErrorKind,
    point::RunId,
    repository::{NoProgress, PutStream, Repository as _, StreamSource},
};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, Source, noise};

fn nothing_was_left(fixture: &Fixture) {
    assert_eq!(fixture.files("snapshots").len(), 0);
    assert_eq!(fixture.files("locks").len(), 0);
}

#[tokio::test]
async fn a_stream_comes_back_as_it_was() {
    let fixture = Fixture::new().await;
    let content = noise(5_000_000, 1);
    let artifact = fixture.put("db/app", Source::of(&content)).await.unwrap();
    assert_eq!(artifact.bytes, 5_000_000);
    assert_eq!(artifact.files, 1);
    assert_eq!(artifact.blake3.as_deref(), Some(blake3::hash(&content).to_hex().as_str()));
    assert!(artifact.stored_bytes >= 5_000_000);
    let (restored, bytes) = fixture.get(&artifact).await;
    assert_eq!(restored.unwrap().bytes, 5_000_000);
    assert_eq!(bytes, content);
}

#[tokio::test]
async fn an_empty_stream_is_a_stream() {
    let fixture = Fixture::new().await;
    let artifact = fixture.put("empty", Source::of(b"")).await.unwrap();
    let (restored, bytes) = fixture.get(&artifact).await;
    assert_eq!((restored.unwrap().bytes, bytes.len()), (0, 0));
}

#[tokio::test]
async fn the_same_stream_is_stored_once() {
    let fixture = Fixture::new().await;
    let content = noise(3_000_000, 2);
    fixture.put("one", Source::of(&content)).await.unwrap();
    let second = fixture.put("two", Source::of(&content)).await.unwrap();
    assert!(second.stored_bytes < 10_000, "{}", second.stored_bytes);
}

#[tokio::test]
async fn what_was_read_of_the_index_is_not_read_again() {
    let fixture = Fixture::new().await;
    fixture.put("one", Source::of(&noise(10_000, 6))).await.unwrap();
    let of_one = fixture.files("index");
    fixture.put("two", Source::of(&noise(10_000, 7))).await.unwrap();
    for file in &of_one {
        std::fs::write(file, "not what it was").unwrap();
    }
    fixture.put("three", Source::of(&noise(10_000, 8))).await.unwrap();
    let request = PutStream { run: RunId::generate(), application: "db".into(), artifact: "four".into() };
    let source = Box::new(Source::of(&noise(10_000, 9)));
    let reopened = fixture.reopened().await;
    let later = reopened.put_stream(request, source, Arc::new(NoProgress), CancellationToken::new()).await;
    let told = later.unwrap_err().chain();
    assert!(told.contains("index"), "{told}");
}

#[tokio::test]
async fn a_stream_that_breaks_off_leaves_nothing() {
    let fixture = Fixture::new().await;
    let source = Source::of(&noise(2_000_000, 3)).breaking(io::ErrorKind::ConnectionReset);
    let error = fixture.put("dump", source).await.unwrap_err();
    assert!(error.to_string().contains("broke off after 2000000 bytes"), "{error}");
    nothing_was_left(&fixture);
}

#[tokio::test]
async fn a_producer_that_fails_at_its_end_leaves_nothing() {
    let fixture = Fixture::new().await;
    let failure = Error::failed("pg_dump ended with exit status 1").remedy("Look at its output.");
    let error = fixture.put("dump", Source::of(&noise(2_000_000, 4)).failing(failure)).await.unwrap_err();
    assert_eq!(error.to_string(), "store dump: pg_dump ended with exit status 1");
    assert_eq!(error.remedy_text(), Some("Look at its output."));
    nothing_was_left(&fixture);
}

#[tokio::test]
async fn counts_that_differ_leave_nothing() {
    let fixture = Fixture::new().await;
    let error = fixture.put("dump", Source::of(&noise(1_000_000, 5)).claiming(1_000_001)).await.unwrap_err();
    assert!(error.to_string().contains("handed over 1000001 bytes, but 1000000 were read"), "{error}");
    nothing_was_left(&fixture);
}

/// A producer that has sent something and then is silent until its end of the pipe is closed.
struct Silent(io::PipeReader);

impl io::Read for Silent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl StreamSource for Silent {
    fn finish(&mut self) -> standstill_core::Result<u64> {
        Ok(0)
    }
}

#[tokio::test]
async fn a_cancelled_upload_ends_at_once_even_if_its_producer_is_silent() {
    let fixture = Fixture::new().await;
    let (reader, _writer) = io::pipe().unwrap();
    let request = PutStream { run: RunId::generate(), application: "app".into(), artifact: "dump".into() };
    let cancel = CancellationToken::new();
    let upload = fixture.repository.put_stream(
        request,
        Box::new(Silent(reader)),
        Arc::new(NoProgress),
        cancel.clone(),
    );
    let stop = async {
        tokio::task::yield_now().await;
        cancel.cancel();
    };
    let (stored, ()) = tokio::join!(upload, stop);
    assert_eq!(stored.unwrap_err().kind(), ErrorKind::Cancelled);
    nothing_was_left(&fixture);
}

#[tokio::test]
async fn a_sink_that_fails_is_not_called_damage() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let fixture = Fixture::new().await;
    let artifact = fixture.put("dump", Source::of(b"content")).await.unwrap();
    let cancel = CancellationToken::new();
    let error = fixture
        .repository
        .get_stream(&artifact, Box::new(Full), Arc::new(NoProgress), cancel)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
}

#[tokio::test]
async fn a_stream_with_another_hash_is_damage() {
    let fixture = Fixture::new().await;
    let mut artifact = fixture.put("dump", Source::of(b"content")).await.unwrap();
    artifact.blake3 = Some(blake3::hash(b"other").to_hex().to_string());
    assert_eq!(fixture.get(&artifact).await.0.unwrap_err().kind(), ErrorKind::Damaged);
}

#[tokio::test]
async fn a_stream_cannot_be_named_out_of_its_place() {
    let fixture = Fixture::new().await;
    for name in ["../dump", "/dump", "", "a/../b"] {
        assert_eq!(fixture.put(name, Source::of(b"x")).await.unwrap_err().kind(), ErrorKind::Input, "{name}");
    }
}

/// Noise without an end.
struct Endless(u64);

impl io::Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0 += 1;
        buffer.copy_from_slice(&noise(buffer.len(), self.0));
        Ok(buffer.len())
    }
}

impl StreamSource for Endless {
    fn finish(&mut self) -> standstill_core::Result<u64> {
        Err(Error::failed("it has no end"))
    }
}

#[tokio::test]
async fn the_first_write_that_fails_ends_the_reading_of_a_stream() {
    let fixture = Fixture::new().await;
    // Where the packs go there is a file.
    let packs = fixture.place().join("data");
    std::fs::remove_dir_all(&packs).unwrap();
    std::fs::write(&packs, "").unwrap();
    let request = PutStream { run: fixture.run.clone(), application: "app".into(), artifact: "dump".into() };
    let (source, cancel) = (Box::new(Endless(0)), CancellationToken::new());
    let stored = fixture.repository.put_stream(request, source, Arc::new(NoProgress), cancel.clone()).await;
    let error = stored.unwrap_err();
    assert_eq!(error.to_string(), "store dump: /dump cannot be written to the repository");
    assert!(error.chain().contains("directory"), "{}", error.chain());
    assert!(!cancel.is_cancelled(), "nothing else is ended by it");
    nothing_was_left(&fixture);
}
