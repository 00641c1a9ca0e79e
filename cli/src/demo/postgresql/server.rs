//! A server of the demo, under a guard that ends it if the demo dies.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use standstill_core::{
    Error, Result,
    hook::Endpoint,
    runtime::{Command, RunAs, Runtime, Service, ServiceSpec},
};
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};
use tokio_util::sync::CancellationToken;

use super::{POSTGRES, programs::Programs};

/// How long a server may take to accept a connection.
const START: Duration = Duration::from_mins(1);
/// How long it may take to end.
const STOP: Duration = Duration::from_secs(20);
/// How often it is asked whether it accepts connections.
const POLL: Duration = Duration::from_millis(20);

/// A running server, and a connection to it.
pub struct Server {
    service: Arc<dyn Service>,
    endpoint: Endpoint,
    client: Client,
    /// The path of a Unix socket is at most 107 bytes long, so its directory is not in the demo's own.
    _sockets: TempDir,
}

impl Server {
    /// Starts a server on a data directory, as that directory's owner.
    ///
    /// It listens on a socket in a private directory only: no other user of this machine reaches it. `options` are
    /// options of the server, `stop_signal` is what ends it.
    pub async fn start(
        runtime: &dyn Runtime,
        programs: &Programs,
        data: &Path,
        (options, stop_signal): (&[&str], &str),
        cancel: &CancellationToken,
    ) -> Result<Self> {
        let sockets = short_directory()?;
        let run_as = RunAs::OwnerOf(data.to_owned());
        let endpoint = runtime.endpoint("pg", sockets.path(), &run_as, None).await?;
        let directory = socket_directory(&endpoint);
        let mut command = Command::new([programs.path("postgres")]);
        command
            .argv
            .extend(["-D", &data.display().to_string(), "-p", &endpoint.port.to_string()].map(str::to_owned));
        command.argv.extend(["-k", &directory, "-c", "listen_addresses="].map(str::to_owned));
        command.argv.extend(options.iter().map(|option| (*option).to_owned()));
        command.run_as = run_as;
        let spec = ServiceSpec {
            name: "pg".to_owned(),
            command,
            endpoint: endpoint.clone(),
            stop_signal: stop_signal.to_owned(),
            stop_timeout: STOP,
        };
        let service = runtime.service(&spec).await?;
        let accepted = tokio::select! {
            accepted = tokio::time::timeout(START, accepted(service.as_ref(), &endpoint)) => accepted,
            () = cancel.cancelled() => Ok(Err(Error::cancelled("the start of PostgreSQL was ended"))),
        };
        match accepted.unwrap_or_else(|_| Err(not_accepting(service.as_ref()))) {
            Ok(client) => Ok(Self { service, endpoint, client, _sockets: sockets }),
            Err(error) => {
                service.stop().await?;
                Err(error)
            }
        }
    }

    /// The connection.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The socket's directory, and the port in its name.
    pub fn address(&self) -> (String, String) {
        (socket_directory(&self.endpoint), self.endpoint.port.to_string())
    }

    /// Ends it; again changes nothing.
    pub async fn stop(&self) -> Result<()> {
        self.service.stop().await.map(drop)
    }
}

fn socket_directory(endpoint: &Endpoint) -> String {
    endpoint.socket_dir.as_ref().map_or_else(String::new, |path| path.display().to_string())
}

/// A temporary directory that others may pass through; what is in it says who may use it.
fn short_directory() -> Result<TempDir> {
    let failed = |cause| {
        Error::failed("no temporary directory can be made for PostgreSQL's socket")
            .remedy("Set TMPDIR to a directory where this user may write.")
            .because(cause)
    };
    let directory = tempfile::Builder::new().prefix("standstill-").tempdir().map_err(failed)?;
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).map_err(failed)?;
    Ok(directory)
}

/// Connects as soon as the server accepts it.
async fn accepted(service: &dyn Service, endpoint: &Endpoint) -> Result<Client> {
    loop {
        if let Some((exit, log)) = service.ended() {
            return Err(Error::failed(format!(
                "PostgreSQL ended with {exit} before it accepted a connection: {log}"
            ))
            .remedy("Its log says why."));
        }
        match connect(&socket_directory(endpoint), endpoint.port).await {
            Ok(client) => return Ok(client),
            // It is still starting, or recovering.
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

fn not_accepting(service: &dyn Service) -> Error {
    Error::failed(format!("PostgreSQL accepted no connection within {START:?}: {}", service.log()))
        .remedy("Its log says why.")
}

/// Connects, and keeps the connection going on a task of its own.
pub async fn connect(sockets: &str, port: u16) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config.host_path(sockets).port(port).user(POSTGRES).dbname(POSTGRES);
    let (client, connection) = config.connect(NoTls).await?;
    // An error of the connection is also the error of the next statement.
    tokio::spawn(async move { connection.await.err() });
    Ok(client)
}
