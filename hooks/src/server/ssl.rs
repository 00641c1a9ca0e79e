//! How far TLS is asked for, and the schema of a connection's settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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
