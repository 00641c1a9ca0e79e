//! Whether commands can be run and watched in a container: asked before anything is held.

use std::time::Duration;

use standstill_core::{Error, Result};

use super::{Container, script::Builder};

/// How long the answer may take.
const ANSWER: Duration = Duration::from_secs(30);

impl Container {
    /// Checks that the container has what a keeper needs.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when it has no shell, or not what the shell needs.
    pub(crate) async fn check(&self) -> Result<()> {
        // The session is this command's own, and a second has a name everywhere.
        let question = "ss_session_of \"$$\" && [ \"$ss_session\" = \"$$\" ] && sleep 0";
        let script = Builder::new("standstill-check", []).function("ss_command", question)?.exec();
        let output = self.run("a question", &script, ANSWER).await?;
        if output.exit.is_success() {
            return Ok(());
        }
        Err(Error::input(format!(
            "commands cannot be watched in {} ({}): {}",
            self.show(),
            output.exit,
            output.stderr.trim()
        ))
        .remedy(
            "They need a POSIX shell, `sleep` and /proc there; or have the blueprint run them beside the target by \
             `in: runner`.",
        ))
    }
}
