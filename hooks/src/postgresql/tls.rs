//! The TLS side of a connection.

use standstill_core::Result;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::settings::Settings;
use crate::server::tls::{self, Trusted};

/// The TLS side of a connection with these settings.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when a root certificate is needed and missing, or is none.
pub(super) fn connector(settings: &Settings) -> Result<MakeRustlsConnect> {
    let trusted = Trusted { mode: settings.sslmode, roots: settings.ssl_root_cert.as_deref(), own: None };
    Ok(MakeRustlsConnect::new(tls::client(&trusted)?))
}
