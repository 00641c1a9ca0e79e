//! The settings of a connection: what a blueprint writes under `connections:`.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use standstill_core::{
    Error, Result,
    hook::{Connection, HookContext},
    secret::Secret,
};

use super::dialect::Dialect;
use crate::server::{
    settings::{self, dialled, local, only_given, some_host},
    ssl::SslMode,
};

fn usual_port() -> u16 {
    3306
}

fn root() -> String {
    "root".into()
}

/// The settings that are not secret. The password is beside them: it never enters this type.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Settings {
    /// Host name or address.
    #[serde(default = "local")]
    pub host: String,
    /// TCP port.
    #[serde(default = "usual_port")]
    pub port: u16,
    /// The server's Unix socket; where it is given (and not empty), host and port are not used.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// The user to log in as.
    #[serde(default = "root")]
    pub user: String,
    /// How far TLS is asked for: disable, prefer, require, verify-ca, verify-full.
    #[serde(default)]
    pub sslmode: SslMode,
    /// A PEM file with the certificates that the server's must come from.
    #[serde(default)]
    pub ssl_root_cert: Option<PathBuf>,
}

/// Where to connect, as whom, and how.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Which of the two it is.
    pub dialect: &'static Dialect,
    /// The settings; for a service its address has taken the place of the blueprint's.
    pub settings: Settings,
    /// The user's password.
    pub password: Option<Secret>,
    /// The address to dial where it is not the host itself (a forward from a laptop).
    pub dialled: Option<(String, u16)>,
    /// How long a session may outlive a client that fell silent.
    pub lease: Duration,
}

impl Target {
    /// The server that a step means: the service if it names one, else its connection.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when the settings do not fit their schema.
    pub async fn of(dialect: &'static Dialect, context: &HookContext) -> Result<Self> {
        let Some(endpoint) = &context.service else { return Self::of_connection(dialect, context).await };
        let mut settings = read(dialect.hook, &Connection::default())?;
        settings.host.clone_from(&endpoint.host);
        settings.port = endpoint.port;
        settings.socket = endpoint.socket_dir.as_ref().map(|directory| directory.join(dialect.socket));
        settings.sslmode = SslMode::Disable;
        Ok(Self { dialect, settings, password: None, dialled: None, lease: context.lease })
    }

    async fn of_connection(dialect: &'static Dialect, context: &HookContext) -> Result<Self> {
        let connection = context.connection()?;
        let settings = read(dialect.hook, connection)?;
        let Settings { host, port, socket, .. } = &settings;
        let dialled = dialled(context, socket.as_deref(), host, *port).await?;
        let password = connection.secrets.get("password").cloned();
        Ok(Self { dialect, settings, password, dialled, lease: context.lease })
    }

    /// The server for messages: `localhost:3306`, or the socket's path.
    pub fn place(&self) -> String {
        let Settings { host, port, socket, .. } = &self.settings;
        settings::place(socket.as_deref(), host, *port)
    }
}

fn read(hook: &str, connection: &Connection) -> Result<Settings> {
    let mut settings: Settings = settings::read(hook, connection)?;
    only_given([&mut settings.socket, &mut settings.ssl_root_cert]);
    let verifies = matches!(settings.sslmode, SslMode::VerifyCa | SslMode::VerifyFull);
    if verifies && settings.ssl_root_cert.is_none() {
        return Err(Error::input("sslmode verify-ca and verify-full need a root certificate to look for")
            .remedy("Set `sslRootCert` to a PEM file with the authority's certificate, such as /etc/ssl/certs/ca-certificates.crt."));
    }
    some_host(
        &settings.host,
        connection,
        "Give a host name or an address, or the server's Unix socket as `socket`.",
    )?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(value: &Value) -> Result<Settings> {
        let settings = value.as_object().cloned().unwrap_or_default();
        read("mariadb", &Connection { name: "db".into(), settings, ..Connection::default() })
    }

    #[test]
    fn a_connection_needs_no_setting_at_all() {
        let settings = settings(&json!({"socket": ""})).unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("localhost", 3306));
        assert_eq!((settings.user.as_str(), settings.socket), ("root", None));
        assert_eq!(settings.sslmode, SslMode::Prefer);
    }
}
