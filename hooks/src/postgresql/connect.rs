//! Sessions: one connection to one server process, with a deadline on everything.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use standstill_core::{Error, Result, hook::HookContext, point::RunId};
use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Config, Row, SimpleQueryMessage,
    error::SqlState,
    types::{FromSql, ToSql, Type},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{errors, lease::Limits, settings::Target, tls};
use crate::server::{
    driver::{AbortOnDrop, spawn},
    patience,
    ssl::SslMode,
};

/// How long opening a session may take.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// How long a statement that only looks something up may take.
pub(super) const LOOKUP: Duration = Duration::from_secs(10);

/// Settings that a session starts with; they outrank those of the role and the database.
const OPTIONS: &str = "-c search_path=pg_catalog -c row_security=off -c statement_timeout=60s -c lock_timeout=10s \
    -c default_transaction_isolation=read\\ committed -c default_transaction_deferrable=off";

/// The options of a session. From its first byte the server ends it when its client falls silent: whatever it locks
/// or keeps, it does so no longer than the lease.
fn options(run: &str, lease: Duration) -> String {
    let idle = Limits::of(lease).idle.as_millis().max(1);
    format!(
        "-c standstill.run={run} {OPTIONS} -c idle_session_timeout={idle} -c idle_in_transaction_session_timeout={idle}"
    )
}

/// A statement's parameter with its type.
pub(super) type Parameter<'value> = (&'value (dyn ToSql + Sync), Type);

/// What a session is for: the server shows it after the run's name, so that `undo` ends holds and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose<'hold> {
    /// Everything that is over when the call is.
    Call,
    /// The advisory lock of the run.
    Lock,
    /// A hold, told from the run's others by what acquires it.
    Hold {
        /// The verb.
        verb: &'hold str,
        /// The connection's name.
        connection: &'hold str,
    },
}

impl Purpose<'_> {
    /// The `application_name`: at most 63 bytes, which is all that the server keeps.
    pub fn application_name(&self, run: &RunId) -> String {
        match self {
            Self::Call => format!("standstill {run}"),
            Self::Lock => format!("standstill {run} lock"),
            Self::Hold { verb, connection } => {
                let mut hasher = DefaultHasher::new();
                (verb, connection).hash(&mut hasher);
                format!("standstill {run} hold {:08x}", hasher.finish() >> 32)
            }
        }
    }
}

/// One server process that works for us alone. Dropping it closes the connection at once.
pub(super) struct Session {
    client: Option<Client>,
    driver: JoinHandle<()>,
    tls: MakeRustlsConnect,
    place: String,
    local: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Session {
    /// Opens a session with the server that the context names.
    pub async fn open(context: &HookContext, purpose: Purpose<'_>) -> Result<Self> {
        Self::to(&Target::of(context, &purpose).await?).await
    }

    /// Opens a session, and makes sure that no pooler is in between.
    ///
    /// Settings that the role or the database may have are overruled: the search path, so that no function is
    /// taken from a schema that somebody else may write to, row security, so that nothing is left out of a count
    /// in silence, and time limits.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when nobody listens, the password is wrong, there is no such
    /// database, TLS is refused or a pooler answers; `Temporary` while the server starts or is full.
    pub async fn to(target: &Target) -> Result<Self> {
        let session = match Self::dial(target, target.settings.sslmode).await {
            // As libpq does: `prefer` tries again without TLS where TLS or its pg_hba line was the obstacle.
            Err(error) if target.settings.sslmode == SslMode::Prefer && without_tls_may_do(&error) => {
                Self::dial(target, SslMode::Disable).await
            }
            other => other,
        };
        let session = session.map_err(|failure| match failure {
            Failure::Ours(error) => error,
            Failure::Postgres(error) => errors::connecting(error, target),
        })?;
        session.refuse_a_pooler(&target.run).await?;
        Ok(session)
    }

    async fn dial(target: &Target, mode: SslMode) -> Result<Self, Failure> {
        let tls = tls::connector(&target.settings)?;
        let config = configure(target, mode);
        let connecting = {
            let tls = tls.clone();
            AbortOnDrop(spawn(async move {
                let (client, connection) = config.connect(tls).await?;
                let driver = tokio::spawn(async move {
                    // The reason of an end reaches the operator through the statement that it broke.
                    let _ended = connection.await;
                });
                Ok::<_, tokio_postgres::Error>((client, driver))
            })?)
        };
        let mut connecting = connecting;
        let place = target.place();
        let opened = tokio::time::timeout(CONNECT, &mut connecting.0).await.map_err(|_elapsed| {
            Error::input(format!("no answer from {place} within {} s", CONNECT.as_secs()))
                .remedy("Check `host` and `port` of the connection, and that a firewall lets it through.")
        })?;
        let (client, driver) = opened
            .map_err(|cause| Error::failed(format!("connecting to {place} broke off")).because(cause))??;
        let local = target.socket_directory().is_some();
        Ok(Self { client: Some(client), driver, tls, place, local })
    }

    /// A pooler either refuses our startup option, drops it, or is known by the session that it lends.
    async fn refuse_a_pooler(&self, run: &str) -> Result<()> {
        let sql = "SELECT current_setting('standstill.run', true)";
        let row = self.one(LOOKUP, "look at the session", sql, &[]).await?;
        if column::<Option<&str>>(&row, 0)? == Some(run) { Ok(()) } else { Err(errors::pooler(&self.place)) }
    }

    /// The server, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether the session goes over a Unix socket.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.driver.is_finished() || self.client.as_ref().is_none_or(Client::is_closed)
    }

    /// Runs one statement and returns its rows. `attempt` fits after "failed to".
    pub async fn rows(
        &self,
        within: Duration,
        attempt: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>> {
        let client = self.client(attempt)?;
        match tokio::time::timeout(within, client.query_typed(sql, parameters)).await {
            Ok(rows) => rows.map_err(|error| errors::statement(error, attempt, &self.place)),
            Err(_elapsed) => Err(errors::silent(attempt, &self.place, within)),
        }
    }

    /// Runs one statement that has exactly one row.
    pub async fn one(
        &self,
        within: Duration,
        attempt: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Row> {
        let rows = self.rows(within, attempt, sql, parameters).await?;
        rows.into_iter()
            .next()
            .ok_or_else(|| Error::failed(format!("failed to {attempt} at {}: no row came back", self.place)))
    }

    /// Runs statements without parameters and returns their rows as text.
    pub async fn simple(
        &self,
        within: Duration,
        attempt: &str,
        sql: &str,
    ) -> Result<Vec<SimpleQueryMessage>> {
        let client = self.client(attempt)?;
        match tokio::time::timeout(within, client.simple_query(sql)).await {
            Ok(messages) => messages.map_err(|error| errors::statement(error, attempt, &self.place)),
            Err(_elapsed) => Err(errors::silent(attempt, &self.place, within)),
        }
    }

    /// Waits for a statement that may take long, and has the server end it when the step is cancelled.
    pub async fn cancellable<T>(
        &self,
        context: &HookContext,
        attempt: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        patience::cancellable(context, (attempt, &self.place), work, self.cancel_statement()).await
    }

    /// Does work elsewhere while this session is kept from falling idle.
    ///
    /// # Errors
    /// When the session is gone; the work is given up then.
    pub async fn awake<T>(&self, every: Duration, work: impl Future<Output = T>) -> Result<T> {
        patience::awake(every, work, || async move {
            self.one(every * 2, "keep the session awake", "SELECT 1", &[]).await.map(drop)
        })
        .await
    }

    /// Asks the server to end the running statement; best effort, as the protocol has it.
    async fn cancel_statement(&self) {
        let Some(client) = &self.client else { return };
        let token = client.cancel_token();
        let asked = tokio::time::timeout(Duration::from_secs(2), token.cancel_query(self.tls.clone())).await;
        tracing::debug!(place = self.place, ?asked, "asked the server to cancel a statement");
    }

    /// Says goodbye and waits until the server closed its side.
    pub async fn close(mut self) {
        drop(self.client.take());
        let ended = tokio::time::timeout(Duration::from_secs(2), &mut self.driver).await;
        if ended.is_err() {
            tracing::warn!(
                place = self.place,
                "the server did not close the session in time; the connection is cut"
            );
        }
    }

    fn client(&self, attempt: &str) -> Result<&Client> {
        self.client.as_ref().ok_or_else(|| {
            Error::temporary(format!("lost the session at {} on trying to {attempt}", self.place))
        })
    }
}

/// One column of a row.
///
/// # Errors
/// When the server's answer is not what was asked for.
pub(super) fn column<'row, T: FromSql<'row>>(row: &'row Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(|cause| Error::failed("the server's answer is not understood").because(cause))
}

enum Failure {
    Ours(Error),
    Postgres(tokio_postgres::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

fn without_tls_may_do(failure: &Failure) -> bool {
    let Failure::Postgres(error) = failure else { return false };
    let refused = error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    refused || error.to_string() == "error performing TLS handshake"
}

fn configure(target: &Target, mode: SslMode) -> Config {
    let settings = &target.settings;
    let mut config = Config::new();
    match (target.socket_directory(), &target.dialled) {
        (Some(directory), _) => config.host_path(directory).port(settings.port),
        // The name stays the host's: it is what the certificate is for.
        (None, Some((address, port))) => match address.parse() {
            Ok(address) => config.host(&settings.host).hostaddr(address).port(*port),
            Err(_) => config.host(address).port(*port),
        },
        (None, None) => config.host(&settings.host).port(settings.port),
    };
    let mode = if target.socket_directory().is_some() { SslMode::Disable } else { mode };
    config
        .user(&settings.user)
        .dbname(&settings.database)
        .application_name(&target.application_name)
        .options(options(&target.run, target.lease))
        .connect_timeout(CONNECT)
        .tcp_user_timeout(CONNECT)
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(3))
        .keepalives_retries(3)
        .ssl_mode(match mode {
            SslMode::Disable => tokio_postgres::config::SslMode::Disable,
            SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                tokio_postgres::config::SslMode::Require
            }
        });
    if let Some(password) = &target.password {
        config.password(password.expose());
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_session_is_ever_without_the_limits_that_end_a_silent_one() {
        let options = options("0123", Duration::from_secs(10));
        assert!(options.contains("-c idle_session_timeout=6000 "), "{options}");
        assert!(options.ends_with("-c idle_in_transaction_session_timeout=6000"), "{options}");
    }

    #[test]
    fn an_application_name_fits_and_tells_holds_from_everything_else() {
        let run = RunId::generate();
        let hold = Purpose::Hold { verb: "backup-mode", connection: "db" }.application_name(&run);
        let other = Purpose::Hold { verb: "backup-mode", connection: "other" }.application_name(&run);
        assert!(hold.len() <= 63, "{hold}");
        assert_ne!(hold, other);
        assert_ne!(hold, Purpose::Lock.application_name(&run));
        assert!(hold.starts_with(&Purpose::Call.application_name(&run)));
    }
}
