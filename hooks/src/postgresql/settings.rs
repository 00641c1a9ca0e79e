//! The settings of a connection: what a blueprint writes under `connections:`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Deserialize;
use standstill_core::{
    Result,
    hook::{Connection, HookContext},
    secret::Secret,
};

use super::connect::Purpose;
use crate::server::{
    settings::{self, local, some_host},
    ssl::SslMode,
};

fn usual_port() -> u16 {
    5432
}

fn postgres() -> String {
    "postgres".into()
}

/// The settings that are not secret. The password is beside them: it never enters this type.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Settings {
    /// Host name or address; a path is the directory of a Unix socket.
    #[serde(default = "local")]
    pub host: String,
    /// TCP port, or the number in the socket's name.
    #[serde(default = "usual_port")]
    pub port: u16,
    /// The role to log in as.
    #[serde(default = "postgres")]
    pub user: String,
    /// The database to connect to.
    #[serde(default = "postgres")]
    pub database: String,
    /// How far TLS is asked for, as libpq means it.
    #[serde(default)]
    pub sslmode: SslMode,
    /// A PEM file with the certificates that the server's must come from.
    #[serde(default)]
    pub ssl_root_cert: Option<PathBuf>,
}

/// Where to connect, as whom, and how.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The settings; for a service its address has taken the place of the blueprint's.
    pub settings: Settings,
    /// The role's password.
    pub password: Option<Secret>,
    /// The address to dial where it is not the host itself (a forward from a laptop).
    pub dialled: Option<(String, u16)>,
    /// What the server shows as `application_name`.
    pub application_name: String,
    /// The run, which the server is told so that a pooler in between is noticed.
    pub run: String,
    /// How long a session may outlive a client that fell silent.
    pub lease: Duration,
}

impl Target {
    /// The server that a step means: the service if it names one, else its connection.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when the settings do not fit their schema.
    pub async fn of(context: &HookContext, purpose: &Purpose<'_>) -> Result<Self> {
        let mut target = match &context.service {
            Some(endpoint) => {
                let mut settings = match &context.connection {
                    Some(connection) => read(connection)?,
                    None => read(&Connection::default())?,
                };
                settings.port = endpoint.port;
                settings.host = match &endpoint.socket_dir {
                    Some(directory) => directory.display().to_string(),
                    None => endpoint.host.clone(),
                };
                settings.sslmode = SslMode::Disable;
                settings.ssl_root_cert = None;
                Self {
                    settings,
                    password: None,
                    dialled: None,
                    application_name: String::new(),
                    run: String::new(),
                    lease: context.lease,
                }
            }
            None => Self::of_connection(context).await?,
        };
        target.application_name = purpose.application_name(&context.run);
        target.run = context.run.as_str().into();
        Ok(target)
    }

    async fn of_connection(context: &HookContext) -> Result<Self> {
        let connection = context.connection()?;
        let settings = read(connection)?;
        let dialled = if settings.host.starts_with('/') {
            None
        } else {
            Some(context.runtime.dial(&settings.host, settings.port).await?)
        };
        let password = connection.secrets.get("password").cloned();
        let (application_name, run) = (String::new(), String::new());
        Ok(Self { settings, password, dialled, application_name, run, lease: context.lease })
    }

    /// The same server, another database.
    #[must_use]
    pub fn database(&self, name: &str) -> Self {
        let mut target = self.clone();
        target.settings.database = name.into();
        target
    }

    /// The directory of a Unix socket, if that is what the host is.
    pub fn socket_directory(&self) -> Option<&Path> {
        self.settings.host.starts_with('/').then(|| Path::new(&self.settings.host))
    }

    /// The server for messages: `localhost:5432`, or the socket's path.
    pub fn place(&self) -> String {
        let Settings { host, port, .. } = &self.settings;
        if host.starts_with('/') {
            format!("{}/.s.PGSQL.{port}", host.trim_end_matches('/'))
        } else {
            format!("{host}:{port}")
        }
    }
}

fn read(connection: &Connection) -> Result<Settings> {
    let settings: Settings = settings::read(super::NAME, connection)?;
    some_host(
        &settings.host,
        connection,
        "Give a host name, an address, or the directory of the server's Unix socket.",
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
        let settings = settings(&json!({})).unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("localhost", 5432));
        assert_eq!((settings.user.as_str(), settings.database.as_str()), ("postgres", "postgres"));
        assert_eq!(settings.sslmode, SslMode::Prefer);
    }
}
