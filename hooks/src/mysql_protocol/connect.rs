//! Sessions: one connection to one server thread, with a deadline on everything.

use std::time::Duration;

use mysql_async::{
    Conn, DriverError, OptsBuilder, Params, Row, SslOpts, Value, from_value_opt,
    prelude::{FromValue, Queryable as _},
};
use rustls::crypto::{CryptoProvider, ring};
use standstill_core::{Error, Result, hook::HookContext, secret::Secret};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{dialect::Dialect, errors, lease::Limits, settings::Target};
use crate::server::{
    driver::{AbortOnDrop, spawn},
    patience,
    ssl::SslMode,
};

/// How long opening a session may take.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// How long a statement that only looks something up may take.
pub(crate) const LOOKUP: Duration = Duration::from_secs(10);

/// One statement for the connection's own task: there it runs to its end even if nobody waits for it any more, so
/// a wait that is given up never leaves half an answer for the next statement.
struct Order {
    sql: String,
    parameters: Vec<Value>,
    reply: oneshot::Sender<Result<Vec<Row>, mysql_async::Error>>,
}

/// One server thread that works for us alone. Dropping it closes the connection.
pub(crate) struct Session {
    orders: Option<mpsc::UnboundedSender<Order>>,
    task: JoinHandle<()>,
    id: u64,
    place: String,
    dialect: &'static Dialect,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    /// Opens a session with the server that the context names.
    pub async fn open(dialect: &'static Dialect, context: &HookContext) -> Result<Self> {
        Self::to(&Target::of(dialect, context).await?).await
    }

    /// Opens a session, and makes sure that it is one of the database that is meant.
    ///
    /// From its first statement on the server ends it when its client falls silent.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when nobody listens, the password is wrong, TLS is refused or another
    /// database answers; `Temporary` while the server starts or is full.
    pub async fn to(target: &Target) -> Result<Self> {
        let session = match Self::dial(target, target.settings.sslmode).await {
            Err(Failure::Theirs(error))
                if target.settings.sslmode == SslMode::Prefer && has_no_tls(&error) =>
            {
                Self::dial(target, SslMode::Disable).await
            }
            other => other,
        };
        let session = session.map_err(|failure| match failure {
            Failure::Ours(error) => error,
            Failure::Theirs(error) => errors::connecting(error, target),
        })?;
        let version: String =
            column(&session.one(LOOKUP, "ask for the version", "SELECT VERSION()").await?, 0)?;
        let dialect = target.dialect;
        if !(dialect.is_ours)(&version) {
            return Err(errors::flavour(&session.place, &version, dialect));
        }
        session.run(LOOKUP, "prepare the session", dialect.session).await?;
        session.arm(LOOKUP, &Limits::of(target.lease), Duration::from_mins(1)).await?;
        Ok(session)
    }

    async fn dial(target: &Target, mode: SslMode) -> Result<Self, Failure> {
        let options = options(target, mode);
        let place = target.place();
        let mut connecting = AbortOnDrop(spawn(Conn::new(options))?);
        let opened = tokio::time::timeout(CONNECT, &mut connecting.0).await.map_err(|_elapsed| {
            Error::input(format!("no answer from {place} within {} s", CONNECT.as_secs()))
                .remedy("Check `host` and `port` of the connection, and that a firewall lets it through.")
        })?;
        let connection = opened
            .map_err(|cause| Error::failed(format!("connecting to {place} broke off")).because(cause))?
            .map_err(Failure::Theirs)?;
        let id = u64::from(connection.id());
        let (orders, received) = mpsc::unbounded_channel();
        let task = spawn(serve(connection, received))?;
        Ok(Self { orders: Some(orders), task, id, place, dialect: target.dialect })
    }

    /// The server, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Which of the two databases it is.
    pub fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// Has the server end this session by itself when its client falls silent, and statements that run for longer
    /// than this.
    ///
    /// # Errors
    /// When the server does not take a limit; then nothing must be acquired on this session.
    pub async fn arm(&self, within: Duration, limits: &Limits, statement: Duration) -> Result<()> {
        self.run(within, "limit the session", &(self.dialect.arm)(limits, statement)).await
    }

    /// The connection's number, as the server's process list has it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.task.is_finished()
    }

    /// Runs one statement, and returns the server's own error.
    ///
    /// # Errors
    /// `Ours` when the session is gone or gave no answer in time; `Theirs` when the server refused.
    pub async fn raw(
        &self,
        within: Duration,
        attempt: &str,
        sql: &str,
        parameters: Vec<Value>,
    ) -> Result<Vec<Row>, Failure> {
        let lost = || Failure::Ours(errors::lost(attempt, &self.place));
        let orders = self.orders.as_ref().ok_or_else(lost)?;
        let (reply, answer) = oneshot::channel();
        orders.send(Order { sql: sql.to_owned(), parameters, reply }).map_err(|_| lost())?;
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(answer)) => answer.map_err(Failure::Theirs),
            Ok(Err(_gone)) => Err(lost()),
            Err(_elapsed) => Err(Failure::Ours(errors::silent(attempt, self, within))),
        }
    }

    /// Runs one statement and returns its rows. `attempt` fits after "failed to".
    pub async fn rows(
        &self,
        within: Duration,
        attempt: &str,
        sql: &str,
        parameters: Vec<Value>,
    ) -> Result<Vec<Row>> {
        self.raw(within, attempt, sql, parameters).await.map_err(|failure| match failure {
            Failure::Ours(error) => error,
            Failure::Theirs(error) => errors::statement(error, attempt, self),
        })
    }

    /// Runs one statement that returns nothing.
    pub async fn run(&self, within: Duration, attempt: &str, sql: &str) -> Result<()> {
        self.rows(within, attempt, sql, Vec::new()).await.map(drop)
    }

    /// Runs one statement that has exactly one row.
    pub async fn one(&self, within: Duration, attempt: &str, sql: &str) -> Result<Row> {
        self.rows(within, attempt, sql, Vec::new())
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Error::failed(format!("failed to {attempt} at {}: no row came back", self.place)))
    }

    /// Waits for statements that may take long, and has the server end this session when the step is cancelled.
    pub async fn cancellable<T>(
        &self,
        context: &HookContext,
        attempt: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        patience::cancellable(context, (attempt, &self.place), work, self.kill(context)).await
    }

    /// Does work elsewhere while this session is kept from falling idle.
    ///
    /// # Errors
    /// When the session is gone; the work is given up then.
    pub async fn awake<T>(&self, every: Duration, work: impl Future<Output = T>) -> Result<T> {
        patience::awake(every, work, || self.run(LOOKUP, "keep the session awake", "DO 0")).await
    }

    /// Has the server end this session by another one; best effort. A user may always end sessions of its own.
    async fn kill(&self, context: &HookContext) {
        let killing = async {
            let other = Self::open(self.dialect, context).await?;
            other.run(LOOKUP, "end a session", &format!("KILL CONNECTION {}", self.id)).await
        };
        let ended = tokio::time::timeout(Duration::from_secs(2), killing).await;
        tracing::debug!(place = self.place, ?ended, "asked the server to end a session");
    }

    /// Says goodbye and waits until the server closed its side.
    pub async fn close(mut self) {
        drop(self.orders.take());
        if tokio::time::timeout(Duration::from_secs(2), &mut self.task).await.is_err() {
            tracing::warn!(place = self.place, "the server did not close the session in time; it is cut");
        }
    }
}

/// Runs orders until there are no more, or the connection is gone.
async fn serve(mut connection: Conn, mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Some(Order { sql, parameters, reply }) = orders.recv().await {
        let answer = if parameters.is_empty() {
            connection.query(sql).await
        } else {
            connection.exec(sql, Params::Positional(parameters)).await
        };
        let fatal = answer.as_ref().is_err_and(mysql_async::Error::is_fatal);
        // Nobody may be waiting any more.
        let _unread = reply.send(answer);
        if fatal {
            return;
        }
    }
    let _gone = connection.disconnect().await;
}

/// One column of a row.
///
/// # Errors
/// When the server's answer is not what was asked for.
pub(crate) fn column<T: FromValue>(row: &Row, index: usize) -> Result<T> {
    let value = row
        .as_ref(index)
        .ok_or_else(|| Error::failed("the server's answer has fewer columns than were asked for"))?;
    from_value_opt(value.clone())
        .map_err(|cause| Error::failed("the server's answer is not understood").because(cause))
}

/// The column of that name, if the row has it, as text.
pub(crate) fn named(row: &Row, name: &str) -> Option<String> {
    let index = row.columns_ref().iter().position(|column| column.name_str().eq_ignore_ascii_case(name))?;
    column::<Option<String>>(row, index).ok().flatten()
}

/// Whose error it is.
pub(crate) enum Failure {
    /// The session is gone, or gave no answer.
    Ours(Error),
    /// The library's, or the server's.
    Theirs(mysql_async::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

fn has_no_tls(error: &mysql_async::Error) -> bool {
    matches!(error, mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer))
}

fn options(target: &Target, mode: SslMode) -> OptsBuilder {
    let settings = &target.settings;
    let options = OptsBuilder::default()
        .user(Some(&settings.user))
        .pass(target.password.as_ref().map(Secret::expose))
        .prefer_socket(false)
        // Nothing that a server sends makes us read a file.
        .max_allowed_packet(Some(64 * 1024 * 1024))
        .wait_timeout(Some(28_800))
        .tcp_keepalive(Some(Duration::from_secs(10)));
    if let Some(socket) = &settings.socket {
        return options.socket(Some(socket.to_string_lossy()));
    }
    let (host, port) = target.dialled.clone().unwrap_or_else(|| (settings.host.clone(), settings.port));
    let options = options.ip_or_hostname(host).tcp_port(port);
    if mode == SslMode::Disable { options } else { options.ssl_opts(tls(target, mode)) }
}

fn tls(target: &Target, mode: SslMode) -> SslOpts {
    // The library takes the process' provider only, and would panic without one.
    if CryptoProvider::get_default().is_none() {
        let _there_already = ring::default_provider().install_default();
    }
    let settings = &target.settings;
    // The name that the certificate must be for is the host's, wherever it is dialled.
    let options = SslOpts::default().with_danger_tls_hostname_override(Some(settings.host.clone()));
    let verified = match mode {
        SslMode::Disable | SslMode::Prefer => None,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => settings.ssl_root_cert.clone(),
    };
    match verified {
        Some(root) => options
            .with_root_certs(vec![root.into()])
            .with_disable_built_in_roots(true)
            .with_danger_skip_domain_validation(mode != SslMode::VerifyFull),
        None => options.with_danger_accept_invalid_certs(true),
    }
}
