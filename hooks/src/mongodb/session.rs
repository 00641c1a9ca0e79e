//! Sessions: one connection that is ours alone and never made anew, with a deadline on everything.

use std::{sync::Arc, time::Duration};

use bson::{Bson, Document, RawDocumentBuf, doc, spec::BinarySubtype};
use rustls::{crypto::ring, pki_types::ServerName};
use standstill_core::{Error, Result, hook::HookContext};
use tokio::{net::TcpStream, sync::Mutex, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    errors::{self, Refusal},
    scram::Login,
    settings::Target,
    wire::{Connection, Stream, question},
};
use crate::server::{
    driver::{AbortOnDrop, spawn},
    ssl::SslMode,
    tls::{self, Trusted},
};

/// How long opening a session may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a command may take that only looks something up.
pub(super) const LOOKUP: Duration = Duration::from_secs(10);
/// The name by which the server's log and `db.currentOp()` know us.
const NAME: &str = "standstill";

/// A connection. One that is lost is an error, for ever. Dropping it closes it.
pub(super) struct Session {
    connection: Arc<Mutex<Connection>>,
    place: String,
    user: String,
    /// What the server said of itself when the session was opened.
    pub hello: RawDocumentBuf,
}

impl Session {
    /// Opens a session with the server that the context names.
    pub async fn open(context: &HookContext) -> Result<Self> {
        Self::to(&Target::of(context).await?).await
    }

    /// Opens a session.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when nobody listens, the password is wrong or TLS is refused.
    pub async fn to(target: &Target) -> Result<Self> {
        let (place, target) = (target.place(), target.clone());
        // The socket belongs to the sessions' thread, so that no busy runner keeps a renewal from going out.
        let mut opening = AbortOnDrop(spawn(async move { Self::dialled(&target).await })?);
        timeout(CONNECT, &mut opening.0)
            .await
            .map_err(|_elapsed| errors::no_answer(&place, CONNECT))?
            .map_err(|cause| Error::failed("opening a session broke off").because(cause))?
    }

    async fn dialled(target: &Target) -> Result<Self> {
        let place = target.place();
        let mut connection = Connection::over(dial(target).await?);
        let hello = doc! {"hello": 1, "client": {
            "application": {"name": NAME},
            "driver": {"name": NAME, "version": env!("CARGO_PKG_VERSION")},
            "os": {"type": std::env::consts::OS},
        }, "$db": "admin"};
        let asked = question(&hello).map_err(|cause| errors::lost("greet it", &place, cause))?;
        let hello = connection.exchange(&asked).await.map_err(|cause| errors::no_mongodb(&place, cause))?;
        let user = target.settings.user.clone();
        let session = Self { connection: Arc::new(Mutex::new(connection)), place, user, hello };
        if let Some(refusal) = Refusal::of(&session.hello) {
            return Err(errors::refused(refusal, "say who it is (hello)", &session.place, ""));
        }
        if !session.user.is_empty() {
            session.log_in(target).await?;
        }
        Ok(session)
    }

    async fn log_in(&self, target: &Target) -> Result<()> {
        let password = target.password.as_ref().ok_or_else(|| errors::no_password(target))?;
        let mut nonce = [0; 24];
        ring::default_provider()
            .secure_random
            .fill(&mut nonce)
            .map_err(|_| Error::failed("the system gives no random bytes"))?;
        let login = Login::of(&self.user, &nonce);
        let source = &target.settings.auth_source;
        let step = async |command: Document| {
            let answer = self.raw(source, LOOKUP, "log in", command).await?;
            match Refusal::of(&answer) {
                Some(refusal) => Err(errors::locked_out(refusal, target)),
                None => Ok(answer),
            }
        };
        let strange = || errors::strange("log in", &self.place);
        let first = doc! {
            "saslStart": 1,
            "mechanism": "SCRAM-SHA-256",
            "payload": payload(&login.first()),
            "options": {"skipEmptyExchange": true},
        };
        let answer = step(first).await?;
        let conversation = answer.get_i32("conversationId").map_err(|_| strange())?;
        let challenge = text(&answer).ok_or_else(strange)?;
        // Thousands of rounds of hashing: they are slow on purpose.
        let answered = login.answer(&challenge, password.expose());
        let (proof, servers) = answered.ok_or_else(|| errors::impostor(&self.place))?;
        let going_on = |said: &str| {
            doc! {"saslContinue": 1, "conversationId": conversation, "payload": payload(said)}
        };
        let mut answer = step(going_on(&proof)).await?;
        if !text(&answer).is_some_and(|last| servers.holds(&last)) {
            return Err(errors::impostor(&self.place));
        }
        if !answer.get_bool("done").unwrap_or(false) {
            answer = step(going_on("")).await?;
        }
        if answer.get_bool("done").unwrap_or(false) { Ok(()) } else { Err(strange()) }
    }

    /// The server, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The user, for messages; empty where nobody logged in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Gives a command, and returns the answer whatever it is.
    async fn raw(
        &self,
        database: &str,
        within: Duration,
        attempt: &str,
        mut command: Document,
    ) -> Result<RawDocumentBuf> {
        command.insert("$db", database);
        let bytes = question(&command).map_err(|cause| errors::lost(attempt, &self.place, cause))?;
        self.exchange(within, attempt, bytes).await
    }

    async fn exchange(&self, within: Duration, attempt: &str, bytes: Vec<u8>) -> Result<RawDocumentBuf> {
        let connection = Arc::clone(&self.connection);
        // A task of the sessions' thread; it ends with the one who waits, and has broken the connection then.
        let mut task = AbortOnDrop(spawn(async move { connection.lock().await.exchange(&bytes).await })?);
        match timeout(within, &mut task.0).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(cause))) => Err(errors::lost(attempt, &self.place, cause)),
            Ok(Err(cause)) => Err(Error::failed(format!("broke off on trying to {attempt}")).because(cause)),
            Err(_elapsed) => Err(errors::silent(attempt, &self.place, within)),
        }
    }

    /// Gives a command and returns the server's own answer, which may be a refusal.
    ///
    /// # Errors
    /// When the session is lost, or gave no answer in time.
    pub async fn command(
        &self,
        database: &str,
        within: Duration,
        attempt: &str,
        command: Document,
    ) -> Result<Result<RawDocumentBuf, Refusal>> {
        let answer = self.raw(database, within, attempt, command).await?;
        Ok(match Refusal::of(&answer) {
            Some(refusal) => Err(refusal),
            None => Ok(answer),
        })
    }

    /// Gives a command that changes something. `attempt` fits after "trying to".
    pub async fn run(
        &self,
        database: &str,
        within: Duration,
        attempt: &str,
        command: Document,
    ) -> Result<RawDocumentBuf> {
        let answered = self.command(database, within, attempt, command).await?;
        answered.map_err(|refusal| errors::refused(refusal, attempt, &self.place, &self.user))
    }

    /// Gives a command that was written as bytes already, with its database in it.
    pub async fn put(
        &self,
        within: Duration,
        attempt: &str,
        command: RawDocumentBuf,
    ) -> Result<RawDocumentBuf> {
        let answer = self.exchange(within, attempt, command.into_bytes()).await?;
        match Refusal::of(&answer) {
            Some(refusal) => Err(errors::refused(refusal, attempt, &self.place, &self.user)),
            None => Ok(answer),
        }
    }

    /// Gives a command that reads, which a secondary answers too.
    pub async fn ask(
        &self,
        database: &str,
        within: Duration,
        attempt: &str,
        mut command: Document,
    ) -> Result<RawDocumentBuf> {
        command.insert("$readPreference", doc! {"mode": "primaryPreferred"});
        self.run(database, within, attempt, command).await
    }
}

fn payload(text: &str) -> Bson {
    Bson::Binary(bson::Binary { subtype: BinarySubtype::Generic, bytes: text.as_bytes().to_vec() })
}

fn text(answer: &RawDocumentBuf) -> Option<String> {
    let bytes = answer.get_binary("payload").ok()?.bytes;
    String::from_utf8(bytes.to_vec()).ok()
}

/// Reaches the server, by TLS where it is asked for. There is no deadline in here.
async fn dial(target: &Target) -> Result<Box<dyn Stream>> {
    let (place, settings) = (target.place(), &target.settings);
    let (host, port) = &target.dialled;
    let stream = TcpStream::connect((host.as_str(), *port));
    let stream = stream.await.map_err(|cause| errors::unreachable(cause, &place))?;
    // Every message of ours waits for its answer.
    stream.set_nodelay(true).map_err(|cause| errors::unreachable(cause, &place))?;
    if settings.sslmode == SslMode::Disable {
        return Ok(Box::new(stream));
    }
    let config = tls::client(&Trusted {
        mode: settings.sslmode,
        roots: settings.ssl_root_cert.as_deref(),
        own: settings.ssl_cert.as_deref().zip(settings.ssl_key.as_deref()),
    })?;
    let name = ServerName::try_from(settings.host.clone()).map_err(|cause| {
        Error::input(format!("`{}` is no name that a certificate can be for", settings.host)).because(cause)
    })?;
    let secured = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    Ok(Box::new(secured.map_err(|cause| errors::not_secured(cause, &place))?))
}
