//! The runner's side of a hold that a holder keeps.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use standstill_core::{
    Error, ErrorKind, Result,
    hook::{Hold, Receipt},
    point::{Evidence, Fact, Outputs},
};

use super::{Link, holder::Order};
use crate::server::errors::{lapse, lapsed};

/// How long a holder may take to end by itself.
const END: Duration = Duration::from_secs(2);

/// What there is to know about such a hold beside its holder.
#[async_trait]
pub(crate) trait Known: Send {
    /// What the hold is called in messages.
    const WHAT: &'static str;
    /// What the holder says when it has let go.
    type Released: DeserializeOwned + Send;

    /// The server, for messages.
    fn place(&self) -> String;

    /// Proves, beside what the holder says, that nothing has happened that must not.
    ///
    /// # Errors
    /// Whatever keeps it from being proven.
    async fn prove(&mut self) -> Result<Evidence>;

    /// What the holder's last words prove, and the facts that go with them.
    ///
    /// # Errors
    /// When they show that nothing was held.
    fn released(&mut self, said: Self::Released) -> Result<(Evidence, Vec<Fact>)>;

    /// Sees to it that nothing is held where the holder is gone.
    ///
    /// # Errors
    /// When that is not known.
    async fn see(&mut self) -> Result<()>;
}

enum State {
    On(Link),
    /// The holder is gone; whether anything is held must be seen.
    Unknown,
    Done(Box<Receipt>),
    Lapsed,
}

/// The hold.
pub(crate) struct Kept<K: Known> {
    state: State,
    known: K,
    /// How long a renewal may take.
    patience: Duration,
    /// How long letting go may take.
    release_within: Duration,
}

impl<K: Known> Kept<K> {
    /// A hold that is on.
    pub fn on(link: Link, known: K, patience: Duration, release_within: Duration) -> Self {
        Self { state: State::On(link), known, patience, release_within }
    }

    /// Nothing that was captured may be trusted any more. The holder sees end of file, and lets go.
    fn lost(&mut self, error: Error) -> Error {
        let error = lapse(error, K::WHAT);
        self.state = State::Unknown;
        error
    }

    async fn tell(&mut self) {
        let State::On(link) = &mut self.state else { return };
        let said = link.request::<K::Released>(Order::<()>::Release, self.release_within).await;
        let released = Instant::now();
        let ended = link.close(END).await;
        match said.and_then(|said| self.known.released(said)) {
            Ok((evidence, facts)) => {
                if let Err(error) = ended {
                    tracing::warn!(error = error.chain(), "the holder of {} did not end in order", K::WHAT);
                }
                let receipt = Receipt { evidence, outputs: Outputs::new(), facts, released, froze: None };
                self.state = State::Done(Box::new(receipt));
            }
            Err(error) => {
                self.lost(error);
            }
        }
    }
}

#[async_trait]
impl<K: Known> Hold for Kept<K> {
    async fn renew(&mut self) -> Result<()> {
        let renewed = match &mut self.state {
            State::On(link) => link.request::<()>(Order::<()>::Renew, self.patience).await,
            State::Done(_) => return Ok(()),
            State::Unknown | State::Lapsed => return Err(lapsed(format!("{} lapsed", K::WHAT))),
        };
        renewed.map_err(|error| self.lost(error))
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        self.renew().await?;
        match &self.state {
            State::On(_) => self.known.prove().await.map_err(|error| lapse(error, K::WHAT)),
            _ => Err(lapsed(format!("{} was already let go", K::WHAT))),
        }
    }

    async fn release(&mut self) -> Result<Receipt> {
        self.tell().await;
        if matches!(self.state, State::Unknown) {
            self.known.see().await.map_err(|error| error.of_kind(ErrorKind::Failed))?;
            self.state = State::Lapsed;
        }
        match &self.state {
            State::Done(receipt) => Ok(receipt.as_ref().clone()),
            _ => Err(lapsed(format!("{} lapsed", K::WHAT))),
        }
    }
}

impl<K: Known> Drop for Kept<K> {
    fn drop(&mut self) {
        if matches!(self.state, State::On(_)) {
            tracing::error!(
                server = self.known.place(),
                "{} was dropped without a release; its holder lets go now",
                K::WHAT
            );
        }
    }
}
