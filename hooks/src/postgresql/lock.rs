//! The advisory lock that keeps runs on other hosts away from the same server.

use std::time::Duration;

use async_trait::async_trait;
use standstill_core::{Error, ErrorKind, Result, hook::HookContext, lock::LockGuard};

use super::{
    connect::{LOOKUP, Purpose, Session, column},
    settings::Target,
};
use crate::server::lock::{Watched, guard, idle};

/// The lock's two keys: "stnd" and "stil" in ASCII. They are the same in every version, for ever.
const KEYS: (i32, i32) = (0x7374_6e64, 0x7374_696c);

/// Advisory locks belong to one database, so all runs use the same one where they may: it is there on nearly
/// every server, whatever database a connection names.
const DATABASE: &str = "postgres";

#[async_trait]
impl Watched for Session {
    fn is_closed(&self) -> bool {
        self.is_closed()
    }

    async fn ask(&self, within: Duration) -> Result<()> {
        self.one(within, "keep the lock", "SELECT 1", &[]).await.map(drop)
    }
}

/// Takes the lock without waiting.
///
/// # Errors
/// [`standstill_core::ErrorKind::Locked`], naming the run that has it.
pub(super) async fn take(context: &HookContext) -> Result<Box<dyn LockGuard>> {
    let target = Target::of(context, &Purpose::Lock).await?;
    let session = match Session::to(&target.database(DATABASE)).await {
        Ok(session) => session,
        Err(error) if error.kind() == ErrorKind::Temporary => return Err(error),
        Err(error) => {
            let session = Session::to(&target).await?;
            tracing::debug!(error = error.chain(), "the lock is taken in the connection's own database");
            session
        }
    };
    let idle = idle(context.lease);
    let sql = "SELECT set_config('idle_session_timeout', $1, false), set_config('tcp_keepalives_idle', '10', false), \
        set_config('tcp_keepalives_interval', '3', false), set_config('tcp_keepalives_count', '3', false)";
    let limit = idle.as_millis().to_string();
    session
        .one(LOOKUP, "prepare the lock's session", sql, &[(&limit, tokio_postgres::types::Type::TEXT)])
        .await?;
    let sql = format!("SELECT pg_try_advisory_lock({}, {})", KEYS.0, KEYS.1);
    let taken = session.one(LOOKUP, "take the advisory lock", &sql, &[]).await?;
    if !column::<bool>(&taken, 0)? {
        return Err(taken_by_another(&session).await);
    }
    guard(session, context.lease)
}

async fn taken_by_another(session: &Session) -> Error {
    let sql = format!(
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
         WHERE l.locktype = 'advisory' AND l.granted AND l.classid = {}::oid AND l.objid = {}::oid AND l.objsubid = 2",
        KEYS.0, KEYS.1
    );
    let rows = session.rows(LOOKUP, "see who has the lock", &sql, &[]).await.unwrap_or_default();
    let holder = rows.first().and_then(|row| column::<String>(row, 0).ok()).unwrap_or_default();
    let run = holder.split_whitespace().nth(1).unwrap_or("another program");
    Error::new(ErrorKind::Locked, format!("run {run} is working on PostgreSQL at {}", session.place()))
        .remedy("Wait until it is done, or end it; its lock ends with it.")
}
