//! Client tokens: who may join which session, as what, and until when.
//!
//! A token is a JWT (RFC 7519) signed by the project's server with HS256 and the project's
//! secret, with the claims of the vendor's server SDKs. The algorithm is fixed by the kind of
//! key that is configured and never taken from the token (RFC 8725 §3.1). No error and no log
//! line holds any part of a token.

use std::time::Duration;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, dangerous::insecure_decode_claims,
};
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use signalbox_protocol::{CloseReason, ProjectKey, Role, SessionId, limits};

use crate::project::Projects;

/// How far the clocks of a project's server and of the gateway may be apart.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// How long a token without an expiry is good, from when it was issued (the vendor's default).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

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
    /// It is not a JWT with the claims that a client token has.
    #[error("not a client token: {0}")]
    Malformed(&'static str),
    /// No project of that key is configured.
    #[error("the token's issuer is no project of this gateway")]
    UnknownProject,
    /// It is not signed with a secret of its project, by the algorithm of that secret.
    #[error("the token's signature is not good")]
    Signature,
    /// Its session belongs to another project than the one that signed it.
    #[error("the token's session belongs to another project")]
    WrongProject,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is of the future; check the clock of the server that made it")]
    NotYet,
}

impl TokenError {
    /// The reason that the client is told.
    pub fn close_reason(&self) -> CloseReason {
        match self {
            Self::TooLong | Self::Malformed(_) | Self::UnknownProject | Self::Signature => {
                CloseReason::InvalidToken
            }
            Self::WrongProject => CloseReason::WrongProject,
            Self::Expired | Self::NotYet => CloseReason::TokenExpired,
        }
    }
}

/// Checks a token against the projects, at `now` in Unix time.
///
/// # Errors
/// [`TokenError`], in this order of checks: shape, project, signature, session, time.
pub fn verify(projects: &Projects, token: &str, now: Duration) -> Result<Grant, TokenError> {
    if token.len() > limits::TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    // Only to learn whose secret to check with; nothing else of it is used before the signature.
    let Issuer { iss } = insecure_decode_claims(token)
        .map_err(|_| TokenError::Malformed("no JSON Web Token with an issuer (iss)"))?;
    let project = projects.get(&iss).ok_or(TokenError::UnknownProject)?;

    let mut validation = Validation::new(Algorithm::HS256);
    // Which claims are needed and when they are valid is the vendor's matter: see `check`.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let signed = project.secrets().any(|secret| {
        let key = DecodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::decode::<IgnoredAny>(token, &key, &validation).is_ok()
    });
    if !signed {
        return Err(TokenError::Signature);
    }
    let claims = insecure_decode_claims(token)
        .map_err(|_| TokenError::Malformed("a claim is missing or of the wrong type"))?;
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
    let issued_at = claims.iat.or(claims.create_time).unwrap_or_default();
    if [Some(issued_at), claims.nbf].into_iter().flatten().any(|time| time > now + LEEWAY) {
        return Err(TokenError::NotYet);
    }
    let expires_at = claims
        .exp
        .or(claims.expire_time)
        .unwrap_or_else(|| issued_at.saturating_add(DEFAULT_LIFETIME));
    if expires_at.saturating_add(LEEWAY) <= now {
        return Err(TokenError::Expired);
    }
    Ok(Grant { session, role: claims.role.unwrap_or(Role::Publisher), connection_data, expires_at })
}

const SCOPE: &str = "session.connect";

/// The one claim that is read before the signature has been checked.
#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

/// The vendor's claims, as far as they matter here. Some SDKs write `null` for what is not set.
#[derive(Deserialize)]
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

/// What to mint a token with.
#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    /// The project's key.
    pub key: &'a ProjectKey,
    /// One of the project's secrets.
    pub secret: &'a str,
    /// The session it opens.
    pub session: &'a SessionId,
    /// What its bearer may do.
    pub role: Role,
    /// What the others see of its bearer.
    pub connection_data: &'a str,
    /// When it is made, in Unix time.
    pub now: Duration,
    /// How long it is good.
    pub lifetime: Duration,
}

impl NewToken<'_> {
    /// Makes the token, with the claims that the vendor's SDKs write.
    ///
    /// # Errors
    /// If the signing library fails, which it does for no input known to us.
    pub fn mint(&self) -> Result<String, jsonwebtoken::errors::Error> {
        #[derive(Serialize)]
        struct NewClaims<'a> {
            iss: &'a ProjectKey,
            ist: &'static str,
            iat: u64,
            exp: u64,
            session_id: &'a SessionId,
            role: Role,
            scope: &'static str,
            connection_data: &'a str,
            /// Two tokens of the same second differ, so that one can be told from the other.
            nonce: String,
        }
        let claims = NewClaims {
            iss: self.key,
            ist: "project",
            iat: self.now.as_secs(),
            exp: self.now.saturating_add(self.lifetime).as_secs(),
            session_id: self.session,
            role: self.role,
            scope: SCOPE,
            connection_data: self.connection_data,
            nonce: uuid::Uuid::new_v4().simple().to_string(),
        };
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
    }
}

#[cfg(test)]
mod tests;
