//! Statements that could be in a hold's way.

use std::time::Duration;

use standstill_core::Result;

use super::connect::{LOOKUP, Session, column};

/// A statement that runs, for a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Statement {
    /// The number of its connection.
    pub id: u64,
    user: String,
    seconds: f64,
    /// Its first word: the rest may be somebody's secret.
    word: String,
}

impl std::fmt::Display for Statement {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, user, seconds, word } = self;
        let article = if word.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
        write!(formatter, "{article} {word} of connection {id} ({user}) has been running for {seconds:.0} s")
    }
}

/// The oldest statement of others that is older than this: one that changes something, or any where `readers` are in
/// the way too. Without the privilege PROCESS only the user's own statements are seen.
pub(crate) async fn oldest(session: &Session, age: Duration, readers: bool) -> Result<Option<Statement>> {
    let sql = (session.dialect().busy)(readers);
    let limit = vec![age.as_secs_f64().into()];
    let rows = session.rows(LOOKUP, "look for long statements", &sql, limit).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Statement {
        id: column(row, 0)?,
        user: column(row, 1)?,
        seconds: column(row, 2)?,
        word: column::<Option<String>>(row, 3)?.unwrap_or_else(|| "statement".into()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_by_its_age_its_connection_and_its_user() {
        let statement =
            Statement { id: 7, user: "shop@10.0.0.1:4711".into(), seconds: 42.3, word: "UPDATE".into() };
        assert_eq!(
            statement.to_string(),
            "an UPDATE of connection 7 (shop@10.0.0.1:4711) has been running for 42 s"
        );
    }
}
