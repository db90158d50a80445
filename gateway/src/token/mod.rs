//! Tokens: who may join which session, as what, and until when; and whose servers may use the
//! REST API.
//!
//! A client token is made by the project's server and given to a client. Three forms are accepted,
//! all as the vendor's server SDKs write them: JWT (RFC 7519) signed with HS256 and the project's
//! secret, JWT signed with RS256 and an application's private key, and the legacy `T1==` form. A
//! server's own credential (`server.rs`) is a JWT of the same signatures that opens no session.
//! The algorithm is fixed by the kind of key that is configured and never taken from the token
//! (RFC 8725 §3.1). No error and no log line holds any part of a token.

mod jwt;
mod mint;
pub(crate) mod server;
mod t1;

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use signalbox_protocol::{CloseReason, ProjectKey, Role, SessionId, limits};

pub use self::{
    mint::{NewServerToken, NewToken, Signer},
    server::MAX_LIFETIME as MAX_SERVER_LIFETIME,
};
use crate::project::{Keys, Projects};

/// How far the clocks of a project's server and of the gateway may be apart.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// How long a token without an expiry is good, from when it was issued (the vendor's default).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a client token may be good, from when it was issued (the vendor's longest). One for
/// ever could only be taken back with the secret that signed it.
pub const MAX_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a token lets its bearer do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The session to join; its project is the one that signed.
    pub session: SessionId,
    /// What the connection may do.
    pub role: Role,
    /// What the others see of the bearer; at most 4096 bytes.
    pub connection_data: String,
    /// Until when the token is good, in Unix time, leeway not included.
    pub expires_at: Duration,
}

/// Why a token opens nothing. The bearer's fault, or that of whoever made the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is longer than tokens may be.
    #[error("the token has more than {max} bytes", max = limits::TOKEN_BYTES)]
    TooLong,
    /// It is not a token with the claims that a client token has.
    #[error("not a client token: {0}")]
    Malformed(&'static str),
    /// It is of the legacy form, which this gateway is told not to accept.
    #[error("tokens of the form T1== are not accepted here (setting auth.legacy_t1_tokens)")]
    T1,
    /// No project of that key is configured.
    #[error("the token's issuer is no project of this gateway")]
    UnknownProject,
    /// It is not signed with a key of its project, by the algorithm of that key.
    #[error("the token's signature is not good")]
    Signature,
    /// Its session belongs to another project than the one that signed it.
    #[error("the token's session belongs to another project")]
    WrongProject,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It is good for longer than tokens may be.
    #[error("the token is good for more than 30 days (exp less iat)")]
    TooLongLived,
    /// Its time has not come.
    #[error("the token is of the future; check the clock of the server that made it")]
    NotYet,
}

impl TokenError {
    /// The reason that the client is told.
    pub fn close_reason(&self) -> CloseReason {
        match self {
            Self::TooLong
            | Self::TooLongLived
            | Self::Malformed(_)
            | Self::T1
            | Self::UnknownProject
            | Self::Signature => CloseReason::InvalidToken,
            Self::WrongProject => CloseReason::WrongProject,
            Self::Expired | Self::NotYet => CloseReason::TokenExpired,
        }
    }
}

/// Checks a token against the projects, at `now` in Unix time. `t1` tells whether the legacy form
/// is accepted.
///
/// # Errors
/// [`TokenError`], in this order of checks: shape, project, signature, session, time.
pub fn verify(
    projects: &Projects,
    token: &str,
    t1: bool,
    now: Duration,
) -> Result<Grant, TokenError> {
    if token.len() > limits::TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    if let Some(encoded) = token.strip_prefix(t1::PREFIX) {
        if !t1 {
            return Err(TokenError::T1);
        }
        let (project, claims) = t1::verify(projects, encoded)?;
        return check(claims, project.key(), now);
    }
    let (project, claims): (_, Claims) = jwt::verify(projects, token)?;
    if matches!(project.keys(), Keys::Public(_)) && (claims.exp.is_none() || claims.role.is_none())
    {
        return Err(TokenError::Malformed("an application's token needs a role and an exp"));
    }
    check(claims, project.key(), now)
}

fn check(claims: Claims, project: &ProjectKey, now: Duration) -> Result<Grant, TokenError> {
    if claims.scope.as_deref().is_some_and(|scope| scope != SCOPE) {
        return Err(TokenError::Malformed("its scope is not session.connect"));
    }
    let connection_data = claims.connection_data.unwrap_or_default();
    if connection_data.len() > limits::CONNECTION_DATA_BYTES {
        return Err(TokenError::Malformed("its connection_data is longer than 4096 bytes"));
    }
    let session: SessionId = claims
        .session_id
        .parse()
        .map_err(|_| TokenError::Malformed("its session_id is no session id"))?;
    if session.project() != project {
        return Err(TokenError::WrongProject);
    }
    let issued_at = claims.iat.or(claims.create_time);
    if [issued_at, claims.nbf].into_iter().flatten().any(|time| time > now + LEEWAY) {
        return Err(TokenError::NotYet);
    }
    let expires_at = claims
        .exp
        .or(claims.expire_time)
        .unwrap_or_else(|| issued_at.unwrap_or_default().saturating_add(DEFAULT_LIFETIME));
    if expires_at.saturating_add(LEEWAY) <= now {
        return Err(TokenError::Expired);
    }
    let issued_at = issued_at.unwrap_or(now);
    if expires_at < issued_at {
        return Err(TokenError::Malformed(EXPIRES_FIRST));
    }
    // Some SDKs read the clock twice.
    if expires_at - issued_at > MAX_LIFETIME + LEEWAY {
        return Err(TokenError::TooLongLived);
    }
    Ok(Grant { session, role: claims.role.unwrap_or(Role::Publisher), connection_data, expires_at })
}

const SCOPE: &str = "session.connect";

/// What is wrong with a token whose times are the wrong way round.
const EXPIRES_FIRST: &str = "it expires before it was issued (exp is before iat)";

/// The vendor's claims, as far as they matter here. Some SDKs write `null` for what is not set.
#[derive(Default, Deserialize)]
struct Claims {
    session_id: String,
    role: Option<Role>,
    connection_data: Option<String>,
    scope: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    iat: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    nbf: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    exp: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    create_time: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    expire_time: Option<Duration>,
}

/// A NumericDate (RFC 7519 §2): seconds since 1970, perhaps with a fraction.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = Option::<f64>::deserialize(deserializer)?;
    seconds
        .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom))
        .transpose()
}

#[cfg(test)]
mod tests;
