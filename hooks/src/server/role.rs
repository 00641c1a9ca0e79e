//! Which kind of server a backup is taken from.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use standstill_core::{Error, Result};

/// The verb that is told which kind of server is asked for.
const READY: &str = "ready";

/// The role that a verb is told to ask for; none where the word is one of `any`, with which every server will do.
pub(crate) fn asked(verb: &str, arguments: &Value, any: &[&str]) -> Option<String> {
    let role = arguments.get("role").and_then(Value::as_str).filter(|_| verb == READY)?;
    (!any.contains(&role)).then(|| role.to_owned())
}

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_is_asked_for_by_ready_alone_and_by_no_word_that_means_any() {
        let with = |role: &str| json!({"role": role});
        assert_eq!(asked("ready", &with("primary"), &["any"]).as_deref(), Some("primary"));
        assert_eq!(asked("ready", &with("any"), &["any"]), None);
        assert_eq!(asked("ready", &json!({}), &["any"]), None);
        assert_eq!(asked("query", &with("primary"), &["any"]), None);
    }
}
