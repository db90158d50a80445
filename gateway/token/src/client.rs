//! Client tokens: the session, role and lifetime that a token grants.

use std::time::Duration;

use signalbox_protocol::{ProjectKey, Role, SessionId, limits};

use crate::{
    KeyStore, LEEWAY, SCOPE, TokenError, VerificationKeys,
    claims::{ClientClaims, EXPIRES_FIRST},
    jwt, t1,
};

/// Lifetime of a token without an expiry, from when it was issued (the vendor's default).
pub(crate) const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum lifetime of a client token, from when it was issued (the vendor's maximum). It bounds
/// the time for which a revocation must be remembered.
pub const MAX_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The rights of a token's bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The session to join; it belongs to the project that signed.
    pub session: SessionId,
    /// The role in that session.
    pub role: Role,
    /// Data that other members see; at most 4096 bytes.
    pub connection_data: String,
    /// End of the token's lifetime in Unix time, leeway not included.
    pub expires_at: Duration,
    /// The token's id (`jti`, or the nonce of a legacy token). None if it has none.
    pub token_id: Option<String>,
    /// When the token was issued, in Unix time. None if it does not say so.
    pub issued_at: Option<Duration>,
}

/// Verifies a client token at `now` (Unix time). `t1` enables the legacy form.
///
/// # Errors
/// [`TokenError`], checked in this order: shape, project, signature, session, time.
pub fn verify_client_token(
    store: &impl KeyStore,
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
        let (project, claims) = t1::verify(store, encoded)?;
        return check(claims, project, now);
    }
    let signed = jwt::verify::<ClientClaims>(store, token)?;
    let claims = signed.claims;
    if matches!(signed.keys, VerificationKeys::Public(_))
        && (claims.exp.is_none() || claims.role.is_none())
    {
        return Err(TokenError::Malformed("an application's token needs a role and an exp"));
    }
    check(claims, signed.project, now)
}

fn check(claims: ClientClaims, project: &ProjectKey, now: Duration) -> Result<Grant, TokenError> {
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
        .map_err(|_| TokenError::Malformed("its session_id is not a session id"))?;
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
    let valid_from = issued_at.unwrap_or(now);
    if expires_at < valid_from {
        return Err(TokenError::Malformed(EXPIRES_FIRST));
    }
    // Some SDKs read the clock twice.
    if expires_at - valid_from > MAX_LIFETIME + LEEWAY {
        return Err(TokenError::TooLongLived);
    }
    let role = claims.role.unwrap_or(Role::Publisher);
    Ok(Grant { session, role, connection_data, expires_at, token_id: claims.jti, issued_at })
}
