use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::{
        fs::{FileExt, PermissionsExt},
        net::UnixListener,
    },
};

use rustix::fs::setxattr;

use super::*;

fn copied(source: &Path, place: &Path) -> PathBuf {
    copy_volume(source, &place.join(".standstill-copy"), false, &CancellationToken::new()).unwrap()
}

#[test]
fn holes_stay_holes_and_data_stays_data() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("volume");
    fs::create_dir(&source).unwrap();
    let file = fs::File::create(source.join("sparse")).unwrap();
    file.write_all_at(b"begin", 0).unwrap();
    file.write_all_at(b"middle", 40 << 20).unwrap();
    file.set_len(80 << 20).unwrap();
    let copy = copied(&source, place.path()).join("sparse");
    let metadata = fs::metadata(&copy).unwrap();
    assert_eq!(metadata.len(), 80 << 20);
    assert!(metadata.blocks() * 512 < 1 << 20, "it takes {} bytes", metadata.blocks() * 512);
    assert!(fs::read(&copy).unwrap() == fs::read(source.join("sparse")).unwrap());
}

#[test]
fn modes_owners_times_links_and_attributes_are_kept() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("volume");
    fs::create_dir_all(source.join("closed")).unwrap();
    let first = source.join("closed/first");
    fs::write(&first, "data").unwrap();
    fs::hard_link(&first, source.join("second")).unwrap();
    symlink("nowhere", source.join("link")).unwrap();
    let _socket = UnixListener::bind(source.join("socket")).unwrap();
    fs::set_permissions(&first, fs::Permissions::from_mode(0o4640)).unwrap();
    let attribute = setxattr(&first, "user.kind", b"precious", XattrFlags::empty()).is_ok();
    if is_root() {
        for path in [source.join("closed"), source.join("link")] {
            std::os::unix::fs::lchown(path, Some(1234), Some(4321)).unwrap();
        }
    }
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    fs::File::open(source.join("closed")).unwrap().set_modified(old).unwrap();
    fs::set_permissions(source.join("closed"), fs::Permissions::from_mode(0o500)).unwrap();

    let copy = copied(&source, place.path());
    for name in ["closed", "closed/first", "second", "link"] {
        let (was, is) = (
            fs::symlink_metadata(source.join(name)).unwrap(),
            fs::symlink_metadata(copy.join(name)).unwrap(),
        );
        assert_eq!((is.mode(), is.uid(), is.gid()), (was.mode(), was.uid(), was.gid()), "{name}");
        assert_eq!((is.mtime(), is.mtime_nsec()), (was.mtime(), was.mtime_nsec()), "{name}");
    }
    let ino = |name: &str| fs::metadata(copy.join(name)).unwrap().ino();
    assert_eq!(ino("closed/first"), ino("second"));
    assert_eq!(fs::read_link(copy.join("link")).unwrap(), Path::new("nowhere"));
    assert!(!copy.join("socket").exists());
    let mut value = [0; 16];
    let kept = lgetxattr(copy.join("second"), "user.kind", &mut value[..]);
    assert_eq!(kept.is_ok_and(|length| &value[..length] == b"precious"), attribute);
}

#[test]
fn a_single_file_is_copied_as_a_volume_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("shop.db");
    fs::write(&source, "data").unwrap();
    let copy = copied(&source, place.path());
    assert_eq!(copy, place.path().join(".standstill-copy/shop.db"));
    assert_eq!(fs::read_to_string(copy).unwrap(), "data");
}

#[test]
fn a_file_that_grows_while_it_is_copied_is_an_error_unless_that_is_tolerated() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("growing");
    fs::write(&source, vec![1; 64 << 20]).unwrap();
    let grows = |target: &str, tolerate: bool| {
        let mut file = OpenOptions::new().append(true).open(&source).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    file.write_all(b"more").unwrap();
                }
            });
            let copied = copy_file(&source, &place.path().join(target), tolerate, &CancellationToken::new());
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            copied
        })
    };
    if fs_shares_blocks(place.path()) {
        println!("skipped: this file system shares blocks, so that a copy takes no time");
        return;
    }
    assert!(grows("strict", false).unwrap_err().to_string().contains("its size changed"));
    grows("tolerant", true).unwrap();
}

#[test]
fn a_file_that_settles_while_it_is_copied_is_copied_as_it_is_in_the_end() {
    let place = tempfile::tempdir().unwrap();
    if fs_shares_blocks(place.path()) {
        println!("skipped: this file system shares blocks, so that a copy takes no time");
        return;
    }
    let (source, target) = (place.path().join("settling"), place.path().join("copy"));
    fs::write(&source, vec![1; 64 << 20]).unwrap();
    let mut file = OpenOptions::new().append(true).open(&source).unwrap();
    std::thread::scope(|scope| {
        // It grows until it is seen to be copied a second time.
        scope.spawn(|| {
            let (mut longest, mut length) = (0, 0);
            while length >= longest {
                file.write_all(b"more").unwrap();
                longest = longest.max(length);
                length = fs::metadata(&target).map_or(0, |target| target.len());
            }
        });
        copy_file(&source, &target, false, &CancellationToken::new()).unwrap();
    });
    assert!(fs::read(&source).unwrap() == fs::read(&target).unwrap());
}

#[test]
fn a_copy_that_is_cancelled_says_so() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("volume");
    fs::create_dir(&source).unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = copy_volume(&source, &place.path().join(".standstill-copy"), false, &cancel).unwrap_err();
    assert_eq!(error.kind(), standstill_core::ErrorKind::Cancelled);
}

fn fs_shares_blocks(directory: &Path) -> bool {
    super::super::shares_blocks(directory)
}

fn is_root() -> bool {
    super::super::is_root()
}

#[test]
fn what_is_left_out_is_not_copied_into_a_directory_that_is_there() {
    let place = tempfile::tempdir().unwrap();
    let (source, target) = (place.path().join("volume"), place.path().join("new"));
    fs::create_dir_all(source.join("log/old")).unwrap();
    fs::create_dir(&target).unwrap();
    for file in ["app.db", "app.db-shm", "log/1", "log/old/app.db-shm"] {
        fs::write(source.join(file), "data").unwrap();
    }
    fs::set_permissions(&source, fs::Permissions::from_mode(0o750)).unwrap();
    let left_out = Filter::new(&["*-shm".to_owned(), "log/1".to_owned()]).unwrap();
    let copied = copy_into(&source, &target, &left_out, &CancellationToken::new()).unwrap();
    assert_eq!((copied.entries, copied.bytes), (3, 4));
    let there = |path: &str| target.join(path).exists();
    assert!(there("app.db") && there("log/old") && !there("app.db-shm") && !there("log/1"));
    assert!(!there("log/old/app.db-shm"));
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o750);
    let again = copy_into(&source, &target, &left_out, &CancellationToken::new());
    assert!(again.is_err(), "what is there is not written over");
}
