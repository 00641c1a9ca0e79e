//! The demo's PostgreSQL database: a throwaway cluster on a private socket, served by the programs of this machine.

mod programs;
mod server;
mod writer;

use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use standstill_core::{
    Error, Result,
    runtime::{Command, RunAs, Runtime},
};
use tokio_util::sync::CancellationToken;

pub use writer::Writer;

use self::{programs::Programs, server::Server};
use super::{
    application::{Application, INITIAL, Parameters, note, parameter},
    place::Place,
};

/// The role and the database of everything here.
const POSTGRES: &str = "postgres";
/// The application's server: with the usual settings, for its waits are measured. Nobody needs its files afterwards,
/// so it ends without writing a last checkpoint.
const LIVE: (&[&str], &str) = (&[], "QUIT");
/// The server that reads the restored copy: what it writes need not outlive a power failure.
const RESTORED: (&[&str], &str) = (&["-c", "fsync=off"], "INT");
/// How long `initdb` may take.
const INITDB: Duration = Duration::from_mins(2);

/// The cluster.
pub struct Postgresql {
    runtime: Arc<dyn Runtime>,
    programs: Programs,
    data: PathBuf,
    server: Server,
    version: String,
    cancel: CancellationToken,
}

impl Postgresql {
    /// Makes a cluster and starts it.
    pub async fn make(place: &Place, runtime: Arc<dyn Runtime>, cancel: &CancellationToken) -> Result<Self> {
        let programs = Programs::find()?;
        let data = place.make("data")?;
        if rustix::process::geteuid().is_root() {
            let (user, group) = programs::unprivileged();
            chown(&data, Some(user), Some(group)).map_err(|cause| {
                Error::failed(format!("{} cannot be given to user {user}", data.display())).because(cause)
            })?;
        }
        initdb(runtime.as_ref(), &programs, &data, cancel).await?;
        let server = Server::start(runtime.as_ref(), &programs, &data, LIVE, cancel).await?;
        match fill(&server).await {
            Ok(version) => Ok(Self { runtime, programs, data, server, version, cancel: cancel.clone() }),
            Err(error) => {
                server.stop().await?;
                Err(error)
            }
        }
    }
}

async fn initdb(
    runtime: &dyn Runtime,
    programs: &Programs,
    data: &Path,
    cancel: &CancellationToken,
) -> Result<()> {
    let mut command = Command::new([programs.path("initdb")]);
    // The socket's directory is private, so nobody else can use that nobody is asked for a password.
    let options =
        ["--username", POSTGRES, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"];
    command.argv.extend(options.map(str::to_owned));
    command.argv.extend(["--pgdata".to_owned(), data.display().to_string()]);
    command.run_as = RunAs::OwnerOf(data.to_owned());
    let output = runtime.exec(&command, INITDB, cancel).await?;
    if output.exit.is_success() {
        return Ok(());
    }
    let said = output.stderr.trim().replace('\n', " ");
    Err(Error::failed(format!("initdb ended with {}: {said}", output.exit)).remedy(
        "See what it says. With `--directory`, name a place that the user of the server can reach: PostgreSQL does \
         not run as root.",
    ))
}

/// Makes the orders that are there from the beginning; returns the server's version.
async fn fill(server: &Server) -> Result<String> {
    let failed = |cause| Error::failed("cannot fill the throwaway database").because(cause);
    let client = server.client();
    client
        .batch_execute("CREATE TABLE orders (id bigint PRIMARY KEY, note text NOT NULL)")
        .await
        .map_err(failed)?;
    let ids: Vec<i64> = (1..=INITIAL).map(u64::cast_signed).collect();
    let notes: Vec<String> = (1..=INITIAL).map(note).collect();
    client
        .execute(
            "INSERT INTO orders (id, note) SELECT * FROM unnest($1::bigint[], $2::text[])",
            &[&ids, &notes],
        )
        .await
        .map_err(failed)?;
    let row = client.query_one("SELECT current_setting('server_version')", &[]).await.map_err(failed)?;
    let version: String = row.try_get(0).map_err(failed)?;
    Ok(version.split_whitespace().next().unwrap_or_default().to_owned())
}

#[async_trait]
impl Application for Postgresql {
    fn title(&self) -> String {
        format!("PostgreSQL {}", self.version)
    }

    fn blueprint(&self) -> &'static str {
        "postgresql"
    }

    fn parameters(&self) -> Parameters {
        let (sockets, port) = self.server.address();
        Parameters::from([
            parameter("host", sockets),
            parameter("port", port),
            parameter("dataDir", self.data.display().to_string()),
            parameter("binDir", self.programs.directory()),
        ])
    }

    fn elsewhere(&self, directory: &Path) -> Parameters {
        Parameters::from([parameter("dataDir", directory.display().to_string())])
    }

    fn writer(&self) -> Vec<String> {
        let (sockets, port) = self.server.address();
        vec!["postgresql".to_owned(), sockets, port]
    }

    async fn orders_in(&self, restored: &Path) -> Result<Vec<u64>> {
        let server =
            Server::start(self.runtime.as_ref(), &self.programs, restored, RESTORED, &self.cancel).await?;
        let read = server.client().query("SELECT id FROM orders", &[]).await;
        server.stop().await?;
        let failed = |cause| Error::failed("the restored orders cannot be read").because(cause);
        let ids = read.map_err(failed)?;
        ids.iter().map(|row| row.try_get::<_, i64>(0).map(i64::cast_unsigned).map_err(failed)).collect()
    }

    fn next_command(&self) -> String {
        "postgresql --set dataDir=DIRECTORY --set password=@FILE".to_owned()
    }

    async fn stop(&self) -> Result<()> {
        self.server.stop().await
    }
}
