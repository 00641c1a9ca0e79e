//! The way to a member: TCP or TLS, and what is said when it leads nowhere.

use std::{io, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use standstill_core::{Error, Result, units::show_duration};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{rpc::Carrier, settings::Target};
use crate::server::{
    driver::{AbortOnDrop, spawn},
    ssl::SslMode,
    tls::{self, Trusted},
};

/// How long it may take to connect, and to agree on a protocol.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// Connects to a member.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when nobody listens, or TLS cannot be agreed on.
pub(super) async fn carrier(target: &Target) -> Result<Box<dyn Carrier>> {
    let place = target.place();
    let target = target.clone();
    // Where sockets are served, so that no busy thread keeps one from being read.
    let mut connecting = AbortOnDrop(spawn(async move { connect(&target).await })?);
    match tokio::time::timeout(CONNECT, &mut connecting.0).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(cause)) => {
            Err(Error::failed(format!("connecting to etcd at {place} broke off")).because(cause))
        }
        Err(_elapsed) => Err(silent(&place)),
    }
}

async fn connect(target: &Target) -> Result<Box<dyn Carrier>> {
    let place = target.place();
    let (host, port) = &target.dialled;
    let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|cause| refused(&place, cause))?;
    // Questions are small, and each is waited for.
    let _not_there = stream.set_nodelay(true);
    let settings = &target.settings;
    if settings.sslmode == SslMode::Disable {
        return Ok(Box::new(stream));
    }
    let mut config = tls::client(&Trusted {
        mode: settings.sslmode,
        roots: settings.ssl_root_cert.as_deref(),
        own: settings.ssl_cert.as_deref().zip(settings.ssl_key.as_deref()),
    })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(settings.host.clone()).map_err(|cause| {
        Error::input(format!("`{}` is no name that a certificate can be for", settings.host)).because(cause)
    })?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    Ok(Box::new(connected.map_err(|cause| no_tls(&place, cause))?))
}

fn refused(place: &str, cause: io::Error) -> Error {
    let error = match cause.kind() {
        io::ErrorKind::ConnectionRefused => Error::input(format!("nobody listens at {place}"))
            .remedy("Start etcd, or correct `host` and `port` of the connection."),
        _ => Error::input(format!("cannot connect to etcd at {place}"))
            .remedy("Check `host` and `port` of the connection, and that a firewall lets it through."),
    };
    error.because(cause)
}

fn no_tls(place: &str, cause: io::Error) -> Error {
    let error = match tls_fault(&cause) {
        Some(rustls::Error::InvalidCertificate(_)) => {
            Error::input(format!("the TLS certificate of etcd at {place} is not trusted"))
                .remedy("Set `sslRootCert` to the authority that signed it, connect by the name it is for, or choose a weaker `sslmode` knowingly.")
        }
        Some(rustls::Error::AlertReceived(_)) => refused_by_tls(place),
        _ => Error::input(format!("TLS with etcd at {place} fails"))
            .remedy("Check that this port has TLS; set `sslmode: disable` if it has not."),
    };
    error.because(cause)
}

fn tls_fault(cause: &io::Error) -> Option<&rustls::Error> {
    cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
}

fn refused_by_tls(place: &str) -> Error {
    Error::input(format!("etcd at {place} refuses our side of TLS"))
        .remedy("Set `sslCert` and `sslKey` to a certificate that the server's `--trusted-ca-file` signed.")
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Connected without TLS; nothing was answered yet.
    Plain,
    /// TLS was agreed on, as far as we can see; nothing was answered yet.
    Encrypted,
    /// etcd has answered.
    Answered,
}

/// The connection broke. Before the first answer that shows what is wrong with the address: a port with TLS closes on
/// who does not speak it, and one that asks for a certificate closes only when the handshake is over for us.
pub(super) fn broken(place: &str, attempt: &str, stage: Stage, cause: h2::Error) -> Error {
    let error = match stage {
        Stage::Encrypted if cause.is_io() => refused_by_tls(place),
        Stage::Plain | Stage::Encrypted => no_etcd(place),
        Stage::Answered => lost(place, attempt),
    };
    error.because(cause)
}

/// Whatever answers does not speak etcd's protocol.
pub(super) fn no_etcd(place: &str) -> Error {
    Error::input(format!("what listens at {place} does not answer as etcd")).remedy(
        "Check that `host` and `port` are those of etcd's clients, and whether the port has TLS (`sslmode`).",
    )
}

/// Nobody answered in time.
pub(super) fn silent(place: &str) -> Error {
    Error::input(format!("no answer from etcd at {place} within {}", show_duration(CONNECT)))
        .remedy("Check `host` and `port` of the connection, and that a firewall lets it through.")
}

/// The connection ended in the middle of something.
fn lost(place: &str, attempt: &str) -> Error {
    Error::temporary(format!("lost the connection to etcd at {place} on trying to {attempt}"))
        .remedy("Check that the member runs, and look into its log; if the port has TLS, set `sslmode`.")
}
