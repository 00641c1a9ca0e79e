//! Which kind of server a backup is taken from.

use schemars::JsonSchema;
use serde::Deserialize;
use standstill_core::{Error, Result};

/// Which kind of server is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Role {
    /// Either will do.
    #[default]
    Any,
    /// It follows no other server.
    Primary,
    /// It follows another server.
    Replica,
}

impl Role {
    /// What a server is called.
    pub const fn name(replica: bool) -> &'static str {
        if replica { "replica" } else { "primary" }
    }

    /// Refuses a server of another kind. `server` begins the sentence: `MariaDB at localhost:3306`.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when it is one.
    pub fn expect(self, replica: bool, server: &str) -> Result<()> {
        let wanted = match self {
            Self::Any => return Ok(()),
            Self::Primary => false,
            Self::Replica => true,
        };
        if wanted == replica {
            return Ok(());
        }
        let (found, wanted) = (Self::name(replica), Self::name(wanted));
        Err(Error::input(format!("{server} is a {found}, and a {wanted} was asked for"))
            .remedy(format!("Connect to the {wanted}, or ask for role `any`.")))
    }
}
