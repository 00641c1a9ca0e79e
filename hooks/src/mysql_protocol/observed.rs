//! What was counted around a hold, and the facts that come of it.

use std::time::{Duration, Instant};

use standstill_core::{Result, hook::HookContext, point::Fact};

use super::{
    connect::Session,
    facts::{self, Counts, Snapshot, Table},
    lease::Limits,
    settings::Target,
};
use crate::server::facts::Mode;

/// How facts are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counting {
    /// Not at all, between two counts, or exactly.
    pub mode: Mode,
    /// How many tables are counted, the largest first.
    pub tables: u32,
    /// How long each counting may take.
    pub within: Duration,
}

/// What was seen before the hold was acquired.
pub(crate) enum Before {
    /// Nothing is to be counted.
    Nothing,
    /// Counts, for bounded facts.
    Counts(Counts),
    /// The session and the tables for counting exactly, made ready before writes wait.
    Ready(Session, Vec<Table>),
}

impl Counting {
    /// Counts, or makes ready to count, over a session that is not the hold's.
    ///
    /// # Errors
    /// When the session is lost, or the run was cancelled.
    pub async fn before(self, context: &HookContext, session: Session) -> Result<Before> {
        match self.mode {
            Mode::None => {
                session.close().await;
                Ok(Before::Nothing)
            }
            Mode::Bounded => {
                let counting = Counts::of(&session, self.tables, self.within);
                let counts = session.cancellable(context, "count rows", counting).await?;
                session.close().await;
                Ok(Before::Counts(counts))
            }
            Mode::Exact => {
                let list = facts::list(&session, self.tables).await?;
                Ok(Before::Ready(session, list))
            }
        }
    }
}

impl Before {
    /// What goes on with the hold, now that it is on.
    ///
    /// # Errors
    /// When the snapshot for counting exactly cannot be opened.
    pub async fn held(self, limits: &Limits) -> Result<Observed> {
        Ok(match self {
            Self::Nothing => Observed::Nothing,
            Self::Counts(counts) => Observed::Counts(counts),
            Self::Ready(session, list) => Observed::Exact(Snapshot::open(session, list, limits).await?),
        })
    }
}

/// What was seen before and while the hold was acquired.
pub(crate) enum Observed {
    /// Nothing was counted.
    Nothing,
    /// Counts, for bounded facts.
    Counts(Counts),
    /// A transaction that sees what had been committed when commits were blocked.
    Exact(Snapshot),
}

impl Observed {
    /// The snapshot, if facts are exact.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            Self::Exact(snapshot) => Some(snapshot),
            Self::Nothing | Self::Counts(_) => None,
        }
    }

    /// Renews the hold's session and the snapshot's at once.
    ///
    /// # Errors
    /// When the hold's session is gone; the loss of the snapshot costs facts only, and is logged.
    pub async fn renew_with(&self, session: &Session, limits: &Limits, attempt: &str) -> Result<()> {
        let within = limits.answer();
        let exact = async {
            if let Some(exact) = self.snapshot() {
                exact.renew(within).await;
            }
        };
        tokio::join!(session.run(within, attempt, "DO 0"), exact).0
    }

    /// Counts after the release. A count that fails is no fault of the backup: it is missing among the facts, and
    /// logged. `froze`: writes waited, and the release of such a hold has a deadline of one lease.
    pub async fn facts(
        self,
        target: &Target,
        counting: Counting,
        released: Instant,
        froze: bool,
    ) -> Vec<Fact> {
        let within = if froze {
            counting.within.min(target.lease / 2).saturating_sub(released.elapsed())
        } else {
            counting.within
        };
        let counted = async {
            match self {
                Self::Nothing => Ok(Vec::new()),
                Self::Exact(snapshot) => snapshot.facts(within).await,
                Self::Counts(before) => {
                    let session = Session::to(target).await?;
                    let after = Counts::of(&session, counting.tables, within).await?;
                    session.close().await;
                    Ok(facts::between(before, after))
                }
            }
        };
        counted.await.unwrap_or_else(|error| {
            tracing::warn!(error = error.chain(), "rows could not be counted");
            vec![facts::uncounted(&error)]
        })
    }
}
