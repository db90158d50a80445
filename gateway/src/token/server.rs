//! A server's credential for the REST API: a short-lived JWT that names its project.
//!
//! It is signed as client tokens are, so it must never be mistaken for one: a client could
//! otherwise act as its project's server with the token that it was given to join, or with one of
//! the vendor's other products, which are signed with the same key and limited to a user.

use std::time::Duration;

use serde::{Deserialize, de::IgnoredAny};

use super::{EXPIRES_FIRST, LEEWAY, TokenError, jwt, seconds};
use crate::project::{Project, Projects};

/// How long a credential may be good, from when it was issued. SDKs use 3 to 15 minutes; one that
/// lives for months would be a password on the wire.
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest credential, in bytes. SDKs write about 350, and 700 with RS256.
const MAX_BYTES: usize = 4096;

/// Why a credential opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CredentialError {
    /// No project of that key is configured.
    #[error("the credential's issuer is no project of this gateway")]
    UnknownProject,
    /// Anything else.
    #[error("{0}")]
    Unauthorized(&'static str),
}

impl From<TokenError> for CredentialError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::UnknownProject => Self::UnknownProject,
            TokenError::Signature => Self::Unauthorized(
                "the signature is not good: is it the project's secret (HS256) or private key \
                 (RS256)?",
            ),
            TokenError::Malformed(what) => Self::Unauthorized(what),
            _ => Self::Unauthorized("not a credential"),
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default, deserialize_with = "seconds")]
    iat: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    nbf: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    exp: Option<Duration>,
    /// Only clients' tokens have these.
    session_id: Option<IgnoredAny>,
    scope: Option<IgnoredAny>,
    role: Option<IgnoredAny>,
    sub: Option<IgnoredAny>,
    acl: Option<IgnoredAny>,
}

impl Claims {
    fn is_clients(&self) -> bool {
        let Self { session_id, scope, role, sub, acl, .. } = self;
        [session_id, scope, role, sub, acl].into_iter().any(Option::is_some)
    }
}

/// The project whose server holds this credential, at `now` in Unix time.
pub(crate) fn verify<'a>(
    projects: &'a Projects,
    credential: &str,
    now: Duration,
) -> Result<&'a Project, CredentialError> {
    let refuse = |why| Err(CredentialError::Unauthorized(why));
    if credential.len() > MAX_BYTES {
        return refuse("the credential has more than 4096 bytes");
    }
    let (project, claims): (_, Claims) = jwt::verify(projects, credential)?;
    if claims.is_clients() {
        return refuse(
            "this is a client's token (it has a session_id, scope, role, sub or acl), which opens a \
             session and not the REST API",
        );
    }
    let Some(exp) = claims.exp else { return refuse("it has no expiry (exp)") };
    let issued_at = claims.iat.unwrap_or(now);
    if [issued_at, claims.nbf.unwrap_or_default()].iter().any(|time| *time > now + LEEWAY) {
        return refuse("it is of the future; check the clock of the server that made it");
    }
    if exp.saturating_add(LEEWAY) <= now {
        return refuse("it has expired");
    }
    if claims.iat.is_some_and(|iat| exp < iat) {
        return refuse(EXPIRES_FIRST);
    }
    if exp.saturating_sub(issued_at) > MAX_LIFETIME {
        return refuse("it is good for more than 24 hours (exp less iat)");
    }
    Ok(project)
}
