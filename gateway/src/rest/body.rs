//! A request's body as text, bounded in size and time.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use super::error::Error;

/// Longest body, in bytes. JSON may write one byte of a signal as six (`\u0000`), so that the
/// longest valid one has about 50 KiB.
const MAX_BYTES: usize = 64 * 1024;

/// The whole body, which must be here within `time`.
pub(super) async fn read(body: Body, time: Duration) -> Result<String, Error> {
    timeout(time, read_to_end(body)).await.unwrap_or(Err(Error::TooSlow))
}

async fn read_to_end(body: Body) -> Result<String, Error> {
    match Limited::new(body, MAX_BYTES).collect().await {
        Ok(body) => text(body.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge),
        Err(error) => {
            // hyper's own text says what of HTTP was broken.
            let detail = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
            Err(Error::invalid(format!("The body broke off{detail}")))
        }
    }
}

/// JSON and forms are UTF-8. Some libraries put a byte order mark before it, which means nothing
/// (RFC 8259 §8.1) and must not become a part of the first name.
fn text(bytes: Vec<u8>) -> Result<String, Error> {
    let mut text = String::from_utf8(bytes).map_err(|_| Error::invalid("The body is not UTF-8"))?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

/// Whether the body may be JSON, by what its sender says of it, if anything.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let json = |value: &axum::http::HeaderValue| {
        let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        media_type.trim().eq_ignore_ascii_case("application/json")
    };
    match (types.next(), types.next()) {
        (None, _) => true,
        (Some(value), None) => json(value),
        (Some(_), Some(_)) => false,
    }
}
