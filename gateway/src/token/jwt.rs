//! JSON Web Tokens of projects: whose they are, and whether their project has signed them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;
use signalbox_protocol::{Text, json};

use super::TokenError;
use crate::project::{Keys, Project, Projects};

/// What a header says of how its token is to be read. Keys that it names or brings are not used.
#[derive(Deserialize)]
struct Header<'a> {
    /// The algorithm of the signature. It must be that of the key, which decides.
    #[serde(borrow)]
    alg: Text<'a>,
    /// Extensions that whoever reads the token must understand (RFC 7515 §4.1.11).
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
    /// Whether the claims are in base64, as they are unless they are detached (RFC 7797).
    b64: Option<bool>,
}

impl Header<'_> {
    fn check(&self) -> Result<(), TokenError> {
        if self.crit {
            return Err(TokenError::Malformed(
                "its header has extensions that must be understood (crit); this gateway knows none",
            ));
        }
        if self.b64 == Some(false) {
            return Err(TokenError::Malformed("its header says that the claims are not in base64"));
        }
        Ok(())
    }
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Whose a token says it is: the one thing that is read before the signature has been checked.
#[derive(Deserialize)]
struct Issuer {
    /// An application's id, where the vendor's newer SDKs put it.
    application_id: Option<Value>,
    /// A project's key.
    iss: Option<Value>,
}

impl Issuer {
    /// The project's key. Some write it as a number.
    fn key(self) -> Option<String> {
        match self.application_id.filter(|value| !value.is_null()).or(self.iss)? {
            Value::String(key) => Some(key),
            Value::Number(key) => Some(key.to_string()),
            _ => None,
        }
    }
}

/// Checks the signature and yields the project that signed, with the claims. What they mean, and
/// their times, are the caller's business.
pub(super) fn verify<'a, C: DeserializeOwned>(
    projects: &'a Projects,
    token: &str,
) -> Result<(&'a Project, C), TokenError> {
    let parts = || {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some((decode(header)?, decode(claims)?, signed, signature))
    };
    let (header, claims, signed, signature) = parts()
        .ok_or(TokenError::Malformed("no JSON Web Token: it has not three parts in base64url"))?;
    let header: Header<'_> = json::from_str(&header).map_err(|_| {
        TokenError::Malformed(
            "its header is not an object with an algorithm (alg) and each member once",
        )
    })?;
    header.check()?;
    let key = json::from_str::<Issuer>(&claims)
        .ok()
        .and_then(Issuer::key)
        .ok_or(TokenError::Malformed("no JSON Web Token with an issuer (iss or application_id)"))?;
    let project = projects.get(&key).ok_or(TokenError::UnknownProject)?;
    let is_signed = |algorithm, key: &DecodingKey| {
        // Fails only if the signature is no base64 or the key is for other algorithms.
        crypto::verify(signature, signed.as_bytes(), key, algorithm).unwrap_or(false)
    };
    let good = match (project.keys(), &*header.alg) {
        (Keys::Secrets(secrets), "HS256") => secrets.iter().any(|secret| {
            is_signed(Algorithm::HS256, &DecodingKey::from_secret(secret.as_bytes()))
        }),
        (Keys::Public(keys), "RS256") => keys.iter().any(|key| is_signed(Algorithm::RS256, key)),
        _ => false,
    };
    if !good {
        return Err(TokenError::Signature);
    }
    let claims = json::from_str(&claims)
        .map_err(|_| TokenError::Malformed("a claim is missing or of the wrong type"))?;
    Ok((project, claims))
}

fn decode(part: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
