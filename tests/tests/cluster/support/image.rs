//! Programs as images of the cluster, each imported once for each build.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use super::place::built;

/// The image of the binary under test.
pub fn standstill(state: &Path) -> String {
    of(state, "standstill", &built())
}

/// An image of one program.
pub fn of(state: &Path, name: &str, binary: &Path) -> String {
    at(state, name, binary, "/standstill")
}

/// An image of one program at a path. Made at the first call for a build; other tests wait for it meanwhile.
pub fn at(state: &Path, name: &str, binary: &Path, path: &str) -> String {
    let metadata = fs::metadata(binary).unwrap();
    let mut hasher = DefaultHasher::new();
    (metadata.len(), metadata.modified().unwrap()).hash(&mut hasher);
    let image = format!("standstill.test/{name}:{:016x}", hasher.finish());
    let lock = File::create(state.join("image.lock")).unwrap();
    lock.lock().unwrap();
    let made = state.join(format!("{name}.made"));
    if fs::read_to_string(&made).is_ok_and(|made| made == image) {
        return image;
    }
    let import = folder().join("image");
    let output = Command::new(&import).arg(&image).arg(binary).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(&made, &image).unwrap();
    image
}

/// Whether one of the images is there that not every machine can make; says so if not.
pub fn is_there(state: &Path, name: &str) -> bool {
    let marks = fs::read_dir(state.join("images")).unwrap();
    let mut names = marks.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let there = names.any(|mark| mark.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')));
    if !there {
        println!("skipped: the cluster has no image of {name}; tests/cluster/up says why");
    }
    there
}

/// `tests/cluster`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster")
}
