//! Making tokens, as a project's server does, for the command line and for tests.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use signalbox_protocol::{ProjectKey, Role, SessionId};

use super::SCOPE;

/// What a project's server signs with.
#[derive(Clone, Copy)]
pub enum Signer<'a> {
    /// One of the project's secrets (HS256).
    Secret(&'a str),
    /// An application's private key, PEM (RS256).
    PrivateKey(&'a str),
}

/// What to mint a client token with.
#[derive(Clone)]
pub struct NewToken<'a> {
    /// The project's key.
    pub key: &'a ProjectKey,
    /// What to sign with.
    pub signer: Signer<'a>,
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

/// What to mint a server's credential with.
#[derive(Clone)]
pub struct NewServerToken<'a> {
    /// The project's key.
    pub key: &'a ProjectKey,
    /// What to sign with.
    pub signer: Signer<'a>,
    /// When it is made, in Unix time.
    pub now: Duration,
    /// How long it is good.
    pub lifetime: Duration,
}

/// The claims of both, named as the vendor's SDKs name them.
#[derive(Serialize)]
struct Claims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a ProjectKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ist: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<&'a ProjectKey>,
    iat: u64,
    exp: u64,
    /// Two tokens of the same second differ, so that one can be told from the other.
    jti: String,
    #[serde(flatten)]
    grant: Option<Grant<'a>>,
}

#[derive(Serialize)]
struct Grant<'a> {
    session_id: &'a SessionId,
    role: Role,
    scope: &'static str,
    connection_data: &'a str,
}

impl NewToken<'_> {
    /// Makes the token, with the claims that the vendor's SDKs write.
    ///
    /// # Errors
    /// If the private key is none of RSA, or the signing library fails.
    pub fn mint(&self) -> Result<String, jsonwebtoken::errors::Error> {
        let Self { key, signer, session, role, connection_data, now, lifetime } = *self;
        let grant = Grant { session_id: session, role, scope: SCOPE, connection_data };
        sign(key, signer, now, lifetime, Some(grant))
    }
}

impl NewServerToken<'_> {
    /// Makes the credential.
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
    grant: Option<Grant<'_>>,
) -> Result<String, jsonwebtoken::errors::Error> {
    let (algorithm, encoding_key) = match signer {
        Signer::Secret(secret) => (Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes())),
        Signer::PrivateKey(pem) => (Algorithm::RS256, EncodingKey::from_rsa_pem(pem.as_bytes())?),
    };
    let is_project = algorithm == Algorithm::HS256;
    let claims = Claims {
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
