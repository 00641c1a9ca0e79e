//! The hold of `backup-lock`: renewed, proven, and let go.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use standstill_core::{
    Result,
    hook::Receipt,
    point::{Evidence, Outputs},
};

use super::{backup_lock::Lock, position::Position};
use crate::{
    mysql_protocol::{
        connect::{Session, column},
        facts::{self, Snapshot},
        lease::Limits,
        observed::{Counting, Observed},
        server::Server,
        settings::Target,
    },
    server::{errors::lapsed, hold::Live},
};

/// A hold that is on, with everything that its release needs.
pub(super) struct BackupLock {
    pub session: Session,
    pub limits: Limits,
    pub server: Server,
    /// For the connection that facts are counted over.
    pub target: Target,
    pub lock: Lock,
    /// The logs when the lock was had.
    pub begin: Position,
    /// The same after the cut; without it the backup has failed, and nothing is gathered for it.
    pub end: Option<Position>,
    pub counting: Counting,
    pub observed: Observed,
}

#[async_trait]
impl Live for BackupLock {
    const WHAT: &'static str = "the lock for backups";

    fn place(&self) -> &str {
        self.session.place()
    }

    async fn renew(&self) -> Result<()> {
        self.observed.renew_with(&self.session, &self.limits, "renew the lock for backups").await
    }

    /// It is still the session that took the locks, and the server says that it has them.
    async fn prove(&mut self) -> Result<Evidence> {
        let (within, what) = (self.limits.answer(), Self::WHAT);
        let row = self.session.one(within, "prove the lock for backups", "SELECT CONNECTION_ID()").await?;
        if column::<u64>(&row, 0)? != self.session.id() {
            return Err(lapsed(format!("{what} was lost: the session is another one now")));
        }
        let locks = still_held(&self.session, self.lock, within).await?;
        let end = Position::of(&self.session, within).await?;
        let mut evidence = Evidence::of("connection", self.session.id())
            .and("lock", self.lock.name())
            .and("metadataLocks", locks)
            .and("server", self.server.version.full.as_str())
            .and("logsFrom", self.begin.shown())
            .and("logsTo", end.shown());
        if let Some(position) = self.observed.snapshot().and_then(Snapshot::position) {
            evidence = evidence.and("binlogOfFacts", position);
        }
        self.end = Some(end);
        Ok(evidence)
    }

    /// Unlocking succeeds whether or not anything was locked, so the locks are looked at once more before it.
    async fn finish(self: Box<Self>) -> Result<Receipt> {
        let Self { session, limits, target, lock, begin, end, counting, observed, .. } = *self;
        let within = limits.answer();
        let locks = still_held(&session, lock, within).await?;
        if lock == Lock::Global {
            session.run(within, "let go of the global read lock", "UNLOCK TABLES").await?;
        }
        session.run(within, "let go of the lock for backups", "UNLOCK INSTANCE").await?;
        let released = Instant::now();
        let still = lock == Lock::Global;
        let mut found = Vec::new();
        if let Some(end) = end {
            found.extend(facts::of_transactions(&begin.sequences(), &end.sequences(), still));
            found.extend(observed.facts(&target, counting, released, still).await);
        }
        session.close().await;
        let evidence = Evidence::of("released", locks);
        Ok(Receipt { evidence, outputs: Outputs::new(), facts: found, released, froze: None })
    }
}

/// The locks that the server says this session has, which must be all that it took.
async fn still_held(session: &Session, lock: Lock, within: Duration) -> Result<Vec<String>> {
    let sql = "SELECT DISTINCT OBJECT_TYPE FROM performance_schema.metadata_locks \
        WHERE OWNER_THREAD_ID = (SELECT THREAD_ID FROM performance_schema.threads WHERE PROCESSLIST_ID = CONNECTION_ID()) \
            AND OBJECT_TYPE IN ('BACKUP LOCK', 'COMMIT', 'GLOBAL') \
            AND LOCK_TYPE = 'SHARED' AND LOCK_DURATION = 'EXPLICIT' AND LOCK_STATUS = 'GRANTED' ORDER BY 1";
    let rows = session.rows(within, "see what is locked", sql, Vec::new()).await?;
    let held: Vec<String> = rows.iter().map(|row| column(row, 0)).collect::<Result<_>>()?;
    if held == lock.metadata_locks() {
        return Ok(held);
    }
    let (wanted, held) = (lock.metadata_locks().join(", "), held.join(", "));
    Err(lapsed(format!("the locks of this session were {wanted}, and are now: {held}")))
}
