//! The hook: each verb is a task for a helper process.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use standstill_core::{
    Error, Result,
    hook::{Acquired, Called, HoldTraits, Hook, HookContext, HookDescription, Probe, Undone, VerbKind},
    point::{Check, CheckOutcome, Outputs, Version},
};
use tokio_util::sync::CancellationToken;

use super::{
    arguments::{self, parse},
    client::ask,
    description, facts, online_backup,
    task::{
        Checkpointed, CopyTask, Count, CountTask, Database, Ended, IdentifyTask, Identity, InspectTask,
        Inspected, Owner, QueryTask, Task,
    },
    write_lock,
};

/// The deadline of a look at the files.
const LOOK: Duration = Duration::from_mins(1);
/// A ceiling for work that grows with the database; the step's timeout and the run's cancellation come first.
const WORK: Duration = Duration::from_hours(24);

/// The hook for SQLite.
#[derive(Debug, Clone, Copy)]
pub struct Sqlite;

/// What `undo` needs: whose helpers to end; nothing where nothing stays held.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Record {
    owner: Option<Owner>,
}

#[async_trait]
impl Hook for Sqlite {
    fn describe(&self) -> &HookDescription {
        &description::DESCRIPTION
    }

    fn hold_traits(&self, verb: &str, arguments: &Value) -> Option<HoldTraits> {
        match (verb, self.describe().verb(verb)?.kind) {
            ("write-lock", VerbKind::Hold(_)) => {
                Some(description::write_lock(arguments.get("sync") == Some(&Value::Bool(true))))
            }
            (_, VerbKind::Hold(traits)) => Some(traits),
            (_, VerbKind::Read | VerbKind::Act | VerbKind::Stream) => None,
        }
    }

    async fn probe(&self, context: &HookContext) -> Result<Probe> {
        probe(context, None).await
    }

    async fn probe_for(&self, context: &HookContext, arguments: &Value) -> Result<Probe> {
        probe(context, arguments.get("file").and_then(Value::as_str).map(PathBuf::from)).await
    }

    async fn call(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Called> {
        match verb {
            "ready" => ready(context, parse(verb, arguments)?).await,
            "checkpoint" => checkpoint(context, parse(verb, arguments)?).await,
            "check" => check(context, parse(verb, arguments)?).await,
            "compare-facts" => compare_facts(context, parse(verb, arguments)?).await,
            "query" => query(context, parse(verb, arguments)?).await,
            _ => Err(unknown(verb)),
        }
    }

    fn undo_record(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Value> {
        let owner = match verb {
            "write-lock" => {
                let arguments: arguments::WriteLock = parse(verb, arguments)?;
                Some(owner(context, arguments.file)?)
            }
            "online-backup" => None,
            _ => return Err(unknown(verb)),
        };
        serde_json::to_value(Record { owner }).map_err(|cause| {
            Error::input("a path is not UTF-8")
                .remedy("Rename the volume's directory or file.")
                .because(cause)
        })
    }

    async fn acquire(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Acquired> {
        match verb {
            "write-lock" => {
                let arguments: arguments::WriteLock = parse(verb, arguments)?;
                let owner = owner(context, arguments.file.clone())?;
                write_lock::acquire(context, arguments, owner).await
            }
            "online-backup" => {
                let arguments: arguments::OnlineBackup = parse(verb, arguments)?;
                let database = database(context, arguments.file.clone())?;
                online_backup::acquire(context, arguments, database).await
            }
            _ => Err(unknown(verb)),
        }
    }

    async fn undo(&self, record: &Value, context: &HookContext) -> Result<Undone> {
        let record: Record = serde_json::from_value(record.clone()).map_err(|cause| {
            Error::failed("cannot understand what the journal says about a write lock")
                .remedy("Look for processes named `agent hold sqlite` with `ps` and end them.")
                .because(cause)
        })?;
        let Some(owner) = record.owner else { return Ok(Undone::AlreadyGone) };
        // Letting go is not cancelled.
        let context = HookContext { cancel: CancellationToken::new(), ..context.clone() };
        let ended: Ended = ask(&context, &Task::End(owner), LOOK).await?;
        Ok(if ended.processes == 0 { Undone::AlreadyGone } else { Undone::LetGo })
    }
}

fn unknown(verb: &str) -> Error {
    Error::input(format!("there is no sqlite/{verb} of this kind"))
        .remedy("`standstill lint` names the verbs.")
}

fn database(context: &HookContext, file: PathBuf) -> Result<Database> {
    Ok(Database { directory: context.volume()?.clone(), file })
}

fn owner(context: &HookContext, file: PathBuf) -> Result<Owner> {
    Ok(Owner { run: context.run.to_string(), database: database(context, file)? })
}

fn copy(context: &HookContext, file: PathBuf) -> Result<CopyTask> {
    Ok(CopyTask { database: database(context, file)?, scratch: context.scratch.clone() })
}

fn outputs<const N: usize>(values: [(&str, Value); N]) -> Outputs {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn probe(context: &HookContext, file: Option<PathBuf>) -> Result<Probe> {
    let task = Task::Identify(IdentifyTask { directory: context.volume()?.clone(), file });
    let found: Identity = ask(context, &task, LOOK).await?;
    Ok(Probe {
        version: Version { major: 3, full: found.written_by.unwrap_or_else(|| "3".to_owned()) },
        role: None,
        identity: found.identity,
    })
}

async fn ready(context: &HookContext, arguments: arguments::Ready) -> Result<Called> {
    let database = database(context, arguments.file)?;
    let found: Inspected =
        ask(context, &Task::Inspect(InspectTask { database, writable: arguments.writable }), LOOK).await?;
    let outputs = outputs([
        ("pageSize", found.page_size.into()),
        ("journalMode", found.journal_mode.as_str().into()),
        ("pageCount", found.page_count.into()),
        ("bytes", found.bytes.into()),
        ("walBytes", found.wal_bytes.into()),
    ]);
    Ok(Called { outputs, ..Called::default() })
}

async fn checkpoint(context: &HookContext, arguments: arguments::File) -> Result<Called> {
    let task = Task::Checkpoint(database(context, arguments.file)?);
    let found: Checkpointed = ask(context, &task, WORK).await?;
    let outputs = outputs([
        ("journalMode", found.journal_mode.as_str().into()),
        ("logFrames", found.logged.into()),
        ("checkpointedFrames", found.moved.into()),
    ]);
    Ok(Called { outputs, ..Called::default() })
}

async fn check(context: &HookContext, arguments: arguments::File) -> Result<Called> {
    let name = format!("integrity of {}", arguments.file.display());
    let problems: Vec<String> = ask(context, &Task::Check(copy(context, arguments.file)?), WORK).await?;
    let check = match problems.split_first() {
        None => Check {
            name,
            outcome: CheckOutcome::Passed,
            detail: "integrity_check found no problem".to_owned(),
        },
        Some((first, rest)) => Check {
            name,
            outcome: CheckOutcome::Failed,
            detail: if rest.is_empty() {
                first.clone()
            } else {
                format!("{first} (and {} more)", rest.len())
            },
        },
    };
    Ok(Called { checks: vec![check], ..Called::default() })
}

async fn compare_facts(context: &HookContext, arguments: arguments::CompareFacts) -> Result<Called> {
    let arguments::CompareFacts { file, facts } = arguments;
    let tables = facts::tables(&file, &facts);
    let mut found: Vec<Count> = Vec::new();
    // The names travel on a command line, whose length has a limit.
    for tables in tables.chunks(200) {
        let task = Task::Count(CountTask { copy: copy(context, file.clone())?, tables: tables.to_vec() });
        found.extend(ask::<Vec<Count>>(context, &task, WORK).await?);
    }
    Ok(Called { checks: facts::compare(&file, &facts, &found), ..Called::default() })
}

async fn query(context: &HookContext, arguments: arguments::Query) -> Result<Called> {
    let arguments::Query { file, sql, limit } = arguments;
    let task = Task::Query(QueryTask { copy: copy(context, file)?, sql, limit });
    let rows: Vec<Value> = ask(context, &task, WORK).await?;
    let value = rows
        .first()
        .and_then(Value::as_object)
        .and_then(|row| row.values().next())
        .cloned()
        .unwrap_or(Value::Null);
    Ok(Called { outputs: outputs([("rows", Value::Array(rows)), ("value", value)]), ..Called::default() })
}
