//! The binary under test as an image of the cluster, imported once for each build.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use super::place::built;

/// The image's name. Made at the first call for a build; other tests wait for it meanwhile.
pub fn standstill(state: &Path) -> String {
    let binary = built();
    let metadata = fs::metadata(&binary).unwrap();
    let mut hasher = DefaultHasher::new();
    (metadata.len(), metadata.modified().unwrap()).hash(&mut hasher);
    let name = format!("standstill.test/standstill:{:016x}", hasher.finish());
    let lock = File::create(state.join("image.lock")).unwrap();
    lock.lock().unwrap();
    let made = state.join("image.made");
    if fs::read_to_string(&made).is_ok_and(|made| made == name) {
        return name;
    }
    let import = folder().join("image");
    let output = Command::new(&import).arg(&name).arg(&binary).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(&made, &name).unwrap();
    name
}

/// `tests/cluster`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster")
}
