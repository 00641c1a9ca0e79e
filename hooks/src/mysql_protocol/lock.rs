//! The advisory lock that keeps runs on other hosts away from the same server.

use std::time::Duration;

use async_trait::async_trait;
use standstill_core::{Error, ErrorKind, Result, hook::HookContext, lock::LockGuard};

use super::{
    connect::{LOOKUP, Session, column},
    dialect::Dialect,
};
use crate::server::lock::{Watched, guard, idle};

/// The lock's name: the same in every version, for ever.
const NAME: &str = "standstill";

#[async_trait]
impl Watched for Session {
    fn is_closed(&self) -> bool {
        self.is_closed()
    }

    async fn ask(&self, within: Duration) -> Result<()> {
        self.run(within, "keep the lock", "DO 0").await
    }
}

/// Takes the lock without waiting.
///
/// # Errors
/// [`standstill_core::ErrorKind::Locked`] when another run has it.
pub(crate) async fn take(dialect: &'static Dialect, context: &HookContext) -> Result<Box<dyn LockGuard>> {
    let session = Session::open(dialect, context).await?;
    let idle = idle(context.lease);
    let sql = format!("SET SESSION wait_timeout = {0}, interactive_timeout = {0}", idle.as_secs());
    session.run(LOOKUP, "prepare the lock's session", &sql).await?;
    let sql = format!("SELECT GET_LOCK('{NAME}', 0)");
    let taken = session.one(LOOKUP, "take the advisory lock", &sql).await?;
    if column::<Option<u8>>(&taken, 0)? != Some(1) {
        return Err(taken_by_another(&session).await);
    }
    guard(session, context.lease)
}

/// Who has the lock, as far as the user may see other sessions.
async fn taken_by_another(session: &Session) -> Error {
    let sql = format!(
        "SELECT ID, CONCAT(USER, '@', HOST) FROM information_schema.PROCESSLIST WHERE ID = IS_USED_LOCK('{NAME}')"
    );
    let rows = session.rows(LOOKUP, "see who has the lock", &sql, Vec::new()).await.unwrap_or_default();
    let holder = rows.first().and_then(|row| {
        let (id, user): (u64, String) = (column(row, 0).ok()?, column(row, 1).ok()?);
        Some(format!(" (connection {id} of {user})"))
    });
    let holder = holder.unwrap_or_default();
    let (product, place) = (session.dialect().product, session.place());
    Error::new(ErrorKind::Locked, format!("another run{holder} is working on {product} at {place}"))
        .remedy("Wait until it is done, or end it; its lock ends with it.")
}
