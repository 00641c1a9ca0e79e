//! The hold of `backup-stage`: renewed, proven, and let go.

use std::time::{Duration, Instant};

use super::{
    connect::{Failure, Session, column},
    errors,
    facts::{self, Counts, Snapshot},
    lease::Limits,
    position::Position,
    server::Server,
    settings::Target,
    stage::{Arguments, Stage},
};
use crate::server::{errors::lapsed, hold::Live};
use async_trait::async_trait;
use standstill_core::{
    Result,
    hook::Receipt,
    point::{Evidence, Outputs},
};

/// The server's number for a stage that is the same as the current one or before it.
const SAME_OR_BEFORE: u16 = 4147;

/// What was seen before or while the hold was acquired.
#[derive(Default)]
pub(super) struct Observed {
    /// Counts, for bounded facts.
    pub before: Option<Counts>,
    /// A transaction that sees what had been committed when commits were blocked.
    pub exact: Option<Snapshot>,
}

/// A hold that is on, with everything that its release needs.
pub(super) struct BackupStage {
    pub session: Session,
    pub limits: Limits,
    pub server: Server,
    /// For the connection that facts are counted over.
    pub target: Target,
    pub stage: Stage,
    /// The binary log when the stage was reached.
    pub begin: Position,
    /// The same after the cut; without it the backup has failed, and nothing is gathered for it.
    pub end: Option<Position>,
    pub arguments: Arguments,
    pub within: Duration,
    pub observed: Observed,
}

#[async_trait]
impl Live for BackupStage {
    const WHAT: &'static str = "the backup stage";

    fn place(&self) -> &str {
        self.session.place()
    }

    async fn renew(&self) -> Result<()> {
        let renewed = self.session.run(self.limits.answer(), "renew the backup stage", "DO 0");
        let exact = async {
            if let Some(exact) = &self.observed.exact {
                exact.renew(self.limits.answer()).await;
            }
        };
        tokio::join!(renewed, exact).0
    }

    /// Proves that this is still the session that the stages were gone up on, and where it stands: the server
    /// refuses a stage that is not above the current one, and names the current one. Nothing changes by that.
    async fn prove(&mut self) -> Result<Evidence> {
        let (within, what) = (self.limits.answer(), Self::WHAT);
        let row = self.session.one(within, "prove the backup stage", "SELECT CONNECTION_ID()").await?;
        if column::<u64>(&row, 0)? != self.session.id() {
            return Err(lapsed(format!("{what} was lost: the session is another one now")));
        }
        let answer =
            self.session.raw(within, "prove the backup stage", "BACKUP STAGE START", Vec::new()).await;
        let said = match answer {
            Err(Failure::Theirs(mysql_async::Error::Server(error))) if error.code == SAME_OR_BEFORE => {
                error.message
            }
            Err(Failure::Ours(error)) => return Err(error),
            _ => return Err(lapsed(format!("{what} was lost: the server knows of none"))),
        };
        if !said.ends_with(&format!("'{}'", self.stage.name())) {
            return Err(lapsed(format!("{what} is another one than before: {said}")));
        }
        let end = Position::of(&self.session, within).await?;
        let mut evidence = Evidence::of("connection", self.session.id())
            .and("stage", self.stage.name())
            .and("server", self.server.version.full.as_str())
            .and("binlogFrom", self.begin.shown())
            .and("binlogTo", end.shown());
        if let Some(position) = self.observed.exact.as_ref().and_then(Snapshot::position) {
            evidence = evidence.and("binlogOfFacts", position);
        }
        self.end = Some(end);
        Ok(evidence)
    }

    /// Ends the stage, which proves once more that it was on, then gathers the facts.
    async fn finish(mut self: Box<Self>) -> Result<Receipt> {
        let ending =
            self.session.raw(self.limits.answer(), "end the backup stage", "BACKUP STAGE END", Vec::new());
        match ending.await {
            Ok(_) => {}
            Err(Failure::Ours(error)) => return Err(error),
            Err(Failure::Theirs(error)) => {
                return Err(errors::statement(error, "end the backup stage", self.session.place()));
            }
        }
        let released = Instant::now();
        let exact = self.observed.exact.take();
        let before = self.observed.before.take();
        let found = match &self.end {
            Some(end) => {
                let mut found = facts::of_position(&self.begin, end, self.stage);
                found.extend(self.counted(exact, before, released).await);
                found
            }
            None => Vec::new(),
        };
        let place = self.session.place().to_owned();
        self.session.close().await;
        tracing::debug!(place, "the backup stage was ended");
        let evidence = Evidence::of("ended", "BACKUP STAGE END");
        Ok(Receipt { evidence, outputs: Outputs::new(), facts: found, released, froze: None })
    }
}

impl BackupStage {
    /// Counts. A count that fails is no fault of the backup: it is missing among the facts, and logged.
    async fn counted(
        &self,
        exact: Option<Snapshot>,
        before: Option<Counts>,
        released: Instant,
    ) -> Vec<standstill_core::point::Fact> {
        // The release of a hold that blocks writes has a deadline of one lease.
        let within = match self.stage {
            Stage::BlockDdl => self.within,
            Stage::BlockCommit => self.within.min(self.target.lease / 2).saturating_sub(released.elapsed()),
        };
        let counting = async {
            match (exact, before) {
                (Some(exact), _) => exact.facts(within).await,
                (None, Some(before)) => {
                    let session = Session::to(&self.target).await?;
                    let after = Counts::of(&session, self.arguments.tables, within).await?;
                    session.close().await;
                    Ok(facts::between(before, after))
                }
                (None, None) => Ok(Vec::new()),
            }
        };
        match counting.await {
            Ok(facts) => facts,
            Err(error) => {
                tracing::warn!(error = error.chain(), "rows could not be counted");
                vec![facts::uncounted(&error)]
            }
        }
    }
}
