//! The verbs that ask a server something: `accepting` and `query`.

use redis::Value as Sent;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use standstill_core::{
    Error, ErrorKind, Result,
    hook::{Called, HookContext},
    point::Outputs,
};

use super::{
    connect::{LOOKUP, Session},
    errors,
    server::Server,
    settings::Target,
};

/// What `query` is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct QueryArguments {
    /// One command that only reads, as a list: `[HGETALL, user:1]`.
    command: Vec<String>,
}

/// Whether the server takes commands.
///
/// # Errors
/// [`ErrorKind::Temporary`] until it has loaded its data.
pub(super) async fn accepting(context: &HookContext) -> Result<Called> {
    let waiting = |error: Error| error.of_kind(ErrorKind::Temporary);
    let session = Session::open(context).await.map_err(waiting)?;
    Server::of(&session, LOOKUP).await.map_err(waiting)?;
    Ok(Called::default())
}

/// Gives one command and returns its answer: `value` as it is, `rows` as a list.
///
/// # Errors
/// [`ErrorKind::Input`] when the command could change something.
pub(super) async fn query(context: &HookContext, arguments: &QueryArguments) -> Result<Called> {
    let target = Target::of(context).await?;
    let session = Session::to(&target).await?;
    let words: Vec<&str> = arguments.command.iter().map(String::as_str).collect();
    let Some(name) = words.first() else {
        return Err(Error::input("the query has no command").remedy("Give one as a list: [GET, key]."));
    };
    only_reads(&session, name).await?;
    if target.settings.db != 0 {
        let number = target.settings.db.to_string();
        let _ok: String = session.ask(LOOKUP, "choose the database (SELECT)", &["SELECT", &number]).await?;
    }
    let asked = session.command(LOOKUP * 6, "run the query", &words);
    let answer = tokio::select! {
        answer = asked => answer?.map_err(|cause| errors::answer(cause, "run the query", session.place()))?,
        () = context.cancel.cancelled() => return Err(Error::cancelled("cancelled on running the query")),
    };
    let value = shown(answer);
    let rows = if let Value::Array(rows) = &value { json!(rows) } else { json!([value]) };
    let outputs = Outputs::from([("rows".into(), rows), ("value".into(), value)]);
    Ok(Called { outputs, ..Called::default() })
}

/// The server knows of each command whether it may write.
async fn only_reads(session: &Session, name: &str) -> Result<()> {
    let attempt = "look at the command (COMMAND INFO)";
    let info: Sent = session.ask(LOOKUP, attempt, &["COMMAND", "INFO", name]).await?;
    if shown(info)
        .pointer("/0/2")
        .and_then(Value::as_array)
        .is_some_and(|flags| flags.contains(&json!("readonly")) && !flags.contains(&json!("write")))
    {
        return Ok(());
    }
    Err(Error::input(format!("{name} is not a command that only reads"))
        .remedy("Ask with one that does, such as GET, HGETALL, SCARD or DBSIZE."))
}

/// An answer as JSON; bytes that are no text are shown as far as they are.
fn shown(value: Sent) -> Value {
    let list = |values: Vec<Sent>| values.into_iter().map(shown).collect();
    let text = |value: Sent| match shown(value) {
        Value::String(text) => text,
        other => other.to_string(),
    };
    match value {
        Sent::Int(number) => json!(number),
        Sent::BulkString(bytes) => json!(String::from_utf8_lossy(&bytes)),
        Sent::SimpleString(text) | Sent::VerbatimString { text, .. } => json!(text),
        Sent::Okay => json!("OK"),
        Sent::Array(values) | Sent::Set(values) => list(values),
        Sent::Map(pairs) => {
            let pairs = pairs.into_iter().map(|(name, value)| (text(name), shown(value)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Sent::Double(number) => json!(number),
        Sent::Boolean(truth) => json!(truth),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_every_shape_become_json() {
        let answer = Sent::Array(vec![
            Sent::Int(1),
            Sent::BulkString(b"a".to_vec()),
            Sent::Nil,
            Sent::Map(vec![(Sent::SimpleString("k".into()), Sent::Okay)]),
        ]);
        assert_eq!(shown(answer), json!([1, "a", null, {"k": "OK"}]));
    }
}
