//! The verbs that look at restored files.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
    point::{Check, CheckOutcome, Outputs},
    runtime::Command,
    units::show_bytes,
};

use super::{
    aof,
    rdb::{self, Whole},
};

/// How long a server's own checker may take; the step's timeout is usually shorter.
const LONG: Duration = Duration::from_hours(24);

/// What `check-save` is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CheckSave {
    /// The file's name, in the volume.
    file: String,
    /// Directories to look for `redis-server` in before the usual ones; `redis-check-rdb` is used if it is beside it.
    #[serde(default)]
    search: Vec<String>,
}

/// Whether an RDB file is whole: by its own checksum, and by the server's checker where there is one. The checker
/// takes bytes after the end for nothing, and the checksum knows nothing of what the bytes mean.
pub(super) async fn check_save(context: &HookContext, arguments: CheckSave) -> Result<Called> {
    let path = inside(context.volume()?, &arguments.file)?;
    let (file, named) = (path.clone(), arguments.file.clone());
    let check = tokio::task::spawn_blocking(move || of_save(&file, &named))
        .await
        .map_err(|cause| Error::failed("the work on the restored files broke off").because(cause))?;
    let by_tool = by_tool(context, "redis-check-rdb", &arguments.search, &path).await?;
    Ok(Called { checks: vec![check, by_tool], ..Called::default() })
}

/// What `check-append-only` is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CheckAppendOnly {
    /// The directory of its parts, in the volume.
    directory: String,
    /// What their names begin with.
    file: String,
    /// How many bytes must be whole at least: what had been acknowledged when it was captured.
    #[serde(default)]
    complete_bytes: u64,
    /// Directories to look for `redis-server` in before the usual ones; `redis-check-aof` is used if it is beside it.
    #[serde(default)]
    search: Vec<String>,
}

/// Whether all parts are there, and whole up to what had been acknowledged. The server's checker refuses half a
/// command at the end, which a copy of a file that grows may have, and which every server passes over; so it is asked
/// only where there is none.
pub(super) async fn check_append_only(context: &HookContext, arguments: CheckAppendOnly) -> Result<Called> {
    let directory = inside(context.volume()?, &arguments.directory)?;
    let manifest = inside(&directory, &format!("{}.manifest", arguments.file))?;
    let file = arguments.file.clone();
    let found = tokio::task::spawn_blocking(move || aof::check(&directory, &file))
        .await
        .map_err(|cause| Error::failed("the work on the restored files broke off").because(cause))?;
    let made = |outcome, detail| Check { name: "parts of the append-only file".into(), outcome, detail };
    let needed = arguments.complete_bytes;
    let mut checks = Vec::new();
    match found {
        Err(wrong) => checks.push(made(CheckOutcome::Failed, wrong)),
        Ok(found) if found.complete < needed => checks.push(made(
            CheckOutcome::Failed,
            format!(
                "{} bytes are whole, and {needed} had been acknowledged; {}",
                found.complete, found.detail
            ),
        )),
        Ok(found) => {
            checks.push(made(CheckOutcome::Passed, found.detail));
            if found.half == 0 {
                checks.push(by_tool(context, "redis-check-aof", &arguments.search, &manifest).await?);
            }
        }
    }
    Ok(Called { checks, ..Called::default() })
}

/// What `cut-unfinished` is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CutUnfinished {
    /// The directory of its parts, in the volume.
    directory: String,
    /// What their names begin with.
    file: String,
    /// How many bytes must be whole at least: what had been acknowledged when it was captured.
    complete_bytes: u64,
}

/// Cuts off what was being written when the append-only file was captured.
pub(super) fn cut_unfinished(context: &HookContext, arguments: &CutUnfinished) -> Result<Called> {
    let directory = inside(context.volume()?, &arguments.directory)?;
    inside(&directory, &arguments.file)?;
    let is_directory = directory.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    let cut = if is_directory {
        aof::cut(&directory, &arguments.file, arguments.complete_bytes)
    } else {
        Err(format!("there is no directory {}", arguments.directory))
    };
    let cut = cut.map_err(|wrong| {
        Error::failed(format!("the append-only file is not what was backed up: {wrong}")).remedy(
            "Restore another recovery point. What is there stays: `redis-check-aof` says what can be saved of it.",
        )
    })?;
    if cut > 0 {
        tracing::info!("{cut} bytes that were being written at the cut were removed from the end");
    }
    Ok(Called { outputs: Outputs::from([("cutBytes".into(), json!(cut))]), ..Called::default() })
}

/// A file of the volume's own.
fn inside(volume: &Path, name: &str) -> Result<PathBuf> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Err(Error::input(format!("`{name}` is not the name of a file in the volume"))
            .remedy("Name the file as the server's settings do, without a directory."));
    }
    Ok(volume.join(name))
}

/// The check of one RDB file.
fn of_save(path: &Path, name: &str) -> Check {
    let made = |outcome, detail: String| Check { name: format!("checksum of {name}"), outcome, detail };
    match rdb::check(path) {
        Ok(Ok((Whole::Yes, bytes))) => {
            made(CheckOutcome::Passed, format!("{} are as they were written", show_bytes(bytes)))
        }
        Ok(Ok((Whole::Unchecked, _))) => made(
            CheckOutcome::Skipped,
            "the server writes no checksums (rdbchecksum no); only the end was looked at".into(),
        ),
        Ok(Err(wrong)) => made(CheckOutcome::Failed, format!("{name} {wrong}")),
        Err(cause) => made(CheckOutcome::Failed, format!("cannot read {name}: {cause}")),
    }
}

/// The check by the server's own program, if there is one here. That of another server would refuse what it does not
/// know: Redis 7.0's refuses every file of Valkey 9.
async fn by_tool(context: &HookContext, tool: &str, search: &[String], file: &Path) -> Result<Check> {
    let made = |outcome, detail: String| Check { name: tool.to_owned(), outcome, detail };
    let search: Vec<PathBuf> = search.iter().filter(|place| !place.is_empty()).map(Into::into).collect();
    let server = context.runtime.program("redis-server", &search).await;
    let beside = server.ok().and_then(|server| server.parent().map(Path::to_owned));
    let found = match &beside {
        Some(directory) => context.runtime.program(tool, std::slice::from_ref(directory)).await.ok(),
        None => None,
    };
    let Some(program) = found.filter(|program| program.parent() == beside.as_deref()) else {
        return Ok(made(CheckOutcome::Skipped, "there is no such program beside the server's".into()));
    };
    let command = Command::new([program.display().to_string(), file.display().to_string()]);
    let output = context.runtime.exec(&command, LONG, &context.cancel).await?;
    let last = output.stdout.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let outcome = if output.exit.is_success() { CheckOutcome::Passed } else { CheckOutcome::Failed };
    Ok(made(outcome, format!("{}: {last}", output.exit)))
}
