//! The hold of `backup-stage`: renewed, proven, and let go.

use std::time::Instant;

use async_trait::async_trait;
use standstill_core::{
    Result,
    hook::Receipt,
    point::{Evidence, Outputs},
};

use super::{position::Position, stage::Stage};
use crate::{
    mysql_protocol::{
        connect::{Failure, Session, column},
        errors,
        facts::{self, Snapshot},
        lease::Limits,
        observed::{Counting, Observed},
        server::Server,
        settings::Target,
    },
    server::{errors::lapsed, hold::Live},
};

/// The server's number for a stage that is the same as the current one or before it.
const SAME_OR_BEFORE: u16 = 4147;

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
    pub counting: Counting,
    pub observed: Observed,
}

#[async_trait]
impl Live for BackupStage {
    const WHAT: &'static str = "the backup stage";

    fn place(&self) -> &str {
        self.session.place()
    }

    async fn renew(&self) -> Result<()> {
        self.observed.renew_with(&self.session, &self.limits, "renew the backup stage").await
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
        if let Some(position) = self.observed.snapshot().and_then(Snapshot::position) {
            evidence = evidence.and("binlogOfFacts", position);
        }
        self.end = Some(end);
        Ok(evidence)
    }

    /// Ending the stage proves once more that it was on.
    async fn finish(self: Box<Self>) -> Result<Receipt> {
        let Self { session, limits, target, stage, begin, end, counting, observed, .. } = *self;
        let attempt = "end the backup stage";
        match session.raw(limits.answer(), attempt, "BACKUP STAGE END", Vec::new()).await {
            Ok(_) => {}
            Err(Failure::Ours(error)) => return Err(error),
            Err(Failure::Theirs(error)) => return Err(errors::statement(error, attempt, &session)),
        }
        let released = Instant::now();
        let still = stage == Stage::BlockCommit;
        let mut found = Vec::new();
        if let Some(end) = end {
            found.extend(facts::of_transactions(&begin.sequences(), &end.sequences(), still));
            found.extend(observed.facts(&target, counting, released, still).await);
        }
        session.close().await;
        let evidence = Evidence::of("ended", "BACKUP STAGE END");
        Ok(Receipt { evidence, outputs: Outputs::new(), facts: found, released, froze: None })
    }
}
