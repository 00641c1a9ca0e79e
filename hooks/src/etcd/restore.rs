//! The verb `restore`: makes a member's data directory of a snapshot, by etcd's own program.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Deserialize;
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
    runtime::{Command, RunAs},
};

/// The programs that restore, the better one first: 3.5 brought etcdutl, and 3.6 took the restore out of etcdctl.
const PROGRAMS: [&str; 2] = ["etcdutl", "etcdctl"];

/// Where the program restores to: etcdctl 3.4 refuses a directory that is there, even an empty one.
const NEW: &str = "standstill-new-member";

/// How long the program may take; the step's own timeout is usually shorter.
const LONG: Duration = Duration::from_hours(1);

fn usual_member() -> String {
    "default".into()
}

fn usual_peer() -> String {
    "http://localhost:2380".into()
}

fn usual_token() -> String {
    "etcd-cluster".into()
}

/// What `restore` is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The snapshot's file, relative to the volume. It is removed when it was restored.
    file: String,
    /// Directories to look for etcdutl and etcdctl in, before `PATH`; empty ones are passed over.
    #[serde(default)]
    search: Vec<String>,
    /// The new member's name.
    #[serde(default = "usual_member")]
    member: String,
    /// The address at which other members will reach it.
    #[serde(default = "usual_peer")]
    peer_url: String,
    /// What tells the new cluster from others with the same addresses.
    #[serde(default = "usual_token")]
    cluster_token: String,
}

/// Restores.
///
/// # Errors
/// [`standstill_core::ErrorKind::Damaged`] when the snapshot is not what was stored: the program compares its digest.
pub(super) async fn restore(context: &HookContext, arguments: Arguments) -> Result<Called> {
    let volume = context.volume()?.clone();
    let file = inside(&volume, &arguments.file)?;
    let new = volume.join(NEW);
    let program = program(context, &arguments.search).await?;
    let peers = format!("{}={}", arguments.member, arguments.peer_url);
    let mut command = Command::new([
        program.display().to_string(),
        "snapshot".into(),
        "restore".into(),
        file.display().to_string(),
        format!("--data-dir={}", new.display()),
        format!("--name={}", arguments.member),
        format!("--initial-cluster={peers}"),
        format!("--initial-cluster-token={}", arguments.cluster_token),
        format!("--initial-advertise-peer-urls={}", arguments.peer_url),
    ]);
    // Version 3.4 speaks the protocol of version 2 to files too, unless it is told.
    command.env.insert("ETCDCTL_API".into(), "3".into());
    command.run_as = RunAs::OwnerOf(volume.clone());
    let output = context.runtime.exec(&command, LONG, &context.cancel).await?;
    if !output.exit.is_success() {
        let said = output.stderr.trim().lines().next_back().unwrap_or_default().to_owned();
        let error = format!("{} ended with {}: {said}", command.program(), output.exit);
        return Err(if said.contains("sha256") {
            Error::damaged(error).remedy("Restore another recovery point; this one is damaged.")
        } else {
            Error::failed(error)
                .remedy("Use the programs of the version of etcd that was backed up, or a later one.")
        });
    }
    tokio::task::spawn_blocking(move || settle(&volume, &new, &file))
        .await
        .map_err(|cause| Error::failed("the work on the restored files broke off").because(cause))?
        .map_err(|cause| Error::failed("the restored member cannot be put in its place").because(cause))?;
    Ok(Called::default())
}

/// Puts the member where the volume's root is.
fn settle(volume: &Path, new: &Path, file: &Path) -> io::Result<()> {
    for entry in fs::read_dir(new)? {
        let entry = entry?;
        fs::rename(entry.path(), volume.join(entry.file_name()))?;
    }
    fs::remove_dir(new)?;
    fs::remove_file(file)
}

/// A relative path that stays inside the volume.
fn inside(volume: &Path, file: &str) -> Result<PathBuf> {
    let relative = Path::new(file);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if plain && relative.components().next().is_some() {
        return Ok(volume.join(relative));
    }
    Err(Error::input(format!("`{file}` is not a path inside a volume"))
        .remedy("Write a relative path without `..`."))
}

async fn program(context: &HookContext, search: &[String]) -> Result<PathBuf> {
    let search: Vec<PathBuf> = search.iter().filter(|place| !place.is_empty()).map(PathBuf::from).collect();
    for name in PROGRAMS {
        if let Ok(found) = context.runtime.program(name, &search).await {
            return Ok(found);
        }
    }
    Err(Error::input("neither etcdutl nor etcdctl is on this machine, and one of them restores")
        .remedy("Install etcd's programs (Debian: etcd-client), or say where they are."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_outside_of_the_volume_is_refused() {
        let volume = Path::new("/v");
        assert_eq!(inside(volume, "a/b.db").unwrap(), Path::new("/v/a/b.db"));
        for file in ["", "/etc/passwd", "../x", "a/../../x", "."] {
            assert!(inside(volume, file).is_err(), "{file}");
        }
    }

    #[test]
    fn a_restored_member_is_moved_to_the_root_of_its_volume() {
        let volume = tempfile::tempdir().unwrap();
        let (new, file) = (volume.path().join(NEW), volume.path().join("s.db"));
        fs::create_dir_all(new.join("member/snap")).unwrap();
        fs::write(&file, "").unwrap();
        settle(volume.path(), &new, &file).unwrap();
        assert!(volume.path().join("member/snap").is_dir());
        assert!(!new.exists() && !file.exists());
    }
}
