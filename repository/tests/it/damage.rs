use std::{
    fs,
    path::{Path, PathBuf},
};

use standstill_core::{ErrorKind, repository::Repository as _};

use crate::fixture::{Fixture, noise};

/// Flips one bit in the middle of a file, and keeps its size and name.
fn flip(path: &Path) {
    let mut content = fs::read(path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(path, content).unwrap();
}

fn largest(mut files: Vec<PathBuf>) -> PathBuf {
    files.sort_by_key(|path| fs::metadata(path).unwrap().len());
    files.pop().unwrap()
}

#[tokio::test]
async fn a_sound_repository_has_no_damage() {
    let fixture = Fixture::new().await;
    fixture.backup(&noise(2_000_000, 30)).await;
    let report = fixture.repository.check(true).await.unwrap();
    assert_eq!(report.damage, [""; 0]);
    assert_eq!(report.recovery_points, 1);
    assert!(report.bytes_read >= 2_000_000);
}

#[tokio::test]
async fn a_flipped_bit_in_the_data_is_found_by_check_and_by_restore() {
    let fixture = Fixture::new().await;
    let point = fixture.backup(&noise(2_000_000, 31)).await;
    flip(&largest(fixture.files("data")));
    assert_eq!(fixture.repository.check(false).await.unwrap().damage, [""; 0]);
    let report = fixture.repository.check(true).await.unwrap();
    assert_eq!(report.damage.len(), 1, "{:?}", report.damage);
    assert!(report.damage[0].ends_with('.'));
    let error = fixture.get(&point.artifacts[0]).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{}", error.chain());
}

#[tokio::test]
async fn a_flipped_bit_in_any_other_file_is_found() {
    for folder in ["index", "snapshots", "keys"] {
        let fixture = Fixture::new().await;
        fixture.backup(&noise(10_000, 32)).await;
        // The password is checked on opening, so a damaged key is seen by a repository that is open already.
        for file in fixture.files(folder) {
            flip(&file);
            let report = fixture.repository.check(false).await.unwrap();
            assert!(!report.damage.is_empty(), "{}", file.display());
            flip(&file);
        }
        assert_eq!(fixture.reopened().await.check(true).await.unwrap().damage, [""; 0]);
    }
}

#[tokio::test]
async fn a_missing_pack_is_damage() {
    let fixture = Fixture::new().await;
    let point = fixture.backup(&noise(2_000_000, 33)).await;
    fs::remove_file(largest(fixture.files("data"))).unwrap();
    assert!(!fixture.repository.check(false).await.unwrap().damage.is_empty());
    assert_eq!(fixture.get(&point.artifacts[0]).await.0.unwrap_err().kind(), ErrorKind::Damaged);
}

#[tokio::test]
async fn a_damaged_snapshot_hides_neither_the_other_points_nor_itself_from_check() {
    let fixture = Fixture::new().await;
    let broken = fixture.backup(b"broken").await;
    let whole = fixture.backup(b"whole").await;
    flip(&fixture.place().join("snapshots").join(&broken.artifacts[0].snapshot));
    let repository = fixture.reopened().await;
    let listed: Vec<_> = repository.points().await.unwrap().into_iter().map(|listed| listed.point).collect();
    assert_eq!(listed, [whole]);
    assert!(!repository.check(false).await.unwrap().damage.is_empty());
    // What is damaged may be what names a stray, so none is discarded, and nothing is pruned.
    assert_eq!(repository.discard_strays(Some(&broken.id)).await.unwrap(), 0);
    assert!(repository.forget(&[], true).await.is_err());
}

#[tokio::test]
async fn a_listing_that_fails_is_no_empty_repository() {
    let fixture = Fixture::new().await;
    let point = fixture.backup(&noise(2_000_000, 34)).await;
    // Not a directory any more: what a listing that logs its errors would take for "no snapshots at all".
    let (folder, aside) = (fixture.place().join("snapshots"), fixture.place().join("aside"));
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, "").unwrap();
    assert!(fixture.repository.points().await.is_err());
    assert!(fixture.repository.forget(&[], true).await.is_err());
    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    let (restored, _) = fixture.get(&point.artifacts[0]).await;
    restored.unwrap();
}
