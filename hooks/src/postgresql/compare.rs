//! The verb `compare-facts`: counts in a restored server, against what was counted at the cut.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
    point::{Bound, Check, CheckOutcome, Fact},
};
use tokio_postgres::types::Type;

use super::{
    canary,
    connect::{Purpose, Session, column},
    facts::{ROWS, SEQUENCE},
    settings::Target,
};

/// How long one count may take; the step's own timeout is usually shorter.
const LONG: Duration = Duration::from_hours(1);

/// What `compare-facts` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The facts of the recovery point.
    facts: Vec<Fact>,
}

/// Compares each fact that can be compared; the others are skipped with the reason.
pub(super) async fn compare(context: &HookContext, arguments: &Arguments) -> Result<Called> {
    let target = Target::of(context, &Purpose::Call).await?;
    let mut sessions = BTreeMap::new();
    let mut checks = Vec::new();
    for fact in &arguments.facts {
        if context.cancel.is_cancelled() {
            return Err(Error::cancelled("cancelled on comparing facts"));
        }
        checks.push(check(&target, &mut sessions, fact).await);
    }
    for session in sessions.into_values().flatten() {
        session.close().await;
    }
    Ok(Called { checks, ..Called::default() })
}

/// Sessions by database; a database that cannot be reached is remembered with the reason.
type Sessions = BTreeMap<String, std::result::Result<Session, String>>;

async fn check(target: &Target, sessions: &mut Sessions, fact: &Fact) -> Check {
    let made = |outcome, detail: String| Check { name: fact.name.clone(), outcome, detail };
    if fact.bound == Bound::None {
        return made(CheckOutcome::Skipped, format!("kept for people, not compared: {}", fact.value));
    }
    let Some(question) = Question::of(&fact.name) else {
        return made(CheckOutcome::Skipped, "this hook does not know such a fact".into());
    };
    if !sessions.contains_key(&question.database) {
        let session = Session::to(&target.database(&question.database)).await.map_err(|error| error.chain());
        sessions.insert(question.database.clone(), session);
    }
    let found = match sessions.get(&question.database) {
        Some(Ok(session)) => question.ask(session).await,
        Some(Err(reason)) => return made(CheckOutcome::Failed, reason.clone()),
        None => return made(CheckOutcome::Skipped, "there is no session to ask".into()),
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => return made(CheckOutcome::Failed, error.chain()),
    };
    let expected = expectation(fact);
    match fact.agrees(&found) {
        Some(true) => made(CheckOutcome::Passed, format!("found {found}, expected {expected}")),
        Some(false) => made(CheckOutcome::Failed, format!("found {found}, expected {expected}")),
        None => {
            made(CheckOutcome::Skipped, format!("found {found}, which cannot be compared with {expected}"))
        }
    }
}

fn expectation(fact: &Fact) -> String {
    match &fact.bound {
        Bound::Exact => fact.value.to_string(),
        Bound::Bounded(other) => format!("between {} and {other}", fact.value),
        Bound::AtLeast => format!("at least {}", fact.value),
        Bound::None => "nothing".into(),
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
            let database = identifiers(database)?.into_iter().next()?;
            return Some(Self { database, sql, parameter: Some(run.into()) });
        }
        let rows = fact.strip_prefix(ROWS);
        let sequence = fact.strip_prefix(SEQUENCE);
        let parts = identifiers(rows.or(sequence)?)?;
        let [database, schema, name] = <[String; 3]>::try_from(parts).ok()?;
        let relation = format!("{}.{}", quote(&schema), quote(&name));
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

/// The parts of `a."B.c".d`, unquoted; `None` if it is not such a name.
fn identifiers(text: &str) -> Option<Vec<String>> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            _ => part.push(character),
        }
    }
    parts.push(part);
    (!quoted && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
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
