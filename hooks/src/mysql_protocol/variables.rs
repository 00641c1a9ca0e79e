//! The server's variables that its files cannot be read without.

use serde_json::{Map, Value, json};
use standstill_core::Result;

use super::connect::{LOOKUP, Session, column};

/// Reads them; those that this version does not have are left out.
pub(crate) async fn read(session: &Session) -> Result<Value> {
    let dialect = session.dialect();
    let list = dialect.recorded.iter().map(|name| format!("'{}'", name.to_uppercase())).collect::<Vec<_>>();
    let sql = format!(
        "SELECT LOWER(VARIABLE_NAME), VARIABLE_VALUE FROM {} WHERE UPPER(VARIABLE_NAME) IN ({}) ORDER BY 1",
        dialect.variables,
        list.join(", ")
    );
    let rows = session.rows(LOOKUP, "read the server's variables", &sql, Vec::new()).await?;
    let pairs =
        rows.iter().map(|row| Ok((column::<String>(row, 0)?, json!(column::<Option<String>>(row, 1)?))));
    Ok(Value::Object(pairs.collect::<Result<Map<_, _>>>()?))
}
