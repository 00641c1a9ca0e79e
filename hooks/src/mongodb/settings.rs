//! The settings of a connection: what a blueprint writes under `connections:`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use standstill_core::{
    Error, Result,
    hook::{Connection, HookContext},
};

use crate::server::{
    settings::{self, local, only_given, some_host},
    ssl::SslMode,
};

fn usual_port() -> u16 {
    27017
}

fn admin() -> String {
    "admin".into()
}

/// The settings that are not secret. The password is beside them: it never enters this type.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Settings {
    /// Host name or address of one server: it is talked to alone, whatever set it belongs to.
    #[serde(default = "local")]
    pub host: String,
    /// Its port.
    #[serde(default = "usual_port")]
    pub port: u16,
    /// The user to log in as (SCRAM-SHA-256); none where the server asks for none.
    #[serde(default)]
    pub user: String,
    /// The database that the user was made in.
    #[serde(default = "admin")]
    pub auth_source: String,
    /// How far TLS is asked for: disable, require, verify-ca or verify-full.
    #[serde(default = "SslMode::disabled")]
    pub sslmode: SslMode,
    /// A PEM file with the certificates that the server's must come from.
    #[serde(default)]
    pub ssl_root_cert: Option<PathBuf>,
    /// A PEM file with our own certificate, where the server asks for one.
    #[serde(default)]
    pub ssl_cert: Option<PathBuf>,
    /// A PEM file with its key.
    #[serde(default)]
    pub ssl_key: Option<PathBuf>,
}

/// Where to connect, as whom, and how.
pub(super) type Target = settings::Target<Settings>;

impl Target {
    /// The server that a step means: the service if it names one, else its connection. A service has no users.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when the settings do not fit their schema.
    pub async fn of(context: &HookContext) -> Result<Self> {
        if let Some(endpoint) = &context.service {
            let mut settings = read(&Connection::default())?;
            (settings.host, settings.port) = (endpoint.host.clone(), endpoint.port);
            let dialled = (endpoint.host.clone(), endpoint.port);
            return Ok(Self { settings, password: None, dialled });
        }
        let connection = context.connection()?;
        let settings = read(connection)?;
        let dialled = context.runtime.dial(&settings.host, settings.port).await?;
        Ok(Self { settings, password: connection.secrets.get("password").cloned(), dialled })
    }

    /// The server for messages: `localhost:27017`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.settings.host, self.settings.port)
    }
}

fn read(connection: &Connection) -> Result<Settings> {
    let mut settings: Settings = settings::read(super::NAME, connection)?;
    some_host(&settings.host, connection, "Give the host name or the address of one server.")?;
    if settings.host.contains("://") {
        return Err(Error::input(format!(
            "`{}` of connection `{}` is no host name or address",
            settings.host, connection.name
        ))
        .remedy("Give the host of one server; a connection string is not needed."));
    }
    settings.sslmode.decided("MongoDB")?;
    only_given([&mut settings.ssl_root_cert, &mut settings.ssl_cert, &mut settings.ssl_key]);
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(value: &Value) -> Result<Settings> {
        let settings = value.as_object().cloned().unwrap_or_default();
        read(&Connection { name: "db".into(), settings, ..Connection::default() })
    }

    #[test]
    fn a_connection_needs_no_setting_at_all() {
        let settings = settings(&json!({"sslRootCert": ""})).unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("localhost", 27017));
        assert_eq!((settings.auth_source.as_str(), settings.sslmode), ("admin", SslMode::Disable));
    }

    #[test]
    fn what_means_nothing_is_refused_by_name() {
        let error = settings(&json!({"sslmode": "prefer"})).unwrap_err();
        assert!(error.chain().contains("means nothing"), "{}", error.chain());
        let error = settings(&json!({"host": "mongodb://a,b"})).unwrap_err();
        assert!(error.chain().contains("no host name"), "{}", error.chain());
    }
}
