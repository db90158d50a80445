//! Claims of client tokens, and the times that all claims have in common.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use signalbox_protocol::Role;

/// The fault of a token whose expiry precedes its issue.
pub(crate) const EXPIRES_FIRST: &str = "it expires before it was issued (exp is before iat)";

/// The vendor's claims that matter here. Some SDKs write `null` for an absent one.
#[derive(Default, Deserialize)]
pub(crate) struct ClientClaims {
    pub(crate) session_id: String,
    pub(crate) role: Option<Role>,
    pub(crate) connection_data: Option<String>,
    pub(crate) scope: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    pub(crate) iat: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    pub(crate) nbf: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    pub(crate) exp: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    pub(crate) create_time: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    pub(crate) expire_time: Option<Duration>,
    /// The token's id; `nonce` in a legacy token.
    #[serde(default, deserialize_with = "token_id")]
    pub(crate) jti: Option<String>,
}

/// Reads a token's id. It is a string (RFC 7519 §4.1.7), but some libraries write a number. A value
/// of any other type counts as none, as an id is optional.
fn token_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(id) if !id.is_empty() => Some(id),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    })
}

/// Reads a NumericDate (RFC 7519 §2): seconds since 1970, possibly with a fraction.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let seconds = Option::<f64>::deserialize(deserializer)?;
    seconds
        .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom))
        .transpose()
}
