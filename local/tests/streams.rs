//! Streams: a truncated one is never taken for a whole one.

#![expect(clippy::unwrap_used, reason = "a helper of a test that fails is a test that fails")]

mod common;

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use common::{Machine, is_alive, number, until};
use standstill_core::{
    ErrorKind, Result,
    runtime::{Producer, RunAs, Runtime, ServiceSpec},
};
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(30);

/// Reads a producer's stream to its end, on a thread of its own as the repository does.
async fn drain(mut producer: Box<dyn Producer>) -> (u64, Result<()>) {
    tokio::task::spawn_blocking(move || {
        let bytes = io::copy(&mut producer, &mut io::sink()).unwrap();
        (bytes, producer.finish())
    })
    .await
    .unwrap()
}

async fn produced(machine: &Machine, script: &str) -> (u64, Result<()>) {
    drain(machine.runtime.producer(&machine.script(script), &CancellationToken::new()).await.unwrap()).await
}

#[tokio::test]
async fn a_stream_is_complete_when_its_producer_ended_with_status_0() {
    let machine = Machine::new(LONG);
    let (bytes, finished) = produced(&machine, "head -c 30000000 /dev/zero").await;
    assert_eq!(bytes, 30_000_000);
    finished.unwrap();
}

#[tokio::test]
async fn a_producer_that_fails_after_10_mib_is_named_with_its_status_and_last_words() {
    let machine = Machine::new(LONG);
    let (_, finished) = produced(
        &machine,
        "head -c 10485760 /dev/zero; echo connection lost >&2; echo giving up >&2; exit 1",
    )
    .await;
    assert_eq!(
        finished.unwrap_err().to_string(),
        "sh ended with exit status 1 after 10485760 bytes: connection lost; giving up"
    );
}

#[tokio::test]
async fn a_producer_that_is_killed_is_an_error() {
    let machine = Machine::new(LONG);
    let (_, finished) = produced(&machine, "head -c 1000 /dev/zero; kill -KILL $$").await;
    assert_eq!(finished.unwrap_err().to_string(), "sh was killed by signal 9 after 1000 bytes");
}

#[tokio::test]
async fn a_producer_that_leaves_a_writer_behind_is_an_error() {
    let machine = Machine::new(LONG);
    let (_, finished) = produced(&machine, "(sleep 600; head -c 1000 /dev/zero) & exit 0").await;
    let error = finished.unwrap_err().to_string();
    // Whoever waits for one that is killed first may still write.
    assert!(
        error.starts_with("sh ended after ") && error.contains(" bytes but left 2 processes behind"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stream_that_is_not_read_to_its_end_is_an_error() {
    let machine = Machine::new(LONG);
    let script = machine.script("cat /dev/zero");
    let mut producer = machine.runtime.producer(&script, &CancellationToken::new()).await.unwrap();
    let finished = tokio::task::spawn_blocking(move || {
        producer.read_exact(&mut [0; 1000]).unwrap();
        producer.finish()
    });
    assert!(finished.await.unwrap().is_err());
}

#[tokio::test]
async fn cancelling_ends_a_stream_and_its_end_is_not_taken_for_complete() {
    let machine = Machine::new(LONG);
    let cancel = CancellationToken::new();
    let producer = machine
        .runtime
        .producer(&machine.script("head -c 1000 /dev/zero; sleep 600"), &cancel)
        .await
        .unwrap();
    let drained = tokio::spawn(drain(producer));
    cancel.cancel();
    let (_, finished) = drained.await.unwrap();
    assert_eq!(finished.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_producer_that_is_dropped_is_ended() {
    let machine = Machine::new(LONG);
    let script = machine.script("echo $$ > child; exec sleep 600");
    let producer = machine.runtime.producer(&script, &CancellationToken::new()).await.unwrap();
    let child = number(&machine.path("child"));
    drop(producer);
    until("the producer is gone", Duration::from_secs(5), || !is_alive(child));
}

#[tokio::test]
async fn a_consumer_gets_all_bytes_and_says_when_it_failed() {
    let machine = Machine::new(LONG);
    for (script, expected) in [
        ("cat > got", None),
        (
            "cat > got; echo no such table >&2; exit 3",
            Some("sh ended with exit status 3 after 3000000 bytes: no such table"),
        ),
    ] {
        let mut consumer =
            machine.runtime.consumer(&machine.script(script), &CancellationToken::new()).await.unwrap();
        let finished = tokio::task::spawn_blocking(move || {
            consumer.write_all(&vec![7; 3_000_000]).unwrap();
            consumer.finish()
        });
        assert_eq!(finished.await.unwrap().err().map(|error| error.to_string()).as_deref(), expected);
        assert_eq!(std::fs::metadata(machine.path("got")).unwrap().len(), 3_000_000);
    }
}

#[tokio::test]
async fn a_session_answers_in_lines_and_within_a_deadline() {
    let machine = Machine::new(LONG);
    let script = machine.script("while read line; do echo got $line; done; echo bye >&2; exit 4");
    let mut session = machine.runtime.session(&script).await.unwrap();
    session.send("one").await.unwrap();
    assert_eq!(session.receive(LONG).await.unwrap(), "got one");
    let error = session.receive(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.to_string(), "sh did not answer within 50 ms");
    session.send("two").await.unwrap();
    assert_eq!(session.receive(LONG).await.unwrap(), "got two");
    assert_eq!(session.close(LONG).await.unwrap(), standstill_core::runtime::Exit::Status(4));
    let error = session.receive(LONG).await.unwrap_err();
    assert_eq!(error.to_string(), "sh ended with exit status 4: bye");
    assert!(session.send("three").await.is_err());
}

#[tokio::test]
async fn a_service_is_asked_to_end_and_killed_when_it_does_not() {
    let machine = Machine::new(LONG);
    let scratch = machine.path("");
    for (script, exit) in [
        ("trap 'echo stopping; exit 0' INT; echo up; while :; do sleep 0.05; done", "exit status 0"),
        ("trap '' INT; echo up; while :; do sleep 0.05; done", "signal 9"),
    ] {
        let endpoint = machine.runtime.endpoint("server", &scratch, &RunAs::default(), None).await.unwrap();
        let spec = ServiceSpec {
            name: "server".to_owned(),
            command: machine.script(script),
            endpoint,
            stop_signal: "INT".to_owned(),
            stop_timeout: Duration::from_secs(1),
        };
        let service = machine.runtime.service(&spec).await.unwrap();
        until("it is up", LONG, || service.log().contains("up"));
        assert!(service.ended().is_none());
        assert_eq!(service.stop().await.unwrap().to_string(), exit);
        assert_eq!(service.stop().await.unwrap().to_string(), exit);
        assert_eq!(service.ended().unwrap().1.contains("stopping"), exit == "exit status 0");
    }
}
