use std::fs;

use standstill_core::{ErrorKind, repository::Repository as _, secret::Secret};
use standstill_repository::Repository;

use crate::fixture::{Fixture, PASSWORD, location};

#[tokio::test]
async fn opening_never_makes_a_repository() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("typing-eror");
    let error = Repository::open(&location(&place), &Secret::new(PASSWORD)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert_eq!(error.to_string(), format!("there is no repository at {}", place.display()));
    assert!(error.remedy_text().unwrap().contains("standstill init"));
    assert!(!place.exists());
}

#[tokio::test]
async fn a_wrong_password_is_said_to_be_one() {
    let fixture = Fixture::new().await;
    let wrong = Secret::new("another password");
    let error = Repository::open(&location(&fixture.place()), &wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.to_string().starts_with("the password does not open the repository"), "{error}");
    assert!(!error.chain().contains("another password"));
}

#[tokio::test]
async fn a_place_that_cannot_be_reached_is_no_missing_repository() {
    let home = tempfile::tempdir().unwrap();
    let link = home.path().join("loop");
    std::os::unix::fs::symlink("loop", &link).unwrap();
    let error =
        Repository::open(&location(&link.join("repository")), &Secret::new(PASSWORD)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn a_repository_is_made_in_an_empty_place_only() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("somebody's file"), "").unwrap();
    let error = Repository::init(&location(home.path()), &Secret::new(PASSWORD)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.to_string().contains("is not empty"), "{error}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);

    let fixture = Fixture::new().await;
    let error = Repository::init(&location(&fixture.place()), &Secret::new(PASSWORD)).await.unwrap_err();
    assert!(error.to_string().contains("already"), "{error}");
}

#[tokio::test]
async fn a_repository_without_a_password_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let error = Repository::init(&location(&home.path().join("new")), &Secret::new("")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(!home.path().join("new").exists());
}

#[tokio::test]
async fn a_repository_that_vanishes_is_not_an_empty_one() {
    let fixture = Fixture::new().await;
    fixture.backup(b"content").await;
    assert_eq!(fixture.repository.points().await.unwrap().len(), 1);
    fs::rename(fixture.place(), fixture.home.path().join("elsewhere")).unwrap();
    let error = fixture.repository.points().await.unwrap_err();
    assert!(error.remedy_text().is_some(), "{error}");
}

#[cfg(not(feature = "cloud"))]
#[tokio::test]
async fn an_object_store_needs_a_build_that_has_it() {
    let place = "s3://bucket/prefix".parse().unwrap();
    let error = Repository::open(&place, &Secret::new(PASSWORD)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.remedy_text().unwrap().contains("--features cloud"));
}
