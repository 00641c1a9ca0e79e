//! Reaching a server: TCP, TLS or a Unix socket.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use standstill_core::{Error, Result};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

use super::{
    errors,
    settings::{Settings, Target},
};

/// A way to a server and back.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Reaches the server. There is no deadline in here.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when nobody listens or the certificates do not fit.
pub(super) async fn dial(target: &Target) -> Result<Box<dyn Stream>> {
    let settings = &target.settings;
    let unreachable = |cause| errors::unreachable(cause, &target.place());
    if let Some(socket) = &settings.socket {
        return Ok(Box::new(UnixStream::connect(socket).await.map_err(unreachable)?));
    }
    let (host, port) = target.dialled.clone().unwrap_or_else(|| (settings.host.clone(), settings.port));
    let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    // Every message of ours waits for its answer.
    stream.set_nodelay(true).map_err(unreachable)?;
    if !settings.tls {
        return Ok(Box::new(stream));
    }
    // The name that the certificate must be for is the host's, wherever it is dialled.
    let name = ServerName::try_from(settings.host.clone())
        .map_err(|cause| errors::tls(&target.place()).because(cause))?;
    let connector = TlsConnector::from(Arc::new(configuration(settings)?));
    let secured = connector.connect(name, stream).await;
    Ok(Box::new(secured.map_err(|cause| errors::not_secured(cause, &target.place()))?))
}

fn configuration(settings: &Settings) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &settings.tls_ca {
        let (added, _) = roots.add_parsable_certificates(certificates(path)?);
        if added == 0 {
            return Err(unusable(path, "holds no certificate of an authority"));
        }
    }
    let failed = |cause| Error::failed("TLS cannot be set up").because(cause);
    // Nothing here relies on a provider of the whole process.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_root_certificates(roots);
    match (&settings.tls_cert, &settings.tls_key) {
        (Some(certificate), Some(path)) => {
            let key = PrivateKeyDer::from_pem_file(path)
                .map_err(|cause| unusable(path, "holds no private key").because(cause))?;
            builder
                .with_client_auth_cert(certificates(certificate)?, key)
                .map_err(|cause| unusable(certificate, "does not fit its key").because(cause))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| unusable(path, "cannot be read as certificates").because(cause))
}

fn unusable(path: &Path, what: &str) -> Error {
    Error::input(format!("{} {what}", path.display()))
        .remedy("Set `tlsCa`, `tlsCert` and `tlsKey` of the connection to readable PEM files.")
}

/// Whether a broken-off handshake is about certificates.
pub(super) fn is_tls(cause: &io::Error) -> bool {
    cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}
