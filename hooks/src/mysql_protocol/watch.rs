//! A watch over those who wait, while a backup program of the server's own holds it.
//!
//! `mariadb-backup` takes the backup stages by itself, with the server's own limit for locks, which is a day, and keeps
//! commits waiting for as long as its last output is not read. Nobody here holds that lock, but a hold that lapses ends
//! the program, and the server lets go with its session.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use standstill_core::{Error, Result};

use super::{
    busy,
    connect::{LOOKUP, Session, column},
    settings::Target,
};
use crate::server::driver::{AbortOnDrop, spawn};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(200);

/// The watch; it ends when this is dropped.
pub(crate) struct Watch {
    found: Arc<OnceLock<Error>>,
    _task: AbortOnDrop<()>,
}

impl Watch {
    /// Begins to look for statements that wait for the lock for backups for longer than `limit`.
    pub async fn begin(target: &Target, limit: Duration) -> Result<Self> {
        let session = Session::to(target).await?;
        let found = Arc::new(OnceLock::new());
        let finding = Arc::clone(&found);
        let watching = async move {
            let error = watch(&session, limit).await.unwrap_or_else(|error| error);
            tracing::error!("{}", error.chain());
            let _first = finding.set(error);
        };
        Ok(Self { found, _task: AbortOnDrop(spawn(watching)?) })
    }

    /// Fails as soon as somebody waited for too long, or could not be watched.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::HoldLapsed`].
    pub fn check(&self) -> Result<()> {
        let Some(error) = self.found.get() else { return Ok(()) };
        let lapsed = Error::lapsed(error.chain());
        Err(match error.remedy_text() {
            Some(remedy) => lapsed.remedy(remedy),
            None => lapsed,
        })
    }
}

/// Looks until there is something to say: that somebody waits, or (`Err`) that nothing can be seen any more.
async fn watch(session: &Session, limit: Duration) -> Result<Error> {
    // By connection. How long a statement runs says nothing of how long it has been waiting.
    let mut since: BTreeMap<u64, Instant> = BTreeMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let sql = session.dialect().waiting;
        let rows = session.rows(LOOKUP, "look for those who wait", sql, Vec::new()).await?;
        let now = Instant::now();
        let mut waiting = BTreeMap::new();
        for row in &rows {
            let id = column(row, 0)?;
            let first = since.get(&id).copied().unwrap_or(now);
            if now.duration_since(first) > limit {
                let (user, word) = (column::<String>(row, 1)?, column::<Option<String>>(row, 2)?);
                return Ok(too_long(session, &word.unwrap_or_default(), id, &user, limit).await);
            }
            waiting.insert(id, first);
        }
        since = waiting;
    }
}

async fn too_long(session: &Session, word: &str, id: u64, user: &str, limit: Duration) -> Error {
    let limit_shown = standstill_core::units::show_duration(limit);
    let message = format!(
        "a {word} of connection {id} ({user}) at {} waited for the backup for more than {limit_shown}",
        session.place()
    );
    match busy::oldest(session, limit, false).await {
        Ok(Some(oldest)) => Error::failed(format!("{message}: {oldest}"))
            .remedy(format!("Let that statement end, or end it: KILL QUERY {};", oldest.id)),
        _ => Error::failed(message)
            .remedy("Find out why the repository takes data so slowly, or let statements wait for longer."),
    }
}
