//! A hold that lives in one session: on, being let go, let go, or lapsed.

use async_trait::async_trait;
use standstill_core::{
    Error, Result,
    hook::{Hold, Receipt},
    point::Evidence,
};
use tokio::task::JoinHandle;

use super::{
    driver::spawn,
    errors::{lapse, lapsed},
};

/// What is on, with everything that its release needs. Dropping it closes its session, and with it nothing stays
/// held.
#[async_trait]
pub(crate) trait Live: Send + Sync + 'static {
    /// What it is called in messages.
    const WHAT: &'static str;

    /// The server, for messages.
    fn place(&self) -> &str;

    /// Keeps the session from being ended.
    async fn renew(&self) -> Result<()>;

    /// Proves that this is still what was acquired, where it was acquired.
    async fn prove(&mut self) -> Result<Evidence>;

    /// Lets go and gathers what the release has to tell. It runs on the sessions' own thread, to its end even if
    /// nobody waits for it any more. After an error nothing is held, and the backup has failed.
    async fn finish(self: Box<Self>) -> Result<Receipt>;
}

enum State<L> {
    On(Box<L>),
    /// Asking again waits for the same release.
    Releasing(JoinHandle<Result<Receipt>>),
    Done(Box<Receipt>),
    Lapsed(String),
}

/// The hold.
pub(crate) struct SessionHold<L: Live> {
    state: State<L>,
    blocks_writes: Option<bool>,
}

impl<L: Live> SessionHold<L> {
    /// A hold that was just acquired. `blocks_writes` is what it turned out to be where its arguments left that
    /// open.
    pub fn on(live: L, blocks_writes: Option<bool>) -> Self {
        Self { state: State::On(Box::new(live)), blocks_writes }
    }

    /// Remembers that the hold is no more. Its session is closed with it, so nothing stays held.
    fn lapse(&mut self, error: Error) -> Error {
        let error = lapse(error, L::WHAT);
        self.state = State::Lapsed(error.chain());
        error
    }
}

#[async_trait]
impl<L: Live> Hold for SessionHold<L> {
    fn blocks_writes(&self) -> Option<bool> {
        self.blocks_writes
    }

    async fn renew(&mut self) -> Result<()> {
        match &self.state {
            State::On(live) => match live.renew().await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.lapse(error)),
            },
            State::Releasing(_) | State::Done(_) => Ok(()),
            State::Lapsed(chain) => Err(lapsed(chain.as_str())),
        }
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        match &mut self.state {
            State::On(live) => match live.prove().await {
                Ok(evidence) => Ok(evidence),
                Err(error) => Err(self.lapse(error)),
            },
            State::Releasing(_) | State::Done(_) => Err(lapsed(format!("{} was already let go", L::WHAT))),
            State::Lapsed(chain) => Err(lapsed(chain.as_str())),
        }
    }

    async fn release(&mut self) -> Result<Receipt> {
        loop {
            match &mut self.state {
                State::Done(receipt) => return Ok((**receipt).clone()),
                State::Lapsed(chain) => return Err(lapsed(chain.as_str())),
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
                        self.state = State::Releasing(spawn(live.finish())?);
                    }
                }
            }
        }
    }
}

impl<L: Live> Drop for SessionHold<L> {
    fn drop(&mut self) {
        if let State::On(live) = &self.state {
            tracing::error!(
                server = live.place(),
                "{} was dropped without a release; the server ends it with the session",
                L::WHAT
            );
        }
    }
}
