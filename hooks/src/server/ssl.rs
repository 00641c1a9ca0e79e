//! How far TLS is asked for, and the schema of a connection's settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use standstill_core::{Error, Result};

/// How far TLS is asked for, in libpq's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS where the server has it, without looking at its certificate.
    #[default]
    Prefer,
    /// TLS or nothing; the certificate is looked at only if `sslRootCert` is given.
    Require,
    /// The certificate must come from `sslRootCert`.
    VerifyCa,
    /// As verify-ca, and it must be for the host that was asked for.
    VerifyFull,
}

impl SslMode {
    /// What is usual where a port has TLS or has it not.
    pub fn disabled() -> Self {
        Self::Disable
    }

    /// Refuses `prefer` for a server of whose ports each has TLS or has it not, so that nothing can be preferred.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] where it is `prefer`.
    pub fn decided(self, product: &str) -> Result<()> {
        if self != Self::Prefer {
            return Ok(());
        }
        Err(Error::input(format!(
            "a port of {product} has TLS or has it not, so sslmode `prefer` means nothing"
        ))
        .remedy("Set `sslmode` to disable, require, verify-ca or verify-full."))
    }
}

/// The JSON Schema of a connection's settings, with the password, which is no part of them, marked as secret.
pub(crate) fn with_password<S: JsonSchema>(description: &str) -> Value {
    let mut schema = schemars::schema_for!(S).to_value();
    schema["properties"]["password"] = json!({
        "description": description,
        "type": "string",
        "x-secret": true,
    });
    schema
}
