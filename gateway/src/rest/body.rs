//! Request bodies as text, bounded in size and time.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use super::error::Error;
use crate::headers::has_media_type;

/// Maximum length in bytes. JSON may write one byte of a signal as six (`\u0000`), so the longest
/// valid body has about 50 KiB.
const MAX_BYTES: usize = 64 * 1024;

/// Reads the whole body, which must arrive within `time`.
pub(super) async fn read(body: Body, time: Duration) -> Result<String, Error> {
    timeout(time, read_to_end(body)).await.unwrap_or(Err(Error::TooSlow))
}

async fn read_to_end(body: Body) -> Result<String, Error> {
    match Limited::new(body, MAX_BYTES).collect().await {
        Ok(body) => text(body.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge),
        Err(error) => {
            // hyper's text names the violation of HTTP.
            let detail = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
            Err(Error::invalid(format!("The body broke off{detail}")))
        }
    }
}

/// JSON and forms are UTF-8. Some libraries prepend a byte order mark, which has no meaning (RFC 8259
/// §8.1) and must not become part of the first name.
fn text(bytes: Vec<u8>) -> Result<String, Error> {
    let mut text = String::from_utf8(bytes).map_err(|_| Error::invalid("The body is not UTF-8"))?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

/// Whether the body may be JSON: it is labelled as JSON, or has no label. (Two labels are rejected
/// before routing.)
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::CONTENT_TYPE)
        || has_media_type(headers, header::CONTENT_TYPE, "application/json")
}

/// The fault of a body that is labelled as something other than JSON.
pub(super) fn not_json() -> Error {
    Error::invalid("The Content-Type must be application/json")
}

/// The fault of a body that is not JSON. It does not quote the body.
pub(super) fn malformed(error: &serde_json::Error) -> Error {
    Error::invalid(format!(
        "The body is not valid JSON (line {}, column {})",
        error.line(),
        error.column()
    ))
}
