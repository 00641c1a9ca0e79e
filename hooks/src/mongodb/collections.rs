//! Databases and collections, and the verb `check-collections`.

use std::time::Duration;

use bson::{Document, RawDocumentBuf, doc};
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
    point::{Check, CheckOutcome},
};

use super::{
    errors::{self, code},
    session::{LOOKUP, Session},
};

/// How long a look at one collection may take; the step's own timeout is usually shorter.
const LONG: Duration = Duration::from_hours(24);

/// Databases of the server's own: `local` belongs to one server alone, `admin` and `config` to its users and clusters.
const OWN: &[&str] = &["admin", "config", "local"];

/// A cursor that is read to its end.
pub(super) async fn all(
    session: &Session,
    database: &str,
    attempt: &str,
    command: Document,
) -> Result<Vec<RawDocumentBuf>> {
    let strange = || errors::strange(attempt, session.place());
    let mut found = Vec::new();
    let mut answer = session.ask(database, LOOKUP, attempt, command).await?;
    let mut batch = "firstBatch";
    loop {
        let cursor = answer.get_document("cursor").map_err(|_| strange())?;
        for entry in cursor.get_array(batch).map_err(|_| strange())? {
            let entry = entry.ok().and_then(|entry| entry.as_document().map(ToOwned::to_owned));
            found.push(entry.ok_or_else(strange)?);
        }
        let id = cursor.get_i64("id").map_err(|_| strange())?;
        if id == 0 {
            return Ok(found);
        }
        let namespace = cursor.get_str("ns").map_err(|_| strange())?;
        let collection = namespace.split_once('.').map(|(_, name)| name.to_owned()).ok_or_else(strange)?;
        batch = "nextBatch";
        answer =
            session.ask(database, LOOKUP, attempt, doc! {"getMore": id, "collection": collection}).await?;
    }
}

/// The names of all databases but the server's own.
pub(super) async fn databases(session: &Session) -> Result<Vec<String>> {
    let attempt = "list the databases";
    let said = session.ask("admin", LOOKUP, attempt, doc! {"listDatabases": 1, "nameOnly": true}).await?;
    let strange = || errors::strange(attempt, session.place());
    let list = said.get_array("databases").map_err(|_| strange())?;
    let mut names = Vec::new();
    for entry in list {
        let entry = entry.map_err(|cause| strange().because(cause))?;
        let name = entry.as_document().and_then(|entry| entry.get_str("name").ok()).ok_or_else(strange)?;
        if !OWN.contains(&name) {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What `listCollections` says of each collection and view of a database that is not the server's own.
pub(super) async fn collections(session: &Session, database: &str) -> Result<Vec<RawDocumentBuf>> {
    let command = doc! {"listCollections": 1, "cursor": {}};
    let mut found = all(session, database, "list the collections", command).await?;
    found.retain(|entry| !entry.get_str("name").unwrap_or_default().starts_with("system."));
    found.sort_by(|one, other| one.get_str("name").ok().cmp(&other.get_str("name").ok()));
    Ok(found)
}

/// The verb `check-collections`: the server's own check of every collection and its indexes.
pub(super) async fn check(context: &HookContext) -> Result<Called> {
    let session = Session::open(context).await?;
    let mut checks = Vec::new();
    for database in databases(&session).await? {
        for entry in collections(&session, &database).await? {
            let name = entry
                .get_str("name")
                .map_err(|_| errors::strange("list the collections", session.place()))?;
            if entry.get_str("type").is_ok_and(|kind| kind == "view") {
                continue;
            }
            if context.cancel.is_cancelled() {
                return Err(Error::cancelled("cancelled on checking collections"));
            }
            checks.push(check_one(&session, &database, name).await?);
        }
    }
    Ok(Called { checks, ..Called::default() })
}

async fn check_one(session: &Session, database: &str, name: &str) -> Result<Check> {
    let attempt = "check a collection (validate)";
    let answered = session.command(database, LONG, attempt, doc! {"validate": name}).await?;
    let (outcome, detail) = match answered {
        Ok(said) if said.get_bool("valid").unwrap_or(false) => {
            let records = said.get_i64("nrecords").or_else(|_| said.get_i32("nrecords").map(i64::from));
            (CheckOutcome::Passed, format!("valid, with {} documents", records.unwrap_or_default()))
        }
        Ok(said) => {
            let first = said.get_array("errors").ok().and_then(|errors| {
                errors.into_iter().next().and_then(|error| Some(error.ok()?.as_str()?.to_owned()))
            });
            (CheckOutcome::Failed, first.unwrap_or_else(|| "it is not valid".into()))
        }
        Err(refusal) if refusal.code == code::NAMESPACE_NOT_FOUND => {
            (CheckOutcome::Skipped, "it is not there any more".into())
        }
        Err(refusal) => return Err(errors::refused(refusal, attempt, session.place(), session.user())),
    };
    Ok(Check { name: format!("{database}.{name}"), outcome, detail })
}
