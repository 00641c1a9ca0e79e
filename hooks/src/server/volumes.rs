//! The volumes that a verb's `covers` names, and whether they hold what a server keeps.

use std::path::{Path, PathBuf};

use standstill_core::{Error, Result, hook::HookContext};

/// Volumes by name, with their paths free of links where they can be seen from here.
pub(crate) struct Volumes<'names>(Vec<(&'names str, PathBuf)>);

impl<'names> Volumes<'names> {
    /// Looks them up.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when the action has none of such a name.
    pub fn of(context: &HookContext, covers: &'names [String]) -> Result<Self> {
        let each = covers.iter().map(|name| {
            let path = context.volumes.get(name).ok_or_else(|| {
                Error::input(format!("`covers` names volume {name}, which this action does not have"))
                    .remedy("Name volumes that the blueprint declares.")
            })?;
            Ok((name.as_str(), real(path)))
        });
        Ok(Self(each.collect::<Result<_>>()?))
    }

    /// Whether a place lies in one of them.
    pub fn hold(&self, path: &Path) -> bool {
        let path = real(path);
        self.0.iter().any(|(_, volume)| path.starts_with(volume))
    }
}

impl std::fmt::Display for Volumes<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (name, path)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(formatter, "{comma}{name} ({})", path.display())?;
        }
        Ok(())
    }
}

/// The path without links, where it can be seen from here.
pub(crate) fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.components().collect())
}
