//! Sessions: one connection that is ours alone, with a deadline on everything.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, RedisConnectionInfo, RedisError, Value,
    aio::MultiplexedConnection,
};
use standstill_core::{Error, Result, hook::HookContext, secret::Secret};
use tokio::task::JoinHandle;

use super::{dial::dial, errors, settings::Target};
use crate::server::driver::{AbortOnDrop, spawn};

/// How long opening a session may take.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// How long a command may take that only looks something up. A server answers one command after the other, so a
/// slow one of somebody else counts too.
pub(super) const LOOKUP: Duration = Duration::from_secs(10);

/// A connection. It is never made anew: one that is lost is an error. Dropping it closes it.
pub(super) struct Session {
    connection: MultiplexedConnection,
    task: JoinHandle<()>,
    place: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    /// Opens a session with the server that the context names.
    pub async fn open(context: &HookContext) -> Result<Self> {
        Self::to(&Target::of(context).await?).await
    }

    /// Opens a session.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when nobody listens, the password is wrong or TLS is refused;
    /// `Temporary` while the server loads its data.
    pub async fn to(target: &Target) -> Result<Self> {
        let (place, tls) = (target.place(), target.settings.tls);
        let target = target.clone();
        // The socket belongs to the sessions' thread, so that no busy runner keeps a renewal from going out.
        let mut opening = AbortOnDrop(spawn(async move { Self::dialled(&target).await })?);
        tokio::time::timeout(CONNECT, &mut opening.0)
            .await
            .map_err(|_elapsed| {
                let remedy = if tls {
                    "Check `host` and `port` of the connection: with `tls` the port is the server's `tls-port`."
                } else {
                    "Check `host` and `port` of the connection, and that a firewall lets it through."
                };
                Error::input(format!("no answer from {place} within {} s", CONNECT.as_secs())).remedy(remedy)
            })?
            .map_err(|cause| Error::failed("opening a session broke off").because(cause))?
    }

    async fn dialled(target: &Target) -> Result<Self> {
        let stream = dial(target).await?;
        // The deadlines are ours.
        let configuration =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let opened =
            MultiplexedConnection::new_with_config(&credentials(target), stream, configuration).await;
        let (connection, driver) = opened.map_err(|cause| errors::connecting(cause, target))?;
        let task = spawn(driver)?;
        let session = Self { connection, task, place: target.place() };
        // A server that wants a password answers whoever gives none only now.
        let greeted = session.raw(LOOKUP, "greet the server", redis::cmd("PING")).await?;
        match greeted.extract_error() {
            // The permission to ping is not needed for anything.
            Err(cause) if !is_forbidden(&cause) => Err(errors::connecting(cause, target)),
            _ => Ok(session),
        }
    }

    /// The server, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.task.is_finished()
    }

    async fn raw(&self, within: Duration, attempt: &str, command: Cmd) -> Result<Value> {
        let mut connection = self.connection.clone();
        match tokio::time::timeout(within, connection.send_packed_command(&command)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(cause)) => Err(errors::answer(cause, attempt, &self.place)),
            Err(_elapsed) => Err(errors::silent(attempt, &self.place, within)),
        }
    }

    /// Gives one command and returns the server's own answer, which may be an error of its.
    ///
    /// # Errors
    /// When the session is lost, or gave no answer in time.
    pub async fn command(
        &self,
        within: Duration,
        attempt: &str,
        words: &[&str],
    ) -> Result<Result<Value, RedisError>> {
        Ok(self.raw(within, attempt, command(words)).await?.extract_error())
    }

    /// Gives one command. `attempt` fits after "failed to".
    pub async fn ask<T: FromRedisValue>(&self, within: Duration, attempt: &str, words: &[&str]) -> Result<T> {
        let value = self.command(within, attempt, words).await?;
        let value = value.map_err(|cause| errors::answer(cause, attempt, &self.place))?;
        redis::from_redis_value(value).map_err(|cause| errors::strange(attempt, &self.place).because(cause))
    }

    /// Gives commands in one write, and returns the server's own answers.
    ///
    /// # Errors
    /// When the session is lost, or gave no answer in time.
    pub async fn together(
        &self,
        within: Duration,
        attempt: &str,
        commands: &[&[&str]],
    ) -> Result<Vec<Result<Value, RedisError>>> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for words in commands {
            pipeline.add_command(command(words));
        }
        let mut connection = self.connection.clone();
        let sent = connection.send_packed_commands(&pipeline, 0, commands.len());
        match tokio::time::timeout(within, sent).await {
            Ok(Ok(values)) => Ok(values.into_iter().map(Value::extract_error).collect()),
            Ok(Err(cause)) => Err(errors::answer(cause, attempt, &self.place)),
            Err(_elapsed) => Err(errors::silent(attempt, &self.place, within)),
        }
    }
}

fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command
}

fn credentials(target: &Target) -> RedisConnectionInfo {
    // The library's name would be told by a command that few users may give.
    let info = RedisConnectionInfo::default().set_skip_set_lib_name();
    let user = target.settings.user.as_str();
    match target.password.as_ref().map(Secret::expose) {
        Some(password) => info.set_username(user).set_password(password),
        // Users without a password must say who they are, too.
        None if user != "default" => info.set_username(user).set_password(""),
        None => info,
    }
}

fn is_forbidden(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoPerm)
}
