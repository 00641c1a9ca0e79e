//! The hold of `backup-mode`: renewed, proven, and let go in two stages.
//!
//! Its connection runs the start, renewals, proofs, the stop and the reading of WAL, and nothing that may fail:
//! any SQL error on it would take its temporary slot away while `pg_backup_stop` would still succeed.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use standstill_core::{
    Result,
    hook::Receipt,
    point::{Evidence, Fact},
};
use tokio_postgres::types::Type;

use super::{
    backup_mode::Arguments,
    connect::{Session, column},
    facts::Counts,
    lease::Limits,
    release,
    server::Server,
    settings::Target,
    wal::Lsn,
};
use crate::server::{errors::lapsed, hold::Live};

/// What was seen before the hold was acquired.
#[derive(Default)]
pub(super) struct Observed {
    /// Counts, for bounded facts.
    pub before: Option<Counts>,
    /// The canary row.
    pub canary: Option<Fact>,
}

/// A hold that is on, with everything that its release needs.
pub(super) struct BackupMode {
    pub session: Session,
    pub limits: Limits,
    pub server: Server,
    /// For the other connections that facts are counted over.
    pub target: Target,
    pub slot: String,
    pub start: Lsn,
    pub scratch: PathBuf,
    pub arguments: Arguments,
    pub within: Duration,
    pub observed: Observed,
    /// Whether it was proven; without it the backup has failed, and nothing is gathered for it.
    pub confirmed: bool,
}

#[async_trait]
impl Live for BackupMode {
    const WHAT: &'static str = "backup mode";

    fn place(&self) -> &str {
        self.session.place()
    }

    async fn renew(&self) -> Result<()> {
        self.session.one(self.limits.answer(), "renew backup mode", "SELECT 1", &[]).await?;
        Ok(())
    }

    /// It is still the session, the server and the slot that the backup was started with.
    async fn prove(&mut self) -> Result<Evidence> {
        let sql = "SELECT pg_backend_pid(), s.active_pid, s.wal_status, s.restart_lsn::text, pg_is_in_recovery(), \
            to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
            (SELECT timeline_id::int8 FROM pg_control_checkpoint()) \
            FROM (SELECT 1) AS one LEFT JOIN pg_replication_slots s ON s.slot_name = $1";
        let row = self
            .session
            .one(self.limits.answer(), "prove backup mode", sql, &[(&self.slot, Type::TEXT)])
            .await?;
        let backend: i32 = column(&row, 0)?;
        let slot_backend: Option<i32> = column(&row, 1)?;
        let status: Option<String> = column(&row, 2)?;
        let kept: Option<String> = column(&row, 3)?;
        let standby: bool = column(&row, 4)?;
        let started: String = column(&row, 5)?;
        let timeline: i64 = column(&row, 6)?;
        let what = Self::WHAT;
        let lost = |why: String| Err(lapsed(why));
        if backend != self.server.backend || started != self.server.started {
            return lost(format!("{what} was lost: the session is another one now"));
        }
        if standby != self.server.standby || timeline != self.server.timeline {
            return lost(format!("{what} was lost: the server was promoted, or changed its timeline"));
        }
        let Some(status) = status.filter(|_| slot_backend == Some(backend)) else {
            return lost(format!("the slot {} that keeps the WAL is gone", self.slot));
        };
        if status == "lost" {
            return lost(format!("the slot {} lost WAL that the backup needs", self.slot));
        }
        self.confirmed = true;
        Ok(Evidence::of("backend", backend)
            .and("slot", self.slot.as_str())
            .and("walStatus", status)
            .and("walKeptFrom", kept)
            .and("startLsn", self.start.to_string())
            .and("timeline", timeline)
            .and("systemIdentifier", self.server.system.as_str())
            .and("serverStarted", started))
    }

    async fn finish(self: Box<Self>) -> Result<Receipt> {
        release::finish(self).await
    }
}
