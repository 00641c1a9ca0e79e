//! How object stores are spoken to, and whom to trust there: the certificates of the system or, where it has none (a
//! container image of few files), those that browsers trust.

use std::sync::OnceLock;

use opendal::HttpTransporter;
use opendal_http_transport_reqwest::ReqwestTransport;
use reqwest::{Certificate, Client};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// Makes the client that all object stores are reached by; once for the whole process.
pub(super) fn install() -> reqwest::Result<()> {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    if INSTALLED.get().is_none() {
        HttpTransporter::install_default(ReqwestTransport::new(client()?));
        let _by_another_thread = INSTALLED.set(());
    }
    Ok(())
}

fn client() -> reqwest::Result<Client> {
    Client::builder().build().or_else(|cause| {
        tracing::debug!("the system has no certificates ({cause}); those that browsers trust are taken");
        without_system()
    })
}

/// A client that trusts whom browsers trust.
fn without_system() -> reqwest::Result<Client> {
    let roots = TLS_SERVER_ROOT_CERTS.iter().map(|root| Certificate::from_der(root));
    Client::builder().tls_certs_only(roots.collect::<reqwest::Result<Vec<_>>>()?).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_certificates_can_still_reach_object_stores() {
        let _already = rustls::crypto::ring::default_provider().install_default();
        assert!(TLS_SERVER_ROOT_CERTS.len() > 100);
        without_system().unwrap();
    }
}
