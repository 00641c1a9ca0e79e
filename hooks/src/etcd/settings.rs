//! The settings of a connection: what a blueprint writes under `connections:`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use standstill_core::{
    Result,
    hook::{Connection, HookContext},
};

use crate::server::{
    settings::{self, local, only_given, some_host},
    ssl::SslMode,
};

fn usual_port() -> u16 {
    2379
}

/// The settings that are not secret. The password is beside them: it never enters this type.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Settings {
    /// Host name or address of one member.
    #[serde(default = "local")]
    pub host: String,
    /// Its port for clients.
    #[serde(default = "usual_port")]
    pub port: u16,
    /// The user to log in as; none where the cluster asks for none, or takes the certificate's common name.
    #[serde(default)]
    pub user: String,
    /// How far TLS is asked for: disable, require, verify-ca or verify-full. A port of etcd's has TLS or has it not,
    /// so `prefer` means nothing here.
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
    /// The member that a step means: the service if it names one, else its connection. A service has the users of the
    /// cluster that was backed up, so user and password stay those of the connection.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when the settings do not fit their schema.
    pub async fn of(context: &HookContext) -> Result<Self> {
        let password = |connection: &Connection| connection.secrets.get("password").cloned();
        if let Some(endpoint) = &context.service {
            let connection = context.connection.clone().unwrap_or_default();
            let mut settings = read(&connection)?;
            (settings.host, settings.port) = (endpoint.host.clone(), endpoint.port);
            settings.sslmode = SslMode::Disable;
            let dialled = (endpoint.host.clone(), endpoint.port);
            return Ok(Self { settings, password: password(&connection), dialled });
        }
        let connection = context.connection()?;
        let settings = read(connection)?;
        let dialled = context.runtime.dial(&settings.host, settings.port).await?;
        Ok(Self { settings, password: password(connection), dialled })
    }

    /// The member for messages: `localhost:2379`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.settings.host, self.settings.port)
    }

    /// The address as HTTP writes it.
    pub fn uri(&self) -> String {
        let Settings { host, port, sslmode, .. } = &self.settings;
        let scheme = if *sslmode == SslMode::Disable { "http" } else { "https" };
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}")
        } else {
            format!("{scheme}://{host}:{port}")
        }
    }
}

fn read(connection: &Connection) -> Result<Settings> {
    let mut settings: Settings = settings::read(super::NAME, connection)?;
    some_host(&settings.host, connection, "Give the host name or the address of one member.")?;
    settings.sslmode.decided("etcd")?;
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
        assert_eq!((settings.host.as_str(), settings.port), ("localhost", 2379));
        assert_eq!((settings.sslmode, settings.ssl_root_cert), (SslMode::Disable, None));
    }

    #[test]
    fn a_mode_of_tls_that_means_nothing_is_refused_by_name() {
        let error = settings(&json!({"sslmode": "prefer"})).unwrap_err();
        assert!(error.chain().contains("`prefer` means nothing"), "{}", error.chain());
    }
}
