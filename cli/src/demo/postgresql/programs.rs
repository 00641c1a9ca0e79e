//! Finding PostgreSQL's programs, and a user who may run them.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use standstill_core::{Error, Result};

/// What the demo and the blueprint run.
const NEEDED: [&str; 3] = ["initdb", "postgres", "pg_amcheck"];
/// Where Debian keeps a directory for each major version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The user `nobody` where there is no other.
const NOBODY: (u32, u32) = (65_534, 65_534);

/// A directory that has all programs, of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs(PathBuf);

impl Programs {
    /// The first complete one of `PATH`, then Debian's newest.
    pub fn find() -> Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let newest = newest_first(Path::new(DEBIAN));
        among(env::split_paths(&path).chain(newest)).ok_or_else(|| {
            let (last, others) = NEEDED.split_last().unwrap_or((&"", &[]));
            Error::input(format!(
                "PostgreSQL's programs {} and {last} are not on PATH and not in {DEBIAN}/*/bin",
                others.join(", ")
            ))
            .remedy(
                "Install PostgreSQL 14 or later (Debian: `apt-get install postgresql`) or add its programs' directory \
                 to PATH; `standstill demo` without `--database` needs nothing.",
            )
        })
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    pub fn directory(&self) -> String {
        self.0.display().to_string()
    }
}

/// The first directory that has all programs. One that links to `initdb` elsewhere stands for that other place,
/// where the programs' libraries and data are found too.
fn among(places: impl Iterator<Item = PathBuf>) -> Option<Programs> {
    let home = |place: PathBuf| {
        let initdb = fs::canonicalize(place.join("initdb")).ok()?;
        initdb.parent().map(Path::to_owned)
    };
    let complete = |place: &PathBuf| NEEDED.iter().all(|name| place.join(name).is_file());
    places.filter_map(home).find(complete).map(Programs)
}

/// `DIRECTORY/VERSION/bin`, the highest version first.
fn newest_first(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let mut found: Vec<(u32, PathBuf)> =
        entries.filter_map(|entry| Some((version(&entry.path())?, entry.path().join("bin")))).collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    found.into_iter().map(|(_, path)| path).collect()
}

/// The user and group that a server of root's runs as, for PostgreSQL refuses root: `postgres`, or else `nobody`.
pub fn unprivileged() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].into_iter().find_map(|name| user(&users, name)).unwrap_or(NOBODY)
}

/// A user of passwd(5), with its group.
fn user(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| match line.split(':').collect::<Vec<_>>().as_slice() {
        [found, _, user, group, ..] if *found == name => Some((user.parse().ok()?, group.parse().ok()?)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(place: &Path, programs: &[&str]) -> PathBuf {
        fs::create_dir_all(place).unwrap();
        for program in programs {
            fs::write(place.join(program), "").unwrap();
        }
        fs::canonicalize(place).unwrap()
    }

    #[test]
    fn the_newest_version_comes_first_by_number() {
        let place = tempfile::tempdir().unwrap();
        for version in ["9", "14", "18", "common"] {
            fs::create_dir(place.path().join(version)).unwrap();
        }
        let found = newest_first(place.path());
        assert_eq!(found, ["18", "14", "9"].map(|version| place.path().join(version).join("bin")));
        assert!(newest_first(&place.path().join("absent")).is_empty());
    }

    #[test]
    fn a_directory_that_lacks_a_program_is_passed_over() {
        let place = tempfile::tempdir().unwrap();
        let partial = install(&place.path().join("partial"), &["initdb", "postgres"]);
        let whole = install(&place.path().join("whole"), &NEEDED);
        assert_eq!(among([partial.clone(), whole.clone()].into_iter()), Some(Programs(whole)));
        assert_eq!(among([partial].into_iter()), None);
    }

    #[test]
    fn links_lead_to_the_directory_of_the_programs_themselves() {
        let place = tempfile::tempdir().unwrap();
        let whole = install(&place.path().join("15"), &NEEDED);
        let links = place.path().join("links");
        fs::create_dir(&links).unwrap();
        std::os::unix::fs::symlink(whole.join("initdb"), links.join("initdb")).unwrap();
        assert_eq!(among([links].into_iter()), Some(Programs(whole)));
    }

    #[test]
    fn users_are_found_by_their_names() {
        let users = "root:x:0:0::/root:/bin/sh\npostgres:x:101:104:a,b:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(user(users, "postgres"), Some((101, 104)));
        assert_eq!(user(users, "nobody"), None);
    }
}
