//! The HTTP endpoint of a project's webhook, and the key that signs its requests.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hyper::{
    Request, Uri, header,
    http::{request, uri::Authority},
};

use crate::config::Problem;

/// The URL that receives a project's events, and the signing key.
pub(crate) struct Endpoint {
    url: Uri,
    key: hmac::Key,
}

impl Endpoint {
    /// # Errors
    /// Every problem of the settings, for the operator.
    pub(crate) fn new(url: &str, secret: &str) -> Result<Self, Vec<Problem>> {
        let url = parse_url(url).map_err(|why| Problem::invalid("url", why));
        // Standard Webhooks: "between 24 bytes and 64 bytes, serialized as base64, prefixed".
        let secret = secret
            .strip_prefix("whsec_")
            .and_then(|encoded| BASE64.decode(encoded).ok())
            .filter(|secret| (24..=64).contains(&secret.len()))
            .ok_or_else(|| {
                let problem = "must be whsec_ and 24 to 64 bytes in base64; \
                    signalbox project new --webhook URL makes one";
                Problem::invalid("secret", problem)
            });
        match (url, secret) {
            (Ok(url), Ok(secret)) => {
                Ok(Self { url, key: hmac::Key::new(hmac::HMAC_SHA256, &secret) })
            }
            (url, secret) => Err(url.err().into_iter().chain(secret.err()).collect()),
        }
    }

    /// A request of [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks) with this
    /// JSON, signed. The body is still to be added.
    pub(crate) fn request(&self, id: &str, timestamp: u64, body: &[u8]) -> request::Builder {
        Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("signalbox/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.sign(id, timestamp, body))
    }

    /// The part of the URL that may be logged. The path may hold a token.
    pub(crate) fn host(&self) -> &str {
        self.url.authority().map_or("", Authority::as_str)
    }

    /// The `webhook-signature`, version 1.
    fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign()))
    }
}

fn parse_url(url: &str) -> Result<Uri, &'static str> {
    let url: Uri = url.parse().map_err(|_| "is not a URL; it must begin with https://")?;
    if url.host().is_none_or(str::is_empty) || !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("must begin with https:// or http:// and name a host");
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(
            "must not contain a user name or password; the signature authenticates the sender",
        );
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected value was computed with another implementation, Python's `hmac`.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let endpoint = Endpoint {
            url: Uri::from_static("https://app.example.com"),
            key: hmac::Key::new(hmac::HMAC_SHA256, b"an endpoint's secret of 32 bytes"),
        };
        let signature = endpoint.sign("msg_1", 1_795_500_000, br#"{"event":"connectionCreated"}"#);
        assert_eq!(signature, "v1,+fbowHE2d0K11PzkKfn7UtfqbI+rDGB/+dSrnJ+mSUo=");
    }
}
