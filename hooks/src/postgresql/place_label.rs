//! The verb `place-label`: turns restored files into a data directory that recovers from this backup, and from
//! nothing else, and whose every link stays inside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::Deserialize;
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
};

use super::directory::{DataDirectory, leaves, list, unreadable};

/// The first line of what is added to `postgresql.auto.conf` when a restore point is the target.
const MARK: &str = "# Standstill: recovery ends at the restore point of the backup";

/// A place that was restored to another volume than the data directory.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Moved {
    /// Where it was, as the server that was backed up saw it.
    from: PathBuf,
    /// The volume that it was restored to.
    volume: String,
}

/// What `place-label` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The contents of `backup_label`; without one the directory must come from an atomic snapshot.
    #[serde(default)]
    label: Option<String>,
    /// The contents of `tablespace_map`.
    #[serde(default)]
    tablespace_map: Option<String>,
    /// The restore point at which recovery ends, if the backup has one.
    #[serde(default)]
    restore_point: Option<String>,
    /// Where the data directory is in the volume; the volume itself by default.
    #[serde(default)]
    under: PathBuf,
    /// Places outside the data directory's volume that were restored to volumes of their own.
    #[serde(default)]
    moved: Vec<Moved>,
}

/// Does the verb. It may be called again.
pub(super) fn place(context: &HookContext, arguments: &Arguments) -> Result<Called> {
    let directory = DataDirectory::of(context, &arguments.under)?;
    let volume = context.volume()?.canonicalize().map_err(|cause| unreadable(&directory.path, cause))?;
    let mut moved = Vec::new();
    for place in &arguments.moved {
        let to = context.volumes.get(&place.volume).ok_or_else(|| {
            Error::input(format!("`moved` names volume {}, which this action does not have", place.volume))
                .remedy("Name volumes that the action declares.")
        })?;
        moved.push((place.from.clone(), to.canonicalize().map_err(|cause| unreadable(to, cause))?));
    }
    for name in [
        "postmaster.pid",
        "postmaster.opts",
        "standby.signal",
        "recovery.signal",
        "backup_label.old",
        "tablespace_map.old",
    ] {
        directory.remove(name)?;
    }
    wal_inside(&directory, &volume)?;
    directory.tidy()?;
    let places = Places { volume: &volume, moved: &moved };
    let tablespaces = tablespaces(&directory, &places)?;
    if let Some(label) = arguments.label.as_deref().filter(|label| !label.is_empty()) {
        directory.write("backup_label", label)?;
        map(&directory, arguments.tablespace_map.as_deref().unwrap_or_default(), &tablespaces)?;
    } else {
        directory.remove("backup_label")?;
        directory.remove("tablespace_map")?;
    }
    if let Some(point) = arguments.restore_point.as_deref().filter(|point| !point.is_empty()) {
        aim(&directory, point)?;
    }
    let roots: Vec<_> = std::iter::once(volume.clone()).chain(moved.into_iter().map(|(_, to)| to)).collect();
    directory.refuse_leaving_links(&roots)?;
    Ok(Called::default())
}

/// A `pg_wal` link is replaced by a directory: the one it leads to if that was restored too, else a new one.
fn wal_inside(directory: &DataDirectory, volume: &Path) -> Result<()> {
    let wal = directory.join("pg_wal");
    if !wal.is_symlink() {
        return Ok(());
    }
    let real = wal.canonicalize().ok().filter(|real| real.starts_with(volume));
    directory.remove("pg_wal")?;
    let Some(real) = real else { return Ok(()) };
    fs::rename(&real, &wal).map_err(|cause| {
        Error::failed(format!("{} cannot be moved to {}", real.display(), wal.display())).because(cause)
    })
}

/// Where things were restored to.
struct Places<'a> {
    volume: &'a Path,
    moved: &'a [(PathBuf, PathBuf)],
}

impl Places<'_> {
    /// The place of a tablespace in the restored volumes: told by `moved`, or found under the same last parts of
    /// its path. A tablespace is known by its version directory.
    fn find(&self, old: &Path) -> Option<PathBuf> {
        let told = self.moved.iter().find_map(|(from, to)| Some(to.join(old.strip_prefix(from).ok()?)));
        let parts: Vec<_> = old.components().skip(1).collect();
        let suffixes =
            (0..parts.len()).map(|first| self.volume.join(parts[first..].iter().collect::<PathBuf>()));
        told.into_iter()
            .chain(suffixes)
            .filter_map(|path| path.canonicalize().ok())
            .find(|path| self.contains(path) && is_tablespace(path))
    }

    fn contains(&self, path: &Path) -> bool {
        path.starts_with(self.volume) || self.moved.iter().any(|(_, to)| path.starts_with(to))
    }
}

fn is_tablespace(path: &Path) -> bool {
    let version = |entry: &PathBuf| {
        entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with("PG_")) && entry.is_dir()
    };
    list(path).is_ok_and(|entries| entries.iter().any(version))
}

/// Points every tablespace into the restored volumes; returns where each is now.
fn tablespaces(directory: &DataDirectory, places: &Places<'_>) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for link in list(&directory.join("pg_tblspc"))? {
        // A directory is a tablespace in place.
        let Ok(old) = fs::read_link(&link) else { continue };
        let absolute = if old.is_absolute() { old.clone() } else { directory.join("pg_tblspc").join(&old) };
        let new = places.find(&absolute).ok_or_else(|| leaves(&link, &old))?;
        let name = link.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        directory.link(&Path::new("pg_tblspc").join(&name), &new)?;
        found.push((name, new));
    }
    Ok(found)
}

/// Writes `tablespace_map` with the new places: the server makes its links anew from it.
fn map(directory: &DataDirectory, old: &str, tablespaces: &[(String, PathBuf)]) -> Result<()> {
    directory.remove("tablespace_map")?;
    if old.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for line in logical_lines(old) {
        let oid = line.split(' ').next().unwrap_or_default();
        let (_, new) = tablespaces.iter().find(|(name, _)| name == oid).ok_or_else(|| {
            Error::input(format!("tablespace {oid} of the backup is not in the restored volume")).remedy(
                "Capture the tablespace's volume together with the data directory, and restore it first.",
            )
        })?;
        text.extend([oid, " ", &escape(&new.to_string_lossy()), "\n"]);
    }
    directory.write("tablespace_map", &text)
}

/// Lines, where a line break after a backslash belongs to a path.
fn logical_lines(text: &str) -> Vec<String> {
    let (mut lines, mut line, mut escaped) = (Vec::new(), String::new(), false);
    for character in text.chars() {
        match character {
            '\n' if !escaped => lines.push(std::mem::take(&mut line)),
            _ => line.push(character),
        }
        escaped = character == '\\' && !escaped;
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

fn escape(path: &str) -> String {
    let mut text = String::new();
    for character in path.chars() {
        if matches!(character, '\n' | '\r' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// Has recovery end at the restore point. No WAL is fetched from anywhere: what is needed is in `pg_wal`.
fn aim(directory: &DataDirectory, point: &str) -> Result<()> {
    let own = fs::read_to_string(directory.join("postgresql.auto.conf")).unwrap_or_default();
    let own = own.split(MARK).next().unwrap_or_default().trim_end();
    let text = format!("{own}\n{}", carried(&target(point)));
    directory.write("postgresql.auto.conf", text.trim_start())?;
    directory.write("recovery.signal", "")
}

/// The settings that have recovery end at a restore point.
fn target(point: &str) -> String {
    format!(
        "restore_command = 'false'\nrecovery_target_name = '{}'\nrecovery_target_action = 'promote'\n",
        point.replace('\'', "''")
    )
}

/// The settings that `place-label` left for recovery, to be carried over into a scratch configuration.
pub(super) fn aimed_at(directory: &DataDirectory) -> String {
    if !directory.join("recovery.signal").exists() {
        return String::new();
    }
    let text = fs::read_to_string(directory.join("postgresql.auto.conf")).unwrap_or_default();
    text.split_once(MARK).map(|(_, settings)| settings.trim_start().to_owned()).unwrap_or_default()
}

/// The settings again as `place-label` writes them.
pub(super) fn carried(settings: &str) -> String {
    if settings.is_empty() { String::new() } else { format!("{MARK}\n{settings}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_in_a_tablespace_path_does_not_end_its_line() {
        let text = format!("16384 {}\n16385 /b\n", escape("/odd\nplace"));
        assert_eq!(logical_lines(&text), ["16384 /odd\\\nplace", "16385 /b"]);
    }

    #[test]
    fn a_tablespace_is_found_under_the_last_parts_of_its_old_path() {
        let new = tempfile::tempdir().unwrap();
        let place = new.path().join("data/space");
        fs::create_dir_all(place.join("PG_15_202209061")).unwrap();
        let volume = new.path().canonicalize().unwrap();
        let places = Places { volume: &volume, moved: &[] };
        assert_eq!(places.find(Path::new("/srv/old/data/space")), Some(volume.join("data/space")));
        assert_eq!(places.find(Path::new("/srv/old/elsewhere")), None);
    }
}
