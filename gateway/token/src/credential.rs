//! Server credentials for the REST API: short-lived JWTs that name their project.
//!
//! A credential is signed like a client token, so the two must never be confused. Otherwise a client
//! could act as its project's server with the token it was given to join, or with a token of one of
//! the vendor's other products, which are signed with the same key and limited to a user.

use std::time::Duration;

use serde::{Deserialize, de::IgnoredAny};
use signalbox_protocol::ProjectKey;

use crate::{
    CredentialError, KeyStore, LEEWAY,
    claims::{EXPIRES_FIRST, seconds},
    jwt,
};

/// Maximum lifetime of a credential, from when it was issued. SDKs use 3 to 15 minutes; one that is
/// valid for months would be a password on the wire.
pub const MAX_CREDENTIAL_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum length of a credential, in bytes. SDKs write about 350, and 700 with RS256.
const MAX_BYTES: usize = 4096;

#[derive(Deserialize)]
struct CredentialClaims {
    #[serde(default, deserialize_with = "seconds")]
    iat: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    nbf: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    exp: Option<Duration>,
    /// Only client tokens have these.
    session_id: Option<IgnoredAny>,
    scope: Option<IgnoredAny>,
    role: Option<IgnoredAny>,
    sub: Option<IgnoredAny>,
    acl: Option<IgnoredAny>,
}

impl CredentialClaims {
    fn is_client_token(&self) -> bool {
        let Self { session_id, scope, role, sub, acl, .. } = self;
        [session_id, scope, role, sub, acl].into_iter().any(Option::is_some)
    }
}

/// Verifies a credential at `now` (Unix time) and returns the key of its project.
///
/// # Errors
/// [`CredentialError`].
pub fn verify_credential<'a>(
    store: &'a impl KeyStore,
    credential: &str,
    now: Duration,
) -> Result<&'a ProjectKey, CredentialError> {
    let reject = |why| Err(CredentialError::Unauthorized(why));
    if credential.len() > MAX_BYTES {
        return reject("the credential has more than 4096 bytes");
    }
    let signed = jwt::verify::<CredentialClaims>(store, credential)?;
    let claims = signed.claims;
    if claims.is_client_token() {
        return reject(
            "this is a client token (it has a session_id, scope, role, sub or acl), which is not valid \
             for the REST API",
        );
    }
    let Some(exp) = claims.exp else { return reject("it has no expiry (exp)") };
    let issued_at = claims.iat.unwrap_or(now);
    if [issued_at, claims.nbf.unwrap_or_default()].iter().any(|time| *time > now + LEEWAY) {
        return reject(
            "it is not valid yet (iat or nbf is in the future); check the clock of the server that \
             created it",
        );
    }
    if exp.saturating_add(LEEWAY) <= now {
        return reject("it has expired");
    }
    if claims.iat.is_some_and(|iat| exp < iat) {
        return reject(EXPIRES_FIRST);
    }
    if exp.saturating_sub(issued_at) > MAX_CREDENTIAL_LIFETIME {
        return reject("it is valid for more than 24 hours (exp minus iat)");
    }
    Ok(signed.project)
}
