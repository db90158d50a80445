//! Minting of tokens and credentials, as a project's server does it.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use signalbox_protocol::{ProjectKey, Role, SessionId};

use crate::SCOPE;

/// The key that a project's server signs with.
#[derive(Clone, Copy)]
pub enum Signer<'a> {
    /// One of the project's secrets (HS256).
    Secret(&'a str),
    /// An application's private key, PEM (RS256).
    PrivateKey(&'a str),
}

/// Parameters of a new client token.
#[derive(Clone)]
pub struct NewToken<'a> {
    /// The project's key.
    pub key: &'a ProjectKey,
    /// The signing key.
    pub signer: Signer<'a>,
    /// The session to join.
    pub session: &'a SessionId,
    /// The bearer's role.
    pub role: Role,
    /// Data that other members see; at most 4096 bytes.
    pub connection_data: &'a str,
    /// Time of issue, in Unix time.
    pub now: Duration,
    /// Time from issue to expiry.
    pub lifetime: Duration,
}

/// Parameters of a new server credential.
#[derive(Clone)]
pub struct NewServerToken<'a> {
    /// The project's key.
    pub key: &'a ProjectKey,
    /// The signing key.
    pub signer: Signer<'a>,
    /// Time of issue, in Unix time.
    pub now: Duration,
    /// Time from issue to expiry.
    pub lifetime: Duration,
}

/// The claims of both, with the names of the vendor's SDKs.
#[derive(Serialize)]
struct NewClaims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a ProjectKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ist: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<&'a ProjectKey>,
    iat: u64,
    exp: u64,
    /// Makes tokens of the same second distinguishable.
    jti: String,
    #[serde(flatten)]
    grant: Option<NewGrant<'a>>,
}

#[derive(Serialize)]
struct NewGrant<'a> {
    session_id: &'a SessionId,
    role: Role,
    scope: &'static str,
    connection_data: &'a str,
}

impl NewToken<'_> {
    /// Mints the token, with the claims that the vendor's SDKs write.
    ///
    /// # Errors
    /// If the private key is not an RSA key, or signing fails.
    pub fn mint(&self) -> Result<String, jsonwebtoken::errors::Error> {
        let Self { key, signer, session, role, connection_data, now, lifetime } = *self;
        let grant = NewGrant { session_id: session, role, scope: SCOPE, connection_data };
        sign(key, signer, now, lifetime, Some(grant))
    }
}

impl NewServerToken<'_> {
    /// Mints the credential.
    ///
    /// # Errors
    /// As [`NewToken::mint`].
    pub fn mint(&self) -> Result<String, jsonwebtoken::errors::Error> {
        sign(self.key, self.signer, self.now, self.lifetime, None)
    }
}

fn sign(
    key: &ProjectKey,
    signer: Signer<'_>,
    now: Duration,
    lifetime: Duration,
    grant: Option<NewGrant<'_>>,
) -> Result<String, jsonwebtoken::errors::Error> {
    let (algorithm, encoding_key) = match signer {
        Signer::Secret(secret) => (Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes())),
        Signer::PrivateKey(pem) => (Algorithm::RS256, EncodingKey::from_rsa_pem(pem.as_bytes())?),
    };
    let is_project = algorithm == Algorithm::HS256;
    let claims = NewClaims {
        iss: is_project.then_some(key),
        ist: is_project.then_some("project"),
        application_id: (!is_project).then_some(key),
        iat: now.as_secs(),
        exp: now.saturating_add(lifetime).as_secs(),
        jti: uuid::Uuid::new_v4().simple().to_string(),
        grant,
    };
    jsonwebtoken::encode(&Header::new(algorithm), &claims, &encoding_key)
}
