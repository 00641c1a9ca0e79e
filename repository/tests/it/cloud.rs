//! The same in an object store. Needs a server: `STANDSTILL_TEST_REPOSITORY` names an empty place on it
//! (`s3://bucket/prefix`), and the provider's own variables (`AWS_ENDPOINT_URL`, …) say how to reach it.

use std::sync::Arc;

use standstill_core::{
    ErrorKind,
    point::RunId,
    repository::{NoProgress, PutStream, Repository as _},
    secret::Secret,
};
use standstill_repository::{Location, Repository};
use tokio_util::sync::CancellationToken;

use crate::fixture::{PASSWORD, Shared, Source, noise, point};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an object store: set STANDSTILL_TEST_REPOSITORY"]
async fn an_object_store_holds_a_repository_like_any_other() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let place = std::env::var("STANDSTILL_TEST_REPOSITORY").unwrap();
    let location: Location = format!("{place}/{}", RunId::generate()).parse().unwrap();
    let password = Secret::new(PASSWORD);
    let error = Repository::open(&location, &password).await.unwrap_err();
    assert_eq!(error.to_string(), format!("there is no repository at {location}"));
    let repository = Repository::init(&location, &password).await.unwrap();
    assert_eq!(Repository::init(&location, &password).await.unwrap_err().kind(), ErrorKind::Input);

    let content = noise(40_000_000, 40);
    let run = RunId::generate();
    let request = PutStream { run: run.clone(), application: "app".into(), artifact: "dump".into() };
    let source = Box::new(Source::of(&content));
    let artifact =
        repository.put_stream(request, source, Arc::new(NoProgress), CancellationToken::new()).await.unwrap();
    repository.commit(&point(&run, vec![artifact.clone()])).await.unwrap();

    let other = Repository::open(&location, &password).await.unwrap();
    assert_eq!(other.points().await.unwrap().len(), 1);
    let sink = Shared::default();
    let written = Box::new(sink.clone());
    other.get_stream(&artifact, written, Arc::new(NoProgress), CancellationToken::new()).await.unwrap();
    assert!(*sink.0.lock().unwrap() == content);
    assert_eq!(other.check(true).await.unwrap().damage, [""; 0]);
    let report = other.forget(&[run], true).await.unwrap();
    assert!(report.freed_bytes.unwrap() >= 40_000_000, "{report:?}");
    assert!(repository.points().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_nobody_answers_for_is_no_missing_repository() {
    // Nothing else in this process reads the environment, and nobody listens on port 1.
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "cloud::an_object_store_holds_a_repository_like_any_other"])
        .env("STANDSTILL_TEST_REPOSITORY", "s3://bucket/prefix")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "a very secret key")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[child.stdout, child.stderr].concat()).into_owned();
    assert!(!child.status.success());
    assert!(said.contains("cannot be reached"), "{said}");
    assert!(!said.contains("very secret"), "{said}");
}
