use std::os::unix::fs::symlink;

use super::*;

fn made(place: &Path) -> (RunId, PathBuf) {
    let run = RunId::generate();
    let path = place.join(temporary_name(&run, "data", true));
    fs::create_dir(&path).unwrap();
    (run, path)
}

#[test]
fn removal_does_not_follow_links() {
    let place = tempfile::tempdir().unwrap();
    let kept = place.path().join("kept");
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("precious"), "x").unwrap();
    let (run, path) = made(place.path());
    symlink(&kept, path.join("link")).unwrap();
    assert_eq!(remove(&run, &path).unwrap(), Undone::LetGo);
    assert!(!path.exists());
    assert!(kept.join("precious").exists());
    assert_eq!(remove(&run, &path).unwrap(), Undone::AlreadyGone);
}

#[test]
fn a_directory_of_another_run_is_not_removed() {
    let place = tempfile::tempdir().unwrap();
    let (_run, path) = made(place.path());
    let error = remove(&RunId::generate(), &path).unwrap_err();
    assert!(error.to_string().contains("does not bear the name of run"), "{error}");
    assert!(path.exists());
}

#[test]
fn a_link_in_the_place_of_a_directory_is_not_removed() {
    let place = tempfile::tempdir().unwrap();
    let (run, path) = made(place.path());
    fs::remove_dir(&path).unwrap();
    symlink(place.path(), &path).unwrap();
    assert!(remove(&run, &path).is_err());
    assert!(place.path().exists());
}

#[test]
fn a_service_has_the_wished_port_where_nobody_listens_there() {
    let place = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let chosen = || endpoint("db", place.path(), &RunAs::Runner, Some(port)).unwrap().port;
    assert_ne!(chosen(), port);
    drop(taken);
    assert_eq!(chosen(), port);
}

#[test]
fn sockets_have_short_paths_and_a_private_directory() {
    let place = tempfile::tempdir().unwrap();
    let scratch = place.path().join(FILES);
    fs::create_dir(&scratch).unwrap();
    let name = "a_service_with_quite_a_long_name_that_does_not_fit_into_the_path_of_a_socket";
    let endpoint = endpoint(name, &scratch, &RunAs::Runner, None).unwrap();
    let directory = endpoint.socket_dir.unwrap();
    assert!(directory.as_os_str().len() + SOCKET_NAME < LONGEST_SOCKET_PATH);
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
    assert!(std::net::TcpListener::bind(("127.0.0.1", endpoint.port)).is_ok());
    let deep = place.path().join("x".repeat(100));
    assert_eq!(
        super::endpoint("pg", &deep, &RunAs::Runner, None).unwrap_err().kind(),
        standstill_core::ErrorKind::Input
    );
}

#[test]
fn a_scratch_volume_is_beside_its_like_and_belongs_to_the_same_owner() {
    let place = tempfile::tempdir().unwrap();
    let like = place.path().join("data");
    fs::create_dir(&like).unwrap();
    if geteuid().is_root() {
        chown(&like, Some(1234), Some(4321)).unwrap();
    }
    let run = RunId::generate();
    let intent = volume_intent("scratch", Some(&like), &run).unwrap();
    assert_eq!(intent.path.parent(), Some(place.path()));
    let name = intent.path.file_name().unwrap().to_str().unwrap();
    assert!(!name.starts_with('.'), "MySQL finds no tablespaces in a hidden directory: {name}");
    assert!(!intent.path.exists());
    make(&intent, Some(&like)).unwrap();
    let (made, wanted) = (fs::metadata(&intent.path).unwrap(), fs::metadata(&like).unwrap());
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (wanted.uid(), wanted.gid(), 0o700));
    assert!(make(&intent, None).is_err(), "a directory that is there already is never taken for our own");
    remove(&run, &intent.path).unwrap();
}
