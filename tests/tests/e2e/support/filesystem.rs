//! Loop-mounted file systems, unmounted whatever happens to the test.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A mounted file system. A small process of its own unmounts it when this value is dropped or the test dies.
pub struct Mounted {
    path: PathBuf,
    keeper: Child,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Btrfs,
    Ext4,
    Xfs,
}

/// Waits for the end of its input, then unmounts and removes.
const KEEPER: &str = r#"
    image=$1; path=$2
    mount -o loop "$image" "$path" || exit 1
    echo mounted
    cat > /dev/null
    # Whatever a test left frozen could not be unmounted.
    fsfreeze --unfreeze "$path" 2> /dev/null
    n=0
    until umount "$path" 2> /dev/null || [ $n -ge 100 ]; do n=$((n + 1)); sleep 0.1; done
    umount -l "$path" 2> /dev/null
    rm -f "$image"
"#;

impl Mounted {
    /// Makes and mounts a file system of that size in a new directory; `None`, with the reason printed, where this
    /// machine or user cannot.
    pub fn new(kind: Kind, path: &Path, megabytes: u64) -> Option<Self> {
        match Self::try_new(kind, path, megabytes) {
            Ok(mounted) => Some(mounted),
            Err(reason) => {
                println!("left out: no {kind:?} file system can be mounted here: {reason}");
                None
            }
        }
    }

    fn try_new(kind: Kind, path: &Path, megabytes: u64) -> Result<Self, String> {
        let image = path.with_extension("image");
        fs::create_dir(path).map_err(|cause| cause.to_string())?;
        let file = fs::File::create(&image).map_err(|cause| cause.to_string())?;
        file.set_len(megabytes << 20).map_err(|cause| cause.to_string())?;
        let program = match kind {
            Kind::Btrfs => "mkfs.btrfs",
            Kind::Ext4 => "mkfs.ext4",
            Kind::Xfs => "mkfs.xfs",
        };
        let made = Command::new(program)
            .arg("-q")
            .arg(&image)
            .output()
            .map_err(|cause| format!("{program}: {cause}"))?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into_owned());
        }
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args([&image, path])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Who kills the test with its process group leaves the keeper to its work.
            .process_group(0)
            .spawn()
            .map_err(|cause| cause.to_string())?;
        let mut said = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(keeper.stdout.take().unwrap()), &mut said)
            .map_err(|cause| cause.to_string())?;
        if said != "mounted\n" {
            keeper.wait().map_err(|cause| cause.to_string())?;
            return Err("mount failed".to_owned());
        }
        Ok(Self { path: path.to_owned(), keeper })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new subvolume of a btrfs.
    pub fn subvolume(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        let made = Command::new("btrfs").args(["subvolume", "create"]).arg(&path).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        path
    }
}

/// The subvolumes of the btrfs at a path, as `btrfs subvolume list` names them.
pub fn subvolumes(path: &Path) -> Vec<String> {
    let listed = Command::new("btrfs").args(["subvolume", "list"]).arg(path).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let text = String::from_utf8(listed.stdout).unwrap();
    text.lines().filter_map(|line| Some(line.split_once(" path ")?.1.to_owned())).collect()
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _status = self.keeper.wait();
    }
}
