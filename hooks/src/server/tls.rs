//! TLS as libpq's `sslmode` means it, by rustls with an explicit provider.
//!
//! Nothing here relies on a process-wide default provider: two libraries that bring one each would make
//! rustls refuse to choose.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use standstill_core::{Error, Result};

use super::ssl::SslMode;

/// Whom a client trusts, and who it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trusted<'a> {
    /// How far TLS is asked for.
    pub mode: SslMode,
    /// A PEM file with the certificates that the server's must come from.
    pub roots: Option<&'a Path>,
    /// PEM files with our own certificate and its key, where a server asks for one.
    pub own: Option<(&'a Path, &'a Path)>,
}

/// What a server's certificate must stand up to.
#[derive(Debug)]
enum Trust {
    /// Any certificate will do (`prefer`, and `require` without a root certificate).
    Anybody,
    /// It comes from one of these, or is one of these.
    From {
        roots: Vec<CertificateDer<'static>>,
        chain: Arc<WebPkiServerVerifier>,
        /// Whether it must be for the host that was asked for.
        named: bool,
    },
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Trust::From { roots, chain, named } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Ok(verified) => return Ok(verified),
            // The name is the last thing that is looked at, so the chain is right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !named => return Ok(ServerCertVerified::assertion()),
            // A self-signed certificate that serves as its own authority (`openssl req -x509` makes one): libpq
            // takes it when it is in the root file. Its dates were looked at before this error came up.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if roots.iter().any(|root| root == end_entity) => {}
            Err(error) => return Err(error),
        }
        if *named {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The TLS side of a client.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when a certificate or key is needed and missing, or is none.
pub(crate) fn client(trusted: &Trusted<'_>) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let trust = trust(trusted, &provider)?;
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::failed("TLS cannot be set up").because(cause))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { trust, provider }));
    match trusted.own {
        None => Ok(config.with_no_client_auth()),
        Some((certificate, key)) => {
            let (chain, key) = (certificates(certificate)?, private_key(key)?);
            config.with_client_auth_cert(chain, key).map_err(|cause| {
                Error::input(format!("the certificate {} and its key do not fit", certificate.display()))
                    .remedy("Set `sslCert` and `sslKey` to a certificate and the key that it was made for.")
                    .because(cause)
            })
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|cause| {
        Error::input(format!("the certificate {} cannot be read", path.display()))
            .remedy("Set `sslCert` to a readable PEM file.")
            .because(cause)
    })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|cause| {
        Error::input(format!("the key {} cannot be read", path.display()))
            .remedy("Set `sslKey` to a PEM file that this user may read.")
            .because(cause)
    })
}

fn trust(trusted: &Trusted<'_>, provider: &Arc<CryptoProvider>) -> Result<Trust> {
    let named = trusted.mode == SslMode::VerifyFull;
    let must = named || trusted.mode == SslMode::VerifyCa;
    // As in libpq, `require` with a root certificate verifies it, `prefer` never does.
    let roots = match (trusted.roots, trusted.mode) {
        (_, SslMode::Disable | SslMode::Prefer) | (None, _) => None,
        (Some(path), _) => Some(path),
    };
    match roots {
        Some(path) => from(path, named, provider),
        None if must => Err(Error::input("sslmode verify-ca and verify-full need a root certificate")
            .remedy("Set `sslRootCert` to a PEM file with the authority's certificate, such as /etc/ssl/certs/ca-certificates.crt.")),
        None => Ok(Trust::Anybody),
    }
}

fn from(path: &Path, named: bool, provider: &Arc<CryptoProvider>) -> Result<Trust> {
    let wrong = |what: &str| {
        Error::input(format!("the root certificate {} {what}", path.display()))
            .remedy("Set `sslRootCert` to a readable PEM file with the authority's certificate.")
    };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let roots = read.map_err(|cause| wrong("cannot be read").because(cause))?;
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(roots.iter().cloned());
    if added == 0 {
        return Err(wrong("holds no certificate"));
    }
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
        .build()
        .map_err(|cause| wrong("cannot be used").because(cause))?;
    Ok(Trust::From { roots, chain, named })
}
