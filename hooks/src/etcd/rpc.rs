//! gRPC as etcd speaks it: one HTTP/2 connection, messages behind five bytes, and a status after the last one.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use h2::{
    RecvStream,
    client::{Builder, SendRequest},
};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use standstill_core::{Error, Result, units::show_duration};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    connect::{self, Stage},
    settings::Target,
};
use crate::server::{
    driver::{AbortOnDrop, spawn},
    ssl::SslMode,
};

/// The longest message that is taken: snapshots come in pieces of 32 KiB, and no other answer that is asked for
/// comes near.
const LONGEST: usize = 16 * 1024 * 1024;

/// How much may be on its way: enough for a snapshot to use a fast network.
const WINDOW: u32 = 4 * 1024 * 1024;

/// What carries a connection.
pub(super) trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

/// A status that is not 0, in etcd's own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (gRPC status {code})")]
pub(super) struct Refusal {
    /// The status, as the protocol numbers them.
    pub code: u32,
    /// What etcd said.
    pub message: String,
}

/// Whose error it is.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection is gone, or gave no answer.
    Ours(Error),
    /// The server refused.
    Theirs(Refusal),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

/// A connection. Dropping it closes it.
pub(super) struct Channel {
    requests: SendRequest<Bytes>,
    _task: AbortOnDrop<()>,
    uri: String,
    token: Option<String>,
    place: String,
    /// Whether it is known that etcd is at the other end.
    answered: AtomicBool,
    /// Whether it has TLS.
    encrypted: bool,
}

impl Channel {
    /// Connects. Nothing is said yet: whether etcd listens shows with the first question.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when nobody listens or TLS fails.
    pub async fn open(target: &Target) -> Result<Self> {
        let carrier = connect::carrier(target).await?;
        let (place, encrypted) = (target.place(), target.settings.sslmode != SslMode::Disable);
        let shaking = Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .enable_push(false)
            .handshake(carrier);
        let shaken = tokio::time::timeout(connect::CONNECT, shaking).await;
        let (requests, connection) = match shaken {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(cause)) => return Err(connect::no_etcd(&place).because(cause)),
            Err(_elapsed) => return Err(connect::silent(&place)),
        };
        let task = AbortOnDrop(spawn(async move {
            if let Err(cause) = connection.await {
                tracing::debug!(?cause, "a connection to etcd ended");
            }
        })?);
        Ok(Self {
            requests,
            _task: task,
            uri: target.uri(),
            token: None,
            place,
            answered: AtomicBool::new(false),
            encrypted,
        })
    }

    /// The server, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// From now on every question carries this token.
    pub fn authorize(&mut self, token: String) {
        self.token = Some(token);
    }

    /// Asks a question that has one answer. `attempt` fits after "trying to".
    pub async fn ask(
        &self,
        method: &str,
        request: Vec<u8>,
        within: Duration,
        attempt: &str,
    ) -> Result<Bytes, Failure> {
        let asking = async {
            let mut answers = self.stream(method, request, attempt).await?;
            let answer = answers.next().await?;
            // The status comes after the answer, and it decides.
            while answers.next().await?.is_some() {}
            answer.ok_or_else(|| Failure::Ours(answers.lost("no answer came back")))
        };
        tokio::time::timeout(within, asking).await.unwrap_or_else(|_elapsed| {
            let waited = show_duration(within);
            Err(Failure::Ours(
                Error::temporary(format!(
                    "etcd at {} gave no answer within {waited} on trying to {attempt}",
                    self.place
                ))
                .remedy("Check the network, the server's load, and that the cluster has a leader."),
            ))
        })
    }

    /// Asks a question that has many answers.
    pub async fn stream(&self, method: &str, request: Vec<u8>, attempt: &str) -> Result<Answers, Failure> {
        let place = self.place.clone();
        let stage = || match (self.answered.load(Ordering::Relaxed), self.encrypted) {
            (true, _) => Stage::Answered,
            (false, true) => Stage::Encrypted,
            (false, false) => Stage::Plain,
        };
        let lost = |cause: h2::Error| Failure::Ours(connect::broken(&place, attempt, stage(), cause));
        let question = self.question(method)?;
        let mut requests = self.requests.clone().ready().await.map_err(lost)?;
        let (answering, mut body) = requests.send_request(question, false).map_err(lost)?;
        body.send_data(framed(&request), true).map_err(lost)?;
        let answer = answering.await.map_err(lost)?;
        if answer.status().as_u16() != 200 {
            let error = connect::no_etcd(&self.place);
            return Err(Failure::Ours(error.during(&format!("HTTP status {}", answer.status().as_u16()))));
        }
        self.answered.store(true, Ordering::Relaxed);
        // A refusal without any answer may come as headers alone.
        if let Some(refusal) = refusal(answer.headers()) {
            return Err(Failure::Theirs(refusal));
        }
        Ok(Answers {
            body: answer.into_body(),
            waiting: BytesMut::new(),
            place: self.place.clone(),
            attempt: attempt.to_owned(),
            complete: false,
        })
    }
}

impl Channel {
    /// The head of a question.
    fn question(&self, method: &str) -> Result<Request<()>> {
        let strange = |cause: http::Error| {
            Error::input(format!("`{}` is no address of a server", self.place))
                .remedy("Correct `host` of the connection.")
                .because(cause)
        };
        let mut question = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{method}", self.uri))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(strange)?;
        if let Some(token) = &self.token {
            let mut token = HeaderValue::try_from(token.as_str()).map_err(|cause| strange(cause.into()))?;
            token.set_sensitive(true);
            question.headers_mut().insert("token", token);
        }
        Ok(question)
    }
}

/// The answers to one question.
pub(super) struct Answers {
    body: RecvStream,
    waiting: BytesMut,
    place: String,
    attempt: String,
    complete: bool,
}

impl Answers {
    /// The next answer; `None` only when the server said that this was all, and that it succeeded.
    ///
    /// # Errors
    /// When the connection is gone, the server refused, or the answers end without a status.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(message) = self.message()? {
                return Ok(Some(message));
            }
            if self.complete {
                return Ok(None);
            }
            match self.body.data().await {
                Some(Ok(bytes)) => {
                    // What was taken may be sent again; a connection that is gone tells with the next bytes.
                    let _gone = self.body.flow_control().release_capacity(bytes.len());
                    self.waiting.extend_from_slice(&bytes);
                }
                Some(Err(cause)) => return Err(self.gone(cause)),
                None => self.end().await?,
            }
        }
    }

    /// A whole message, if one is there.
    fn message(&mut self) -> Result<Option<Bytes>> {
        let Some((head, rest)) = self.waiting.split_first_chunk::<5>() else { return Ok(None) };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if head[0] != 0 || length > LONGEST {
            return Err(self.lost("the answer is compressed or too long, which etcd's never is"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.waiting.advance(5);
        Ok(Some(self.waiting.split_to(length).freeze()))
    }

    /// The end: only a status of 0 after whole messages is a good one.
    async fn end(&mut self) -> Result<(), Failure> {
        let trailers = self.body.trailers().await;
        let trailers = trailers.map_err(|cause| self.gone(cause))?;
        let status = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
        if status.is_none() || !self.waiting.is_empty() {
            return Err(Failure::Ours(self.lost("the answer ended in the middle")));
        }
        if let Some(refusal) = trailers.as_ref().and_then(refusal) {
            return Err(Failure::Theirs(refusal));
        }
        self.complete = true;
        Ok(())
    }

    fn gone(&self, cause: h2::Error) -> Failure {
        Failure::Ours(connect::broken(&self.place, &self.attempt, Stage::Answered, cause))
    }

    fn lost(&self, why: &str) -> Error {
        let (place, attempt) = (&self.place, &self.attempt);
        Error::temporary(format!("etcd at {place}, on trying to {attempt}: {why}"))
            .remedy("Look into the server's log.")
    }
}

/// A message with its length before it.
fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.extend_from_slice(&[0]);
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(message);
    framed.freeze()
}

/// What the headers or trailers of an answer say, unless they say that all is well.
fn refusal(headers: &HeaderMap) -> Option<Refusal> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let status = text("grpc-status")?;
    // What is no number is no success either.
    let code = status.parse().unwrap_or(u32::MAX);
    let message = text("grpc-message").unwrap_or_default();
    (code != 0).then(|| Refusal { code, message: plain(&message) })
}

/// Text with its percent-encoded bytes decoded, and without control characters.
fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hexadecimal =
            after.get(..2).filter(|_| byte == b'%').and_then(|two| std::str::from_utf8(two).ok());
        if let Some(decoded) = hexadecimal.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            bytes.push(decoded);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_a_status_of_0_is_no_refusal() {
        assert_eq!(refusal(&headers(&[("grpc-status", "0")])), None);
        let denied = refusal(&headers(&[("grpc-status", "7"), ("grpc-message", "permission%20denied%0a")]));
        assert_eq!(denied, Some(Refusal { code: 7, message: "permission denied".into() }));
        assert_eq!(refusal(&headers(&[("grpc-status", "fine")])).unwrap().code, u32::MAX);
    }

    #[test]
    fn a_message_has_its_length_before_it() {
        assert_eq!(framed(b"abc").as_ref(), [0, 0, 0, 0, 3, b'a', b'b', b'c']);
        assert_eq!(plain("100%, %zz %c3%a9"), "100%, %zz \u{e9}");
    }
}
