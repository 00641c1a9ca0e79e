//! The verb `compare-facts`: counts in a restored server, against what was counted at the cut.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
};
use tokio_postgres::types::Type;

use super::{
    canary,
    connect::{Purpose, Session, column},
    facts::SEQUENCE,
    settings::Target,
};
use crate::server::{
    compare::{Arguments, LONG, check},
    facts::ROWS,
    names,
};

/// Compares each fact that can be compared; the others are skipped with the reason.
pub(super) async fn compare(context: &HookContext, arguments: &Arguments) -> Result<Called> {
    let target = Target::of(context, &Purpose::Call).await?;
    let mut sessions = BTreeMap::new();
    let mut checks = Vec::new();
    for fact in &arguments.facts {
        if context.cancel.is_cancelled() {
            return Err(Error::cancelled("cancelled on comparing facts"));
        }
        checks.push(check(fact, ask(&target, &mut sessions, &fact.name)).await);
    }
    for session in sessions.into_values().flatten() {
        session.close().await;
    }
    Ok(Called { checks, ..Called::default() })
}

/// Sessions by database; a database that cannot be reached is remembered with the reason.
type Sessions = BTreeMap<String, std::result::Result<Session, String>>;

async fn ask(target: &Target, sessions: &mut Sessions, fact: &str) -> Result<Option<Value>> {
    let Some(question) = Question::of(fact) else { return Ok(None) };
    if !sessions.contains_key(&question.database) {
        let session = Session::to(&target.database(&question.database)).await.map_err(|error| error.chain());
        sessions.insert(question.database.clone(), session);
    }
    match sessions.get(&question.database) {
        Some(Ok(session)) => question.ask(session).await.map(Some),
        Some(Err(reason)) => Err(Error::failed(reason.as_str())),
        None => Ok(None),
    }
}

/// What to ask a database about a fact.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    database: String,
    sql: String,
    parameter: Option<String>,
}

impl Question {
    fn of(fact: &str) -> Option<Self> {
        if let Some(rest) = fact.strip_prefix(canary::CANARY) {
            let (database, run) = rest.rsplit_once(' ')?;
            let sql = format!("SELECT max(id) FROM {} WHERE run = $1", canary::TABLE);
            let database = names::parts(database, '"')?.into_iter().next()?;
            return Some(Self { database, sql, parameter: Some(run.into()) });
        }
        let rows = fact.strip_prefix(ROWS);
        let sequence = fact.strip_prefix(SEQUENCE);
        let parts = names::parts(rows.or(sequence)?, '"')?;
        let [database, schema, name] = <[String; 3]>::try_from(parts).ok()?;
        let relation = format!("{}.{}", names::quoted(&schema, '"'), names::quoted(&name, '"'));
        let sql = if rows.is_some() {
            format!("SELECT count(*) FROM ONLY {relation}")
        } else {
            format!("SELECT last_value FROM {relation}")
        };
        Some(Self { database, sql, parameter: None })
    }

    async fn ask(&self, session: &Session) -> Result<Value> {
        session.simple(super::connect::LOOKUP, "lift the time limit", "SET statement_timeout = 0").await?;
        let parameters: Vec<super::connect::Parameter<'_>> =
            self.parameter.iter().map(|value| (value as _, Type::TEXT)).collect();
        let row = session.one(LONG, "count what was restored", &self.sql, &parameters).await?;
        Ok(json!(column::<Option<i64>>(&row, 0)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_facts_name_is_read_back_as_the_server_quoted_it() {
        let question = Question::of(r#"rows app."My ""odd"" schema"."t.1""#).unwrap();
        assert_eq!(question.database, "app");
        assert_eq!(question.sql, r#"SELECT count(*) FROM ONLY "My ""odd"" schema"."t.1""#);
        assert_eq!(Question::of("rows of something else"), None);
        assert_eq!(Question::of("pages"), None);
    }

    #[test]
    fn a_canary_is_asked_for_by_its_run() {
        let question = Question::of(r#"canary "my db" 0193"#).unwrap();
        assert_eq!((question.database.as_str(), question.parameter.as_deref()), ("my db", Some("0193")));
    }
}
