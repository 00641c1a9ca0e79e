use std::fs;

use standstill_core::{
    ErrorKind,
    point::{CheckOutcome, RunId},
    repository::Repository as _,
};

use crate::fixture::{Fixture, Source, noise, verification};

#[tokio::test]
async fn a_committed_point_is_listed_by_every_process() {
    let fixture = Fixture::new().await;
    let other = fixture.reopened().await;
    assert!(other.points().await.unwrap().is_empty());
    let first = fixture.backup(b"one").await;
    let second = fixture.backup(b"two").await;
    let listed: Vec<_> = other.points().await.unwrap().into_iter().map(|listed| listed.point).collect();
    assert_eq!(listed, [first, second]);
}

#[tokio::test]
async fn a_commit_can_be_repeated_but_not_changed() {
    let fixture = Fixture::new().await;
    let mut point = fixture.backup(b"content").await;
    fixture.repository.commit(&point).await.unwrap();
    assert_eq!(fixture.repository.points().await.unwrap().len(), 1);
    point.name = "other".into();
    assert_eq!(fixture.repository.commit(&point).await.unwrap_err().kind(), ErrorKind::Failed);
}

#[tokio::test]
async fn a_point_is_not_committed_without_its_artifacts() {
    let fixture = Fixture::new().await;
    let mut artifact = fixture.put("dump", Source::of(b"content")).await.unwrap();
    artifact.snapshot = "0".repeat(64);
    let error = fixture.repository.commit(&fixture.point(vec![artifact])).await.unwrap_err();
    assert!(error.to_string().contains("the artifacts dump are not in the repository"), "{error}");
    assert!(fixture.repository.points().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_point_whose_artifact_is_gone_is_not_listed_and_check_says_so() {
    let fixture = Fixture::new().await;
    let whole = fixture.backup(b"whole").await;
    let broken = fixture.backup(b"broken").await;
    fs::remove_file(fixture.place().join("snapshots").join(&broken.artifacts[0].snapshot)).unwrap();
    let listed = fixture.repository.points().await.unwrap();
    assert_eq!(listed.into_iter().map(|listed| listed.point).collect::<Vec<_>>(), [whole]);
    let report = fixture.repository.check(false).await.unwrap();
    assert_eq!(report.recovery_points, 1);
    assert!(report.damage.iter().any(|damage| damage.contains(broken.id.as_str())), "{:?}", report.damage);
}

#[tokio::test]
async fn the_newest_verification_of_a_point_is_listed_with_it() {
    let fixture = Fixture::new().await;
    let point = fixture.backup(b"content").await;
    for outcome in [CheckOutcome::Passed, CheckOutcome::Failed] {
        fixture.repository.record_verification(&verification(&point.id, outcome)).await.unwrap();
    }
    let listed = fixture.repository.points().await.unwrap();
    assert_eq!(listed[0].verification.as_ref().unwrap().outcome, CheckOutcome::Failed);
    let unknown = verification(&RunId::generate(), CheckOutcome::Passed);
    let error = fixture.repository.record_verification(&unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
}

#[tokio::test]
async fn strays_of_a_run_are_discarded_but_never_what_is_committed() {
    let fixture = Fixture::new().await;
    let committed = fixture.backup(b"committed").await;
    fixture.put("dump", Source::of(b"stray")).await.unwrap();
    let other = RunId::generate();
    assert_eq!(fixture.repository.discard_strays(None).await.unwrap(), 0, "young ones may be alive");
    assert_eq!(fixture.repository.discard_strays(Some(&other)).await.unwrap(), 0);
    assert_eq!(fixture.repository.discard_strays(Some(&committed.id)).await.unwrap(), 0);
    assert_eq!(fixture.repository.discard_strays(Some(&fixture.run)).await.unwrap(), 1);
    assert_eq!(fixture.repository.points().await.unwrap().len(), 1);
    assert_eq!(fixture.files("snapshots").len(), 2);
}

#[tokio::test]
async fn forgetting_removes_a_point_with_all_that_is_only_its_own() {
    let fixture = Fixture::new().await;
    let gone = fixture.backup(&noise(3_000_000, 20)).await;
    let kept = fixture.backup(&noise(3_000_000, 21)).await;
    fixture.repository.record_verification(&verification(&gone.id, CheckOutcome::Passed)).await.unwrap();
    let report = fixture.repository.forget(std::slice::from_ref(&gone.id), true).await.unwrap();
    assert_eq!(report.removed, [gone.id]);
    assert!(report.freed_bytes.unwrap() >= 3_000_000, "{report:?}");
    let listed = fixture.repository.points().await.unwrap();
    assert_eq!(listed.len(), 1);
    let (restored, bytes) = fixture.get(&kept.artifacts[0]).await;
    restored.unwrap();
    assert!(bytes == noise(3_000_000, 21));
    assert_eq!(fixture.files("snapshots").len(), 2);
    fixture.restic(&["check", "--read-data"]);
}

#[tokio::test]
async fn forgetting_what_is_not_there_is_wrong_input_and_removes_nothing() {
    let fixture = Fixture::new().await;
    let point = fixture.backup(b"content").await;
    let error = fixture.repository.forget(&[point.id, RunId::generate()], false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert_eq!(fixture.repository.points().await.unwrap().len(), 1);
}
