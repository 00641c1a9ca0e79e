//! The settings of a connection: what a blueprint writes under `connections:`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use standstill_core::{
    Error, Result,
    hook::{Connection, HookContext},
};

use crate::server::settings::{self, dialled, local, only_given, some_host};

/// The name of the socket of a server that a run started, in its private directory.
const SOCKET: &str = "redis.sock";

fn usual_port() -> u16 {
    6379
}

fn everybody() -> String {
    "default".into()
}

/// The settings that are not secret. The password is beside them: it never enters this type.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Settings {
    /// Host name or address.
    #[serde(default = "local")]
    pub host: String,
    /// TCP port.
    #[serde(default = "usual_port")]
    pub port: u16,
    /// The server's Unix socket; where it is given (and not empty), host and port are not used.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// The user of the server's access control list.
    #[serde(default = "everybody")]
    pub user: String,
    /// The number of the database that queries are asked of; everything else concerns all of them.
    #[serde(default)]
    pub db: u32,
    /// Whether to speak TLS. The server's certificate is always verified then.
    #[serde(default)]
    pub tls: bool,
    /// A PEM file with the authorities that the server's certificate may come from.
    #[serde(default)]
    pub tls_ca: Option<PathBuf>,
    /// A PEM file with our own certificate; servers ask for one unless they have `tls-auth-clients no`.
    #[serde(default)]
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with the key of our own certificate.
    #[serde(default)]
    pub tls_key: Option<PathBuf>,
}

/// Where to connect, as whom, and how.
pub(super) type Target = settings::Target<Settings, Option<(String, u16)>>;

impl Target {
    /// The server that a step means: the service if it names one, else its connection.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when the settings do not fit their schema.
    pub async fn of(context: &HookContext) -> Result<Self> {
        let Some(endpoint) = &context.service else { return Self::of_connection(context).await };
        let mut settings = read(&Connection::default())?;
        settings.host.clone_from(&endpoint.host);
        settings.port = endpoint.port;
        settings.socket = endpoint.socket_dir.as_ref().map(|directory| directory.join(SOCKET));
        Ok(Self { settings, password: None, dialled: None })
    }

    async fn of_connection(context: &HookContext) -> Result<Self> {
        let connection = context.connection()?;
        let settings = read(connection)?;
        let Settings { host, port, socket, .. } = &settings;
        let dialled = dialled(context, socket.as_deref(), host, *port).await?;
        let password = connection.secrets.get("password").cloned();
        Ok(Self { settings, password, dialled })
    }

    /// The server for messages: `localhost:6379`, or the socket's path.
    pub fn place(&self) -> String {
        let Settings { host, port, socket, .. } = &self.settings;
        settings::place(socket.as_deref(), host, *port)
    }
}

fn read(connection: &Connection) -> Result<Settings> {
    let mut settings: Settings = settings::read(super::NAME, connection)?;
    let Settings { socket, tls_ca, tls_cert, tls_key, .. } = &mut settings;
    only_given([socket, tls_ca, tls_cert, tls_key]);
    if settings.tls && settings.tls_ca.is_none() {
        return Err(Error::input("TLS needs an authority to look for")
            .remedy("Set `tlsCa` to a PEM file with the authority's certificate, such as /etc/ssl/certs/ca-certificates.crt."));
    }
    if settings.tls_cert.is_some() != settings.tls_key.is_some() {
        return Err(Error::input("a certificate of our own and its key belong together")
            .remedy("Set both `tlsCert` and `tlsKey`, or neither."));
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
        read(&Connection { name: "db".into(), settings, ..Connection::default() })
    }

    #[test]
    fn a_connection_needs_no_setting_at_all() {
        let settings = settings(&json!({"socket": "", "tlsCa": ""})).unwrap();
        assert_eq!((settings.host.as_str(), settings.port, settings.db), ("localhost", 6379, 0));
        assert_eq!((settings.user.as_str(), settings.socket, settings.tls), ("default", None, false));
    }

    #[test]
    fn tls_without_an_authority_and_a_certificate_without_its_key_are_refused() {
        assert!(settings(&json!({"tls": true})).unwrap_err().to_string().contains("needs an authority"));
        let half = json!({"tls": true, "tlsCa": "ca.pem", "tlsCert": "own.pem"});
        assert!(settings(&half).unwrap_err().to_string().contains("belong together"));
    }
}
