//! How the holds of both begin: what is seen on a session that holds nothing, and the session that will hold.

use std::time::Duration;

use serde_json::Value;
use standstill_core::{Error, Result, hook::HookContext};

use super::{
    acquire::{mark, write_back},
    connect::Session,
    dialect::Dialect,
    engines::Others,
    grants,
    lease::Limits,
    observed::{Before, Counting},
    ready::no_galera,
    server::Server,
    settings::Target,
    variables,
};
use crate::server::facts::Mode;

/// A server of which nothing is held yet.
pub(crate) struct Seen {
    target: Target,
    /// A session that will hold nothing.
    pub session: Session,
    server: Server,
    /// The tables that are not InnoDB's.
    pub others: Others,
}

impl Seen {
    /// Looks at the server.
    ///
    /// # Errors
    /// When it is one that cannot be held, or a right is missing.
    pub async fn at(dialect: &'static Dialect, context: &HookContext) -> Result<Self> {
        let target = Target::of(dialect, context).await?;
        let session = Session::to(&target).await?;
        let server = Server::of(&session).await?;
        no_galera(&session, &server)?;
        grants::check(&session, dialect.backup_grants).await?;
        let others = Others::of(&session).await?;
        Ok(Self { target, session, server, others })
    }

    /// Reads and counts what is read and counted before, and opens the session that will hold. Where writers will have
    /// to wait, what is dirty is written back first.
    ///
    /// # Errors
    /// When it is another server by now, the run was cancelled, or a session was lost.
    pub async fn open(
        self,
        context: &HookContext,
        verb: &str,
        counting: Counting,
        writers_wait: bool,
    ) -> Result<Opened> {
        let settings = variables::read(&self.session).await?;
        let before = counting.before(context, self.session).await?;
        let session = Session::to(&self.target).await?;
        let server = Server::of(&session).await?;
        self.server.expect_same(&server, session.place())?;
        let limits = Limits::of(context.lease);
        mark(&session, context, verb).await?;
        if writers_wait {
            session.awake(Duration::from_secs(limits.idle) / 2, write_back(server.data.clone())).await?;
        }
        Ok(Opened { target: self.target, session, server, limits, settings, before })
    }
}

/// A session that is about to hold a server.
pub(crate) struct Opened {
    pub target: Target,
    pub session: Session,
    pub server: Server,
    pub limits: Limits,
    /// The variables that the server's files cannot be read without.
    pub settings: Value,
    pub before: Before,
}

/// What is said when an author asked for less than is needed.
pub(crate) struct TooLittle {
    /// When facts are to be exact.
    pub for_facts: &'static str,
    /// When there are tables that are not InnoDB's.
    pub for_engines: &'static str,
    /// What may be asked for.
    pub remedy: &'static str,
}

/// Whether writers have to wait: where tables that are not InnoDB's or exact facts need it, or the author asked for it.
/// `asked` is `None` where that was left open.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when the author asked for less than is needed.
pub(crate) fn writers_wait(
    asked: Option<bool>,
    facts: Mode,
    others: &Others,
    too_little: &TooLittle,
) -> Result<bool> {
    let TooLittle { for_facts, for_engines, remedy } = too_little;
    let needed = facts == Mode::Exact || !others.are_none();
    match asked {
        Some(false) if facts == Mode::Exact => {
            Err(Error::input(*for_facts).remedy(format!("{remedy}, or for bounded facts.")))
        }
        Some(false) if needed => {
            Err(Error::input(format!("{for_engines}, and there are other tables: {}", others.describe()))
                .remedy(format!("{remedy}, or convert them.")))
        }
        asked => Ok(asked.unwrap_or(needed)),
    }
}

#[cfg(test)]
mod tests {
    use standstill_core::ErrorKind;

    use super::*;

    #[test]
    fn writers_wait_where_they_must_and_nowhere_else() {
        let too_little = TooLittle { for_facts: "facts", for_engines: "engines", remedy: "Ask for more" };
        let wait = |asked, facts| writers_wait(asked, facts, &Others::default(), &too_little);
        assert!(!wait(None, Mode::Bounded).unwrap());
        assert!(wait(None, Mode::Exact).unwrap());
        assert!(wait(Some(true), Mode::None).unwrap());
        let refused = wait(Some(false), Mode::Exact).unwrap_err();
        assert_eq!((refused.kind(), refused.to_string().as_str()), (ErrorKind::Input, "facts"));
    }
}
