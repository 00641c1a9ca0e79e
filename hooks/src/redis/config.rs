//! What `CONFIG GET` says.

use std::{collections::BTreeMap, path::PathBuf};

use standstill_core::{Error, Result, hook::HookContext};

use super::{
    connect::{LOOKUP, Session},
    errors,
};
use crate::server::volumes::{Volumes, real};

/// Settings of the server, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Config(BTreeMap<String, String>);

impl Config {
    /// Asks for settings by name; those that the server does not have are left out.
    pub async fn of(session: &Session, names: &[&str]) -> Result<Self> {
        let mut words = vec!["CONFIG", "GET"];
        words.extend(names);
        Ok(Self(session.ask(LOOKUP, "read the server's settings (CONFIG GET)", &words).await?))
    }

    /// A setting, if the server has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A setting.
    ///
    /// # Errors
    /// When the server has none of that name.
    pub fn needed(&self, name: &str, place: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| errors::strange(&format!("read the setting `{name}`"), place))
    }

    /// A setting that names a file or a directory inside the server's own directory.
    ///
    /// # Errors
    /// When it leads out of there, which the server itself would not take.
    pub fn name(&self, name: &str, place: &str) -> Result<&str> {
        let value = self.needed(name, place)?;
        if value.is_empty() || value.contains('/') || value == "." || value == ".." {
            return Err(errors::strange(&format!("read the setting `{name}` (`{value}`)"), place));
        }
        Ok(value)
    }

    /// The server's directory, which must be one of the volumes: what is restored from a part of one, or from more
    /// than one, would not be found by a server.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when it is none of them.
    pub fn directory(&self, context: &HookContext, covers: &[String], place: &str) -> Result<PathBuf> {
        let directory = PathBuf::from(self.needed("dir", place)?);
        let volumes = Volumes::of(context, covers)?;
        let is_one = |name| context.volumes.get(name).is_some_and(|path| real(path) == real(&directory));
        if !covers.is_empty() && !covers.iter().any(is_one) {
            return Err(Error::input(format!(
                "the server at {place} keeps its files in {}, and what is captured is {volumes}",
                directory.display()
            ))
            .remedy(format!("Set the volume's path to {}.", directory.display())));
        }
        Ok(directory)
    }
}
