//! Secrets as a type: no `Display`, no `Serialize`, a redacted `Debug`, wiped on drop.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{Error, Result};

/// A secret value. It can only be read by [`Secret::expose`], whose call sites are few and easy to review.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value itself: only for handing to the server, the process or the file that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(***)")
    }
}

/// Where a secret's value comes from. This, never the value, is what the journal and the plan hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretReference {
    /// An environment variable of the runner.
    Env(String),
    /// A file; one trailing line break is not part of the value.
    File(PathBuf),
    /// A key of a Kubernetes Secret in the target's namespace.
    Secret {
        /// The Secret's name.
        name: String,
        /// The key in its data.
        key: String,
    },
}

/// Where secret values come from.
pub trait SecretSource: Send + Sync {
    /// Reads the value that a reference points to.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] when there is no such variable, file or key.
    fn read(&self, reference: &SecretReference) -> Result<Secret>;
}

/// Secrets from this process' environment and from files.
#[derive(Debug, Default, Clone, Copy)]
pub struct ProcessSecrets;

impl SecretSource for ProcessSecrets {
    fn read(&self, reference: &SecretReference) -> Result<Secret> {
        match reference {
            SecretReference::Env(name) => std::env::var(name).map(Secret::new).map_err(|cause| {
                Error::input(format!("the environment variable {name}, which holds a secret, cannot be read"))
                    .remedy(format!("Set {name}, or name another source for the secret."))
                    .because(cause)
            }),
            SecretReference::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|cause| {
                    Error::input(format!("the secret file {} cannot be read", path.display()))
                        .remedy("Check the path and that this user may read it.")
                        .because(cause)
                })?;
                let text = Zeroizing::new(text);
                Ok(Secret::new(text.strip_suffix('\n').unwrap_or(&text)))
            }
            SecretReference::Secret { name, key } => {
                Err(Error::input(format!("the secret {name}/{key} can only be read on Kubernetes"))
                    .remedy("Use {env: NAME} or {file: PATH} when running on this machine."))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_the_value() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(***)");
    }

    #[test]
    fn one_trailing_line_break_of_a_file_is_not_part_of_the_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "pass word\n\n").unwrap();
        let secret = ProcessSecrets.read(&SecretReference::File(file.path().into())).unwrap();
        assert_eq!(secret.expose(), "pass word\n");
    }
}
