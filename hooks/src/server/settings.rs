//! What the settings of all servers' connections have in common.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use standstill_core::{
    Error, Result,
    hook::{Connection, HookContext},
    secret::Secret,
};

use super::describe::schema;

/// Where to connect, as whom, and how.
#[derive(Debug, Clone)]
pub(crate) struct Target<S, D = (String, u16)> {
    /// The settings; for a service its address has taken the place of the blueprint's.
    pub settings: S,
    /// The user's password.
    pub password: Option<Secret>,
    /// The address to dial. `None`, where that is possible, is the host itself, or a socket.
    pub dialled: D,
}

/// A [`Target`] on its way to a helper: through its standard input, which nobody else reads.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Opening<S, D = (String, u16)> {
    settings: S,
    password: Option<String>,
    dialled: D,
}

impl<S: Clone, D: Clone> Opening<S, D> {
    pub fn of(target: &Target<S, D>) -> Self {
        let Target { settings, password, dialled } = target.clone();
        Self { settings, password: password.map(|password| password.expose().to_owned()), dialled }
    }

    pub fn target(self) -> Target<S, D> {
        let Self { settings, password, dialled } = self;
        Target { settings, password: password.map(Secret::new), dialled }
    }
}

/// The host where none is given.
pub(crate) fn local() -> String {
    "localhost".into()
}

/// Reads the settings of a hook's connection.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when they do not fit: all that there are, are named.
pub(crate) fn read<S: DeserializeOwned + JsonSchema>(hook: &str, connection: &Connection) -> Result<S> {
    serde_json::from_value(Value::Object(connection.settings.clone())).map_err(|cause| {
        let schema = schema::<S>();
        let names = schema["properties"].as_object().into_iter().flat_map(|known| known.keys());
        let names: Vec<&str> = names.map(String::as_str).chain(["password"]).collect();
        Error::input(format!("the settings of connection `{}` do not fit", connection.name))
            .remedy(format!("Compare them with the settings of the {hook} hook: {}.", names.join(", ")))
            .because(cause)
    })
}

/// Takes empty paths away: they are optional parameters that were left out.
pub(crate) fn only_given<'path>(paths: impl IntoIterator<Item = &'path mut Option<PathBuf>>) {
    for path in paths {
        path.take_if(|path| path.as_os_str().is_empty());
    }
}

/// Refuses an empty host.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`], with what is to be given in its place as the remedy.
pub(crate) fn some_host(host: &str, connection: &Connection, remedy: &str) -> Result<()> {
    if host.is_empty() {
        return Err(
            Error::input(format!("connection `{}` has an empty host", connection.name)).remedy(remedy)
        );
    }
    Ok(())
}

/// Where a server that has a Unix socket too is to be dialled: nowhere where the socket is given.
///
/// # Errors
/// When the runtime cannot reach it.
pub(crate) async fn dialled(
    context: &HookContext,
    socket: Option<&Path>,
    host: &str,
    port: u16,
) -> Result<Option<(String, u16)>> {
    match socket {
        Some(_) => Ok(None),
        None => context.runtime.dial(host, port).await.map(Some),
    }
}

/// A server for messages: `localhost:3306`, or its socket's path.
pub(crate) fn place(socket: Option<&Path>, host: &str, port: u16) -> String {
    match socket {
        Some(socket) => socket.display().to_string(),
        None => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[serde(default = "local")]
        #[expect(dead_code, reason = "only its name matters")]
        host: String,
    }

    fn connection(value: &Value) -> Connection {
        let settings = value.as_object().cloned().unwrap_or_default();
        Connection { name: "db".into(), settings, ..Connection::default() }
    }

    #[test]
    fn a_setting_that_nobody_knows_is_refused_by_name_and_those_that_there_are_are_named() {
        for unknown in ["hots", "password"] {
            let error = read::<Settings>("some", &connection(&json!({unknown: "db"}))).unwrap_err();
            let said = error.chain();
            assert!(said.contains(&format!("unknown field `{unknown}`")), "{said}");
            assert!(error.remedy_text().unwrap().contains("some hook: host, password."), "{error:?}");
        }
    }

    #[test]
    fn an_empty_path_is_none_and_an_empty_host_is_refused() {
        let mut paths = [Some(PathBuf::new()), Some(PathBuf::from("/a"))];
        only_given(&mut paths);
        assert_eq!(paths, [None, Some(PathBuf::from("/a"))]);
        let error = some_host("", &connection(&json!({})), "Give one.").unwrap_err();
        assert_eq!(error.to_string(), "connection `db` has an empty host");
    }
}
