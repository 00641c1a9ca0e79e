//! Letting go by the keeper, or from here when it is gone.

use std::time::Instant;

use standstill_core::{Error, Result, runtime::KeeperProgram};

use super::{END, KeptInTarget, MARGIN, regex};
use crate::container::{connection::Heard, dispose::dispose};

impl KeptInTarget {
    /// Tells the keeper to let go; its exit status.
    pub(super) async fn tell(&mut self) -> Result<i32> {
        // A session may end its client first and then tell a new one.
        let within = self.timeout.saturating_mul(2) + MARGIN;
        match &self.program {
            KeeperProgram::Pair { release, .. } => {
                let program = release.program().to_owned();
                let id = self.numbered("release").await?.to_string();
                let status = self.wait("letting go", within, true, |seen| seen.done(&id)).await?;
                if status != 0 {
                    let words = self.words();
                    return Err(Error::failed(format!("{program} ended with exit status {status}{words}")));
                }
                Ok(status)
            }
            KeeperProgram::Session { release_until, survives_client, .. } => {
                let (until, survives) = (release_until.clone(), *survives_client);
                if self.seen.is_over() {
                    return Err(self.ended());
                }
                // What was said before says nothing of this.
                self.seen.lines.clear();
                self.order("release").await?;
                let status = self.wait("letting go", within, true, |seen| seen.done("release")).await?;
                match until {
                    Some(pattern) if !self.has_said(&pattern)? => self.release_again(survives).await?,
                    _ => {}
                }
                Ok(status)
            }
        }
    }

    /// Whether the client has said a line that matches.
    fn has_said(&self, pattern: &str) -> Result<bool> {
        let expression = regex(pattern)?;
        Ok(self.seen.lines.iter().any(|line| expression.is_match(line)))
    }

    /// The client ended without saying that it has let go.
    async fn release_again(&mut self, survives_client: bool) -> Result<()> {
        if survives_client {
            tracing::warn!(
                step = self.record.name,
                "the client did not say that it let go: a new one is told"
            );
            return dispose(&self.cluster, &self.record, &self.secrets).await.map(drop);
        }
        // It went with its client, but nothing shows that it had been on until then.
        let name = &self.record.name;
        Err(Error::lapsed(format!(
            "the client of {name} ended without saying that it let go{}",
            self.seen.words()
        )))
    }

    /// Waits a moment for the shell to end, so that no process of it is left in the container.
    pub(super) async fn finish(&mut self) {
        let _ = self.order("end").await;
        let deadline = Instant::now() + END;
        while let Some(connection) = &mut self.connection {
            let left = deadline.saturating_duration_since(Instant::now());
            if let None | Some(Heard::Ended(_) | Heard::Lost(_)) = connection.hear(left).await {
                self.connection = None;
            }
        }
    }

    /// The keeper is gone, for this reason: nothing is held any more, or it is let go from here.
    pub(super) async fn release_without_keeper(&mut self, why: Error) -> Error {
        self.connection = None;
        match dispose(&self.cluster, &self.record, &self.secrets).await {
            Ok(_) => {
                self.lapsed = Some(why.to_string());
                why
            }
            Err(error) => error,
        }
    }
}
