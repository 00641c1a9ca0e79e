use std::{
    fs::{self, File, FileTimes, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use standstill_core::{
    ErrorKind,
    point::StoredArtifact,
    repository::{Progress, Repository as _},
};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, noise};

/// Long before any cut, so that files are not read again for having been changed just now.
fn make_old(path: &Path) {
    let then = SystemTime::now() - Duration::from_hours(1);
    let times = FileTimes::new().set_modified(then).set_accessed(then);
    File::open(path).unwrap().set_times(times).unwrap();
}

/// A tree with one of everything.
fn variety(root: &Path) {
    fs::create_dir_all(root.join("base/1/empty")).unwrap();
    fs::write(root.join("base/1/relation"), noise(3_000_000, 7)).unwrap();
    fs::write(root.join("PG_VERSION"), "15\n").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"not\xffutf8")), "x").unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"in the middle", 32 << 20).unwrap();
    fs::hard_link(root.join("base/1/relation"), root.join("second name")).unwrap();
    symlink("/etc/passwd", root.join("link")).unwrap();
    symlink("base/1", root.join("directory link")).unwrap();
    fs::set_permissions(root.join("PG_VERSION"), Permissions::from_mode(0o4640)).unwrap();
    fs::set_permissions(root.join("base"), Permissions::from_mode(0o2750)).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), rustix::fs::FileType::Fifo, 0o640.into(), 0)
        .unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(root.join("base/1"), Some(1234), Some(4321)).unwrap();
        std::os::unix::fs::lchown(root.join("link"), Some(1234), Some(4321)).unwrap();
    }
    make_old(&root.join("PG_VERSION"));
    make_old(&root.join("base"));
    make_old(root);
}

#[derive(Debug, PartialEq)]
struct Seen {
    path: String,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    content: Vec<u8>,
}

/// Everything below a root that must survive.
fn look(root: &Path) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut paths = vec![root.to_owned()];
    while let Some(path) = paths.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().as_bytes().to_vec()
        } else if kind.is_file() {
            blake3::hash(&fs::read(&path).unwrap()).as_bytes().to_vec()
        } else {
            Vec::new()
        };
        if kind.is_dir() {
            paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        seen.push(Seen {
            path: path.strip_prefix(root).unwrap().as_os_str().as_bytes().escape_ascii().to_string(),
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            content,
        });
    }
    seen.sort_by(|one, other| one.path.cmp(&other.path));
    seen
}

#[tokio::test]
async fn a_tree_comes_back_with_owners_modes_times_links_and_holes() {
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    variety(&root);
    let artifact = fixture.put_tree(fixture.tree_request(&root)).await.unwrap();
    let back = fixture.directory("back");
    let restored = fixture.get_tree(&artifact, &back).await.unwrap();
    assert_eq!(look(&back), look(&root));
    assert_eq!(restored.bytes, artifact.bytes);
    let blocks = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
    assert!(blocks(&back.join("sparse")) < 1 << 20, "{}", blocks(&back.join("sparse")));
    let inode = |name: &str| fs::metadata(back.join(name)).unwrap().ino();
    assert_eq!(inode("base/1/relation"), inode("second name"));
}

#[tokio::test]
async fn extended_attributes_come_back_where_the_file_system_has_them() {
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    fs::write(root.join("file"), "x").unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(root.join("file"), "user.note", b"kept\0", flags).is_err() {
        return;
    }
    let artifact = fixture.put_tree(fixture.tree_request(&root)).await.unwrap();
    let back = fixture.directory("back");
    fixture.get_tree(&artifact, &back).await.unwrap();
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(back.join("file"), "user.note", &mut value).unwrap();
    assert_eq!(&value[..length], b"kept\0");
}

#[tokio::test]
async fn a_volume_that_is_one_file_is_stored_as_one() {
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    fs::write(root.join("app.db"), noise(100_000, 8)).unwrap();
    let mut request = fixture.tree_request(&root.join("app.db"));
    request.original = "/srv/app.db".into();
    let artifact = fixture.put_tree(request).await.unwrap();
    assert_eq!((artifact.files, artifact.bytes), (1, 100_000));
    let back = fixture.directory("back");
    fixture.get_tree(&artifact, &back).await.unwrap();
    assert_eq!(fs::read(back.join("app.db")).unwrap(), noise(100_000, 8));
}

#[tokio::test]
async fn what_is_excluded_is_not_stored_and_a_directory_of_it_stays() {
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    for path in ["pg_wal/archive_status/a", "base/pgsql_tmp/t1", "base/1", "postmaster.pid"] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), path).unwrap();
    }
    let socket = UnixListener::bind(root.join(".s.PGSQL.5432")).unwrap();
    let mut request = fixture.tree_request(&root);
    request.selection.exclude = ["pg_wal/*", "pgsql_tmp*", "postmaster.pid"].map(String::from).to_vec();
    let artifact = fixture.put_tree(request).await.unwrap();
    drop(socket);
    assert_eq!(artifact.files, 1);
    let back = fixture.directory("back");
    fixture.get_tree(&artifact, &back).await.unwrap();
    let paths: Vec<String> = look(&back).into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["", "base", "base/1", "pg_wal"]);
}

/// How often progress was told. A file that is read is told of piece by piece, one that is known at once.
#[derive(Default)]
struct Calls(AtomicU64);

impl Progress for Calls {
    fn advance(&self, _: u64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

async fn stored(fixture: &Fixture, root: &Path) -> (StoredArtifact, u64) {
    let calls = Arc::new(Calls::default());
    let request = fixture.tree_request(root);
    let artifact =
        fixture.repository.put_tree(request, calls.clone(), CancellationToken::new()).await.unwrap();
    (artifact, calls.0.load(Ordering::Relaxed))
}

#[tokio::test]
async fn an_unchanged_volume_is_not_read_again() {
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    fs::create_dir(root.join("base")).unwrap();
    fs::write(root.join("base/relation"), noise(4_000_000, 9)).unwrap();
    // Times of change cannot be set back, and only a file at rest for a second is trusted.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (first, reads) = stored(&fixture, &root).await;
    assert!(reads > 1);
    let (second, reads) = stored(&fixture, &root).await;
    assert_eq!(reads, 1);
    assert_eq!((second.bytes, second.files), (first.bytes, first.files));
    assert_eq!(second.tree_id, first.tree_id);
    assert_eq!(second.stored_bytes, 0);

    fs::write(root.join("base/relation"), noise(4_000_000, 10)).unwrap();
    let (third, reads) = stored(&fixture, &root).await;
    assert!(reads > 1);
    assert_ne!(third.tree_id, first.tree_id);
}

#[tokio::test]
async fn a_file_changed_within_a_second_of_the_cut_is_read_again() {
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    fs::write(root.join("relation"), noise(4_000_000, 9)).unwrap();
    let (first, _) = stored(&fixture, &root).await;
    // Its times and size say that it is the same, but a change in the same tick of the clock would not show.
    let (second, reads) = stored(&fixture, &root).await;
    assert!(reads > 1);
    assert_eq!(second.bytes, first.bytes);
}

#[tokio::test]
async fn a_backup_of_another_application_is_no_parent() {
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    fs::write(root.join("relation"), noise(4_000_000, 9)).unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    stored(&fixture, &root).await;
    let calls = Arc::new(Calls::default());
    let mut request = fixture.tree_request(&root);
    request.application = "another".into();
    fixture.repository.put_tree(request, calls.clone(), CancellationToken::new()).await.unwrap();
    assert!(calls.0.load(Ordering::Relaxed) > 1);
}

#[tokio::test]
async fn a_tree_that_cannot_be_read_leaves_nothing() {
    let fixture = Fixture::new().await;
    let error = fixture.put_tree(fixture.tree_request(Path::new("/nowhere"))).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere cannot be read"), "{error}");
    // Among these is a file that can be opened but not read (`speed`). Nothing but that is an error here.
    let mut request = fixture.tree_request(Path::new("/sys/class/net/lo"));
    request.selection.tolerate_changes = true;
    let error = fixture.put_tree(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
    assert!(error.to_string().contains("/sys/class/net/lo/"), "{error}");
    assert_eq!(fixture.files("snapshots").len(), 0);
    assert_eq!(fixture.files("locks").len(), 0);
}

/// Does something to a file when a given number of bytes was read.
struct Meddler<F: Fn() + Send + Sync>(AtomicBool, F);

impl<F: Fn() + Send + Sync> Progress for Meddler<F> {
    fn advance(&self, _: u64) {
        if !self.0.swap(true, Ordering::Relaxed) {
            self.1();
        }
    }
}

#[tokio::test]
async fn files_that_change_are_an_error_unless_they_may() {
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    let file = root.join("relation");
    for tolerant in [false, true] {
        fs::write(&file, noise(8_000_000, 10)).unwrap();
        let shrink = {
            let file = file.clone();
            Meddler(AtomicBool::new(false), move || {
                fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(3_000_000).unwrap();
            })
        };
        let mut request = fixture.tree_request(&root);
        request.selection.tolerate_changes = tolerant;
        let stored = fixture.repository.put_tree(request, Arc::new(shrink), CancellationToken::new()).await;
        if !tolerant {
            let error = stored.unwrap_err();
            assert!(error.to_string().contains("changed while it was being read"), "{error}");
            assert_eq!(fixture.files("snapshots").len(), 0);
            continue;
        }
        let artifact = stored.unwrap();
        assert_eq!(artifact.bytes, 3_000_000);
        let back = fixture.directory("back");
        fixture.get_tree(&artifact, &back).await.unwrap();
        assert_eq!(fs::read(back.join("relation")).unwrap(), noise(8_000_000, 10)[..3_000_000]);
        fixture.restic(&["check", "--read-data"]);
    }
}

#[tokio::test]
async fn files_that_vanish_are_left_out_where_they_may() {
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    fs::write(root.join("a"), noise(4_000_000, 11)).unwrap();
    fs::create_dir(root.join("z")).unwrap();
    for number in 0..500 {
        fs::write(root.join(format!("z/{number:04}")), "x").unwrap();
    }
    let vanish = {
        let last = root.join("z");
        Meddler(AtomicBool::new(false), move || fs::remove_dir_all(&last).unwrap())
    };
    let mut request = fixture.tree_request(&root);
    request.selection.tolerate_changes = true;
    let artifact =
        fixture.repository.put_tree(request, Arc::new(vanish), CancellationToken::new()).await.unwrap();
    assert!(artifact.files < 501, "{}", artifact.files);
    fixture.restic(&["check", "--read-data"]);
}

#[tokio::test]
async fn the_last_files_are_read_after_all_others() {
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    fs::create_dir(root.join("global")).unwrap();
    fs::write(root.join("global/pg_control"), "before").unwrap();
    fs::write(root.join("global/1"), "x").unwrap();
    fs::write(root.join("zzz"), noise(1_000_000, 12)).unwrap();
    let rewrite = {
        let control = root.join("global/pg_control");
        let zzz = noise(1_000_000, 12).len() as u64;
        Late { wanted: zzz, so_far: AtomicU64::new(0), control }
    };
    let mut request = fixture.tree_request(&root);
    request.selection.tolerate_changes = true;
    request.selection.last = vec!["global/pg_control".into(), "global/absent".into()];
    let artifact =
        fixture.repository.put_tree(request, Arc::new(rewrite), CancellationToken::new()).await.unwrap();
    assert_eq!(artifact.files, 3);
    let back = fixture.directory("back");
    fixture.get_tree(&artifact, &back).await.unwrap();
    assert_eq!(fs::read(back.join("global/pg_control")).unwrap(), b"after all others");
    fixture.restic(&["check", "--read-data"]);
}

/// Rewrites the control file once everything else was read.
struct Late {
    wanted: u64,
    so_far: AtomicU64,
    control: std::path::PathBuf,
}

impl Progress for Late {
    fn advance(&self, bytes: u64) {
        if self.so_far.fetch_add(bytes, Ordering::Relaxed) + bytes == self.wanted + 1 {
            fs::write(&self.control, "after all others").unwrap();
        }
    }
}

#[tokio::test]
async fn a_restore_never_overwrites_and_never_follows_a_link() {
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    fs::create_dir(root.join("sub")).unwrap();
    fs::write(root.join("sub/file"), "restored").unwrap();
    let artifact = fixture.put_tree(fixture.tree_request(&root)).await.unwrap();

    let outside = fixture.directory("outside");
    let back = fixture.directory("back");
    symlink(&outside, back.join("sub")).unwrap();
    let error = fixture.get_tree(&artifact, &back).await.unwrap_err();
    assert!(error.to_string().contains("cannot be restored"), "{error}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);

    let back = fixture.directory("occupied");
    fs::create_dir(back.join("sub")).unwrap();
    fs::write(back.join("sub/file"), "precious").unwrap();
    let error = fixture.get_tree(&artifact, &back).await.unwrap_err();
    assert_eq!(error.remedy_text(), Some("Restore into an empty directory."));
    assert_eq!(fs::read(back.join("sub/file")).unwrap(), b"precious");
}

#[tokio::test]
async fn a_cancelled_tree_leaves_nothing() {
    struct Stop(CancellationToken);
    impl Progress for Stop {
        fn advance(&self, _: u64) {
            self.0.cancel();
        }
    }
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    fs::write(root.join("file"), noise(4_000_000, 13)).unwrap();
    let cancel = CancellationToken::new();
    let progress = Arc::new(Stop(cancel.clone()));
    let error = fixture.repository.put_tree(fixture.tree_request(&root), progress, cancel).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(fixture.files("snapshots").len(), 0);
}
