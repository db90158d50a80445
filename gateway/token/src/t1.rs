//! The vendor's legacy client tokens, which one of its SDKs still creates by default:
//!
//! ```text
//! T1== base64( partner_id={key} &sig={hex HMAC-SHA1(secret, data)} : data )
//! ```
//!
//! `data` is a query string with the claims. SDKs differ in the base64 alphabet, in padding and in
//! how they escape a space, so the signature is checked over the bytes as they are.

use std::{borrow::Cow, collections::HashSet, time::Duration};

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use signalbox_protocol::{ProjectKey, Role};

use crate::{KeyStore, TokenError, VerificationKeys, claims::ClientClaims};

/// The prefix that distinguishes a legacy token from a JWT.
pub(crate) const PREFIX: &str = "T1==";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Verifies the signature and returns the project that signed, with the claims. `encoded` is the
/// text after the [`PREFIX`].
pub(crate) fn verify<'a>(
    store: &'a impl KeyStore,
    encoded: &str,
) -> Result<(&'a ProjectKey, ClientClaims), TokenError> {
    let malformed = || TokenError::Malformed("not in the form T1==");
    let standard = encoded.replace('-', "+").replace('_', "/");
    let plain = BASE64.decode(standard).map_err(|_| malformed())?;
    let colon = plain.iter().position(|byte| *byte == b':').ok_or_else(malformed)?;
    let (head, data) = plain.split_at(colon);
    let data = data.get(1..).unwrap_or_default();

    each_once(head)?;
    let (mut key, mut signature) = (None, None);
    for (name, value) in form_urlencoded::parse(head) {
        match name.as_ref() {
            "partner_id" => key = Some(value),
            "sig" => signature = hex::decode(&*value).ok(),
            _ => {}
        }
    }
    let (key, signature) = key.zip(signature).ok_or_else(malformed)?;
    let (project, keys) = store.find(&key).ok_or(TokenError::UnknownProject)?;
    // An application has no secret, and so no tokens of this form.
    let VerificationKeys::Secrets(secrets) = keys else { return Err(TokenError::Signature) };
    let signed = secrets.iter().any(|secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        hmac::verify(&key, data, &signature).is_ok()
    });
    if !signed {
        return Err(TokenError::Signature);
    }
    Ok((project, claims(data)?))
}

/// Rejects repeated names: this reader and the token's creator might disagree about which one counts.
fn each_once(query: &[u8]) -> Result<(), TokenError> {
    let mut names = HashSet::new();
    if form_urlencoded::parse(query).all(|(name, _)| names.insert(name)) {
        Ok(())
    } else {
        Err(TokenError::Malformed("a field is repeated"))
    }
}

fn claims(data: &[u8]) -> Result<ClientClaims, TokenError> {
    each_once(data)?;
    let mut claims = ClientClaims::default();
    for (name, value) in form_urlencoded::parse(data) {
        match name.as_ref() {
            "session_id" => claims.session_id = value.into_owned(),
            "role" => {
                let role = Role::from_name(&value);
                claims.role = Some(role.ok_or(TokenError::Malformed("its role is unknown"))?);
            }
            "connection_data" => claims.connection_data = Some(value.into_owned()),
            "create_time" => claims.create_time = seconds(value)?,
            "expire_time" => claims.expire_time = seconds(value)?,
            "nonce" if !value.is_empty() => claims.jti = Some(value.into_owned()),
            _ => {}
        }
    }
    Ok(claims)
}

/// Reads Unix time in seconds; some SDKs write the name of a time without a value.
fn seconds(text: Cow<'_, str>) -> Result<Option<Duration>, TokenError> {
    if text.is_empty() {
        return Ok(None);
    }
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.map(Some).ok_or(TokenError::Malformed("one of its times is not a number of seconds"))
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key};

    use super::*;

    /// Any bytes in the outer form.
    pub(crate) fn wrap(plain: &[u8]) -> String {
        format!("{PREFIX}{}", BASE64.encode(plain))
    }

    /// A token with this data, as an SDK creates it.
    pub(crate) fn sign(data: &[u8], key: &str, secret: &str) -> String {
        let hmac_key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        let tag = hmac::sign(&hmac_key, data);
        let sig = hex::encode(tag);
        wrap(&[format!("partner_id={key}&sig={sig}:").as_bytes(), data].concat())
    }
}
