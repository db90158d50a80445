//! JSON Web Tokens of projects: whose they are, and whether their project has signed them.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, dangerous::insecure_decode_claims};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

use super::TokenError;
use crate::project::{Keys, Project, Projects};

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
    let key = insecure_decode_claims::<Issuer>(token)
        .ok()
        .and_then(Issuer::key)
        .ok_or(TokenError::Malformed("no JSON Web Token with an issuer (iss or application_id)"))?;
    let project = projects.get(&key).ok_or(TokenError::UnknownProject)?;
    let signed = match project.keys() {
        Keys::Secrets(secrets) => secrets.iter().any(|secret| {
            is_signed(token, Algorithm::HS256, &DecodingKey::from_secret(secret.as_bytes()))
        }),
        Keys::Public(keys) => keys.iter().any(|key| is_signed(token, Algorithm::RS256, key)),
    };
    if !signed {
        return Err(TokenError::Signature);
    }
    let claims = insecure_decode_claims(token)
        .map_err(|_| TokenError::Malformed("a claim is missing or of the wrong type"))?;
    Ok((project, claims))
}

fn is_signed(token: &str, algorithm: Algorithm, key: &DecodingKey) -> bool {
    let mut validation = Validation::new(algorithm);
    // Which claims are needed and when they are valid is the vendor's matter and not RFC 7519's.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<IgnoredAny>(token, key, &validation).is_ok()
}
