//! A restored data directory: keeping everything in it inside it, and a configuration to look at it with.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
};

use super::dialect::Dialect;

/// The configuration's name in a scratch copy.
pub(crate) const CONFIGURATION: &str = "standstill-scratch.cnf";

/// What `place` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PlaceArguments {}

/// What `scratch-config` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ScratchArguments {
    /// The variables of the server that was backed up, as the backup recorded them.
    #[serde(default)]
    settings: Map<String, Value>,
    /// Whether the directory was made anew, for a dump: then its files are of this machine's making.
    #[serde(default)]
    fresh: bool,
}

/// The configuration of a scratch server: nothing of it acts on the world, and nothing it does lasts.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// The section of the file.
    pub section: &'static str,
    /// The options that name a directory, all of them the copy's. One of them is that for temporary files: a server
    /// that starts removes leftovers there, the original's too if it were the usual one.
    pub directories: &'static [&'static str],
    /// What it has whatever the original had, besides what every scratch server has.
    pub fixed: &'static [&'static str],
    /// The recorded variables that belong to the files, and are not given to a directory that was made anew.
    pub of_files: &'static [&'static str],
}

/// Makes a restored directory one that leads nowhere else: the lists of binary and relay logs name files beside them,
/// and nothing is linked to a place outside. It may be called again.
pub(crate) fn place(dialect: &Dialect, context: &HookContext) -> Result<Called> {
    Copy::of(dialect, context)?.turn_inward()?;
    Ok(Called::default())
}

/// Does what [`place`] does, and writes the configuration.
pub(crate) fn configure(
    dialect: &Dialect,
    context: &HookContext,
    arguments: &ScratchArguments,
) -> Result<Called> {
    let copy = Copy::of(dialect, context)?;
    copy.turn_inward()?;
    copy.write(
        CONFIGURATION,
        &configuration(&dialect.scratch, &copy.path, &arguments.settings, arguments.fresh),
    )?;
    Ok(Called::default())
}

/// The settings of every scratch server. Without grant tables it also runs no events and loads no plugins that the data
/// name.
const FIXED: &[&str] = &[
    "skip-networking",
    "skip-grant-tables",
    "skip-name-resolve",
    "event-scheduler = OFF",
    "local-infile = OFF",
    "general-log = OFF",
    "slow-query-log = OFF",
    "performance-schema = OFF",
    "innodb-log-group-home-dir = ./",
    "innodb-undo-directory = ./",
    "innodb-buffer-pool-size = 128M",
    "innodb-buffer-pool-load-at-startup = OFF",
    "innodb-buffer-pool-dump-at-shutdown = OFF",
    "innodb-flush-log-at-trx-commit = 0",
    "innodb-use-native-aio = OFF",
    "sync-binlog = 0",
    "max-connections = 20",
];

/// The recorded variables that every scratch server is given.
const GIVEN: &[&str] = &["lower_case_table_names", "character_set_server", "collation_server"];

fn configuration(scratch: &Scratch, path: &Path, settings: &Map<String, Value>, fresh: bool) -> String {
    // A recorded value is a server's word, and one line of a file.
    let text = |name: &str| {
        let value = settings.get(name).and_then(Value::as_str)?;
        (!value.is_empty() && !value.contains(char::is_control)).then_some(value)
    };
    let mut lines = vec![
        "# A scratch copy: made by Standstill to be looked at and removed.".to_owned(),
        scratch.section.to_owned(),
    ];
    lines.extend(scratch.directories.iter().map(|option| format!("{option} = {}", path.display())));
    lines.extend(FIXED.iter().chain(scratch.fixed).map(|&line| line.to_owned()));
    let files: &[&str] = if fresh { &[] } else { scratch.of_files };
    for name in files.iter().chain(GIVEN) {
        if let Some(value) = text(name) {
            lines.push(format!("{name} = {value}"));
        }
    }
    // Recovery asks the binary log which prepared transactions were committed: without it the server refuses to
    // start, or worse, guesses.
    let file = |name: &str| Some(Path::new(text(name)?).file_name()?.to_string_lossy().into_owned());
    match (text("log_bin"), file("log_bin_basename")) {
        (Some("ON"), Some(base)) if !fresh => {
            lines.push(format!("log-bin = {base}"));
            lines.extend(file("log_bin_index").map(|index| format!("log-bin-index = {index}")));
        }
        _ => lines.push("skip-log-bin".into()),
    }
    lines.push(String::new());
    lines.join("\n")
}

/// A data directory that no server runs on.
struct Copy {
    /// Its path without links.
    path: PathBuf,
    uid: u32,
    gid: u32,
}

impl Copy {
    fn of(dialect: &Dialect, context: &HookContext) -> Result<Self> {
        let volume = context.volume()?;
        let none = || {
            Error::input(format!("{} is no data directory of {}", volume.display(), dialect.product))
                .remedy("Restore the volume first.")
        };
        let path = volume.canonicalize().map_err(|cause| none().because(cause))?;
        let metadata = fs::metadata(path.join("ibdata1")).map_err(|cause| none().because(cause))?;
        Ok(Self { path, uid: metadata.uid(), gid: metadata.gid() })
    }

    /// Refuses what leads out of the directory, and rewrites what can be.
    fn turn_inward(&self) -> Result<()> {
        for entry in entries(&self.path)? {
            let path = entry.path();
            let kind = entry.file_type().map_err(|cause| unreadable(&path, cause))?;
            self.refuse_link(&path, kind)?;
            if kind.is_dir() {
                for inner in entries(&path)? {
                    let kind = inner.file_type().map_err(|cause| unreadable(&inner.path(), cause))?;
                    self.refuse_link(&inner.path(), kind)?;
                }
            } else if path.extension().is_some_and(|extension| extension == "index") {
                self.rewrite_index(&path)?;
            }
        }
        Ok(())
    }

    /// A link, or a text file that InnoDB takes as one: a server on the copy would open the original's files.
    fn refuse_link(&self, path: &Path, kind: fs::FileType) -> Result<()> {
        let leads_out = match path.extension().and_then(|extension| extension.to_str()) {
            Some("isl") => true,
            _ if kind.is_symlink() => path.canonicalize().map_or(true, |real| !real.starts_with(&self.path)),
            _ => false,
        };
        if !leads_out {
            return Ok(());
        }
        Err(Error::failed(format!("{} leads out of the restored directory", path.display()))
            .remedy("Remove it and the table that it belongs to, or restore from a dump: a server would open the original's files."))
    }

    /// A list of log files names them by absolute paths where the original was configured so.
    fn rewrite_index(&self, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path).map_err(|cause| unreadable(path, cause))?;
        let beside = |line: &str| {
            let name = Path::new(line).file_name()?;
            self.path.join(name).exists().then(|| format!("./{}", name.to_string_lossy()))
        };
        let lines =
            text.lines().map(|line| if line.starts_with('/') { beside(line) } else { Some(line.to_owned()) });
        // What is not beside it was not backed up, and belongs to the original.
        let rewritten: String = lines.flatten().map(|line| line + "\n").collect();
        match path.file_name() {
            Some(name) if rewritten != text => self.write(&name.to_string_lossy(), &rewritten),
            _ => Ok(()),
        }
    }

    /// Writes a file with the directory's owner, on disk before it counts.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        use std::io::Write as _;
        let path = self.path.join(name);
        let written = (|| {
            // A link in its place would lead the write out of the directory.
            match fs::remove_file(&path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
            let mut file = fs::File::create_new(&path)?;
            file.write_all(text.as_bytes())?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            chown(&path, Some(self.uid), Some(self.gid))?;
            file.sync_all()
        })();
        written.map_err(|cause| {
            Error::failed(format!("cannot write {}", path.display()))
                .remedy("Run as root or as the owner of the directory.")
                .because(cause)
        })
    }
}

fn entries(directory: &Path) -> Result<Vec<fs::DirEntry>> {
    let read = fs::read_dir(directory).and_then(Iterator::collect);
    read.map_err(|cause| unreadable(directory, cause))
}

fn unreadable(path: &Path, cause: io::Error) -> Error {
    Error::failed(format!("cannot look at {}", path.display()))
        .remedy("Run as root or as the owner of the directory.")
        .because(cause)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mariadb::dialect::MARIADB;

    fn copy() -> (tempfile::TempDir, Copy) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ibdata1"), "").unwrap();
        let metadata = fs::metadata(directory.path()).unwrap();
        let path = directory.path().canonicalize().unwrap();
        let copy = Copy { path, uid: metadata.uid(), gid: metadata.gid() };
        (directory, copy)
    }

    #[test]
    fn a_list_of_logs_by_absolute_paths_never_leads_to_the_originals() {
        let (directory, copy) = copy();
        let index = directory.path().join("binlog.index");
        fs::write(directory.path().join("binlog.000002"), "").unwrap();
        fs::write(&index, "/var/lib/mysql/binlog.000001\n/var/lib/mysql/binlog.000002\n").unwrap();
        copy.turn_inward().unwrap();
        assert_eq!(fs::read_to_string(&index).unwrap(), "./binlog.000002\n");
        copy.turn_inward().unwrap();
        assert_eq!(fs::read_to_string(&index).unwrap(), "./binlog.000002\n");
    }

    #[test]
    fn a_link_out_of_the_copy_is_refused_in_either_form() {
        for name in ["t.isl", "t.MYD"] {
            let (directory, copy) = copy();
            fs::create_dir(directory.path().join("app")).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", directory.path().join("app").join(name)).unwrap();
            let error = copy.turn_inward().unwrap_err();
            assert!(error.to_string().contains("leads out"), "{error}");
        }
    }

    #[test]
    fn a_scratch_server_has_what_its_files_need_and_nothing_that_acts() {
        let settings = json!({
            "log_bin": "ON", "log_bin_basename": "/var/lib/mysql/mysql-bin", "innodb_page_size": "8192",
            "log_bin_index": "/var/lib/mysql/mysql-bin.index", "sql_mode": "ANSI",
        });
        let text =
            configuration(&MARIADB.scratch, Path::new("/scratch"), settings.as_object().unwrap(), false);
        for line in [
            "log-bin = mysql-bin\n",
            "innodb_page_size = 8192\n",
            "skip-grant-tables\n",
            "datadir = /scratch\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("/var/lib/mysql"), "{text}");
        assert!(
            configuration(&MARIADB.scratch, Path::new("/scratch"), &Map::new(), false)
                .contains("skip-log-bin\n")
        );
    }
}
