//! JSON Web Tokens: the project that issued one, and its signature.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;
use signalbox_protocol::{ProjectKey, Text, json};

use crate::{KeyStore, TokenError, VerificationKeys};

/// The header's members that decide how the token is read. Keys that it names or contains are not
/// used.
#[derive(Deserialize)]
struct Header<'a> {
    /// Algorithm of the signature. It must be the configured key's.
    #[serde(borrow)]
    alg: Text<'a>,
    /// Whether there are extensions that the reader must understand (RFC 7515 §4.1.11).
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
    /// Whether the claims are in base64; they are unless detached (RFC 7797).
    b64: Option<bool>,
}

impl Header<'_> {
    fn check(&self) -> Result<(), TokenError> {
        if self.crit {
            return Err(TokenError::Malformed(
                "its header has critical extensions (crit), and this gateway supports none",
            ));
        }
        if self.b64 == Some(false) {
            return Err(TokenError::Malformed("its header says that the claims are not in base64"));
        }
        Ok(())
    }
}

fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// The claimed issuer, the only claim that is read before the signature is verified.
#[derive(Deserialize)]
struct Issuer {
    /// An application's id, in the claim of the vendor's newer SDKs.
    application_id: Option<Value>,
    /// A project's key.
    iss: Option<Value>,
}

impl Issuer {
    /// The project's key. Some SDKs write it as a number.
    fn key(self) -> Option<String> {
        match self.application_id.filter(|value| !value.is_null()).or(self.iss)? {
            Value::String(key) => Some(key),
            Value::Number(key) => Some(key.to_string()),
            _ => None,
        }
    }
}

/// A token whose signature is valid.
pub(crate) struct SignedToken<'a, C> {
    /// The project that signed.
    pub(crate) project: &'a ProjectKey,
    /// Its keys.
    pub(crate) keys: &'a VerificationKeys,
    /// The claims. Their meaning and times are the caller's to check.
    pub(crate) claims: C,
}

/// Verifies the signature with the keys of the project that the token names as its issuer.
pub(crate) fn verify<'a, C: DeserializeOwned>(
    store: &'a impl KeyStore,
    token: &str,
) -> Result<SignedToken<'a, C>, TokenError> {
    let parts = || {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some((decode(header)?, decode(claims)?, signed, signature))
    };
    let (header, claims, signed, signature) = parts().ok_or(TokenError::Malformed(
        "not a JSON Web Token: it does not have three parts in base64url",
    ))?;
    let header: Header<'_> = json::from_str(&header).map_err(|_| {
        TokenError::Malformed(
            "its header is not an object with an algorithm (alg) and each member once",
        )
    })?;
    header.check()?;
    let key = json::from_str::<Issuer>(&claims).ok().and_then(Issuer::key).ok_or(
        TokenError::Malformed("not a JSON Web Token with an issuer (iss or application_id)"),
    )?;
    let (project, keys) = store.find(&key).ok_or(TokenError::UnknownProject)?;
    let is_signed = |algorithm, key: &DecodingKey| {
        // Fails only if the signature is not base64 or the key is for other algorithms.
        crypto::verify(signature, signed.as_bytes(), key, algorithm).unwrap_or(false)
    };
    let is_valid = match (keys, &*header.alg) {
        (VerificationKeys::Secrets(secrets), "HS256") => secrets.iter().any(|secret| {
            is_signed(Algorithm::HS256, &DecodingKey::from_secret(secret.as_bytes()))
        }),
        (VerificationKeys::Public(keys), "RS256") => {
            keys.iter().any(|key| is_signed(Algorithm::RS256, &key.0))
        }
        _ => false,
    };
    if !is_valid {
        return Err(TokenError::Signature);
    }
    let claims = json::from_str(&claims)
        .map_err(|_| TokenError::Malformed("a claim is missing or of the wrong type"))?;
    Ok(SignedToken { project, keys, claims })
}

fn decode(part: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
