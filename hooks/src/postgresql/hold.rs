//! The hold of `backup-mode`: renewed, proven, and let go in two stages.
//!
//! Its connection runs the start, renewals, proofs, the stop and the reading of WAL, and nothing that may fail:
//! any SQL error on it would take its temporary slot away while `pg_backup_stop` would still succeed.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use standstill_core::{
    Error, Result,
    hook::{Hold, Receipt},
    point::{Evidence, Fact},
};
use tokio::task::JoinHandle;
use tokio_postgres::types::Type;

use super::{
    backup_mode::Arguments,
    connect::{Session, column, spawn},
    errors,
    facts::Counts,
    lease::Limits,
    release,
    server::Server,
    settings::Target,
    wal::Lsn,
};

/// What the hold is called in messages.
pub(super) const WHAT: &str = "backup mode";

/// What was seen before the hold was acquired.
#[derive(Default)]
pub(super) struct Observed {
    /// Counts, for bounded facts.
    pub before: Option<Counts>,
    /// The canary row.
    pub canary: Option<Fact>,
}

/// A hold that is on, with everything that its release needs.
pub(super) struct Live {
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
    /// Whether `confirm` succeeded; without it the backup has failed, and nothing is gathered for it.
    pub confirmed: bool,
}

impl Live {
    /// Keeps the session from being ended.
    pub async fn renew(&self) -> Result<()> {
        self.session.one(self.limits.answer(), "renew backup mode", "SELECT 1", &[]).await?;
        Ok(())
    }

    /// Proves that this is still the session, the server and the slot that the backup was started with.
    pub async fn prove(&self) -> Result<Evidence> {
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
        let lost = |why: String| Err(errors::lapsed(why));
        if backend != self.server.backend || started != self.server.started {
            return lost(format!("{WHAT} was lost: the session is another one now"));
        }
        if standby != self.server.standby || timeline != self.server.timeline {
            return lost(format!("{WHAT} was lost: the server was promoted, or changed its timeline"));
        }
        let Some(status) = status.filter(|_| slot_backend == Some(backend)) else {
            return lost(format!("the slot {} that keeps the WAL is gone", self.slot));
        };
        if status == "lost" {
            return lost(format!("the slot {} lost WAL that the backup needs", self.slot));
        }
        Ok(Evidence::of("backend", backend)
            .and("slot", self.slot.as_str())
            .and("walStatus", status)
            .and("walKeptFrom", kept)
            .and("startLsn", self.start.to_string())
            .and("timeline", timeline)
            .and("systemIdentifier", self.server.system.as_str())
            .and("serverStarted", started))
    }
}

enum State {
    On(Box<Live>),
    /// The release runs to its end even if nobody waits for it any more; asking again waits for the same one.
    Releasing(JoinHandle<Result<Receipt>>),
    Done(Box<Receipt>),
    Lapsed(String),
}

/// The hold.
pub(super) struct BackupMode {
    state: State,
}

impl BackupMode {
    /// A hold that was just acquired.
    pub fn on(live: Live) -> Self {
        Self { state: State::On(Box::new(live)) }
    }

    /// Remembers that the hold is no more. Its session is closed with it, so nothing stays held.
    fn lapse(&mut self, error: Error) -> Error {
        let error = errors::lapse(error, WHAT);
        self.state = State::Lapsed(error.chain());
        error
    }
}

#[async_trait]
impl Hold for BackupMode {
    async fn renew(&mut self) -> Result<()> {
        match &self.state {
            State::On(live) => match live.renew().await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.lapse(error)),
            },
            State::Releasing(_) | State::Done(_) => Ok(()),
            State::Lapsed(chain) => Err(errors::lapsed(chain.as_str())),
        }
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        match &mut self.state {
            State::On(live) => match live.prove().await {
                Ok(evidence) => {
                    live.confirmed = true;
                    Ok(evidence)
                }
                Err(error) => Err(self.lapse(error)),
            },
            State::Releasing(_) | State::Done(_) => Err(errors::lapsed("backup mode was already let go")),
            State::Lapsed(chain) => Err(errors::lapsed(chain.as_str())),
        }
    }

    async fn release(&mut self) -> Result<Receipt> {
        loop {
            match &mut self.state {
                State::Done(receipt) => return Ok((**receipt).clone()),
                State::Lapsed(chain) => return Err(errors::lapsed(chain.as_str())),
                State::Releasing(task) => match task.await {
                    Ok(Ok(receipt)) => self.state = State::Done(Box::new(receipt)),
                    Ok(Err(error)) => return Err(self.lapse(error)),
                    Err(cause) => {
                        return Err(self.lapse(Error::failed("the release broke off").because(cause)));
                    }
                },
                State::On(_) => {
                    let placeholder = State::Lapsed("the release did not start".into());
                    if let State::On(live) = std::mem::replace(&mut self.state, placeholder) {
                        self.state = State::Releasing(spawn(release::finish(live))?);
                    }
                }
            }
        }
    }
}

impl Drop for BackupMode {
    fn drop(&mut self) {
        if let State::On(live) = &self.state {
            tracing::error!(
                slot = live.slot,
                server = live.session.place(),
                "backup mode was dropped without a release; the server ends it with the session"
            );
        }
    }
}
