//! Rejection of ambiguous headers. A proxy in front of the gateway may have checked one of two values
//! while the gateway uses the other.

use axum::{
    extract::Request,
    http::{HeaderMap, Version, header, uri::Authority},
    response::{IntoResponse, Response},
};
use hyper::StatusCode;

/// The fault of an ambiguous request: the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("send exactly one Host header (RFC 9112, 3.2)")]
    Host,
    #[error("the value of the Host header is not a host (RFC 9112, 3.2)")]
    HostValue,
    #[error("send the header {0} at most once")]
    Twice(&'static str),
}

impl IntoResponse for Malformed {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, format!("{self}\n")).into_response()
    }
}

/// Headers with a single value. (Two different credentials are rejected where credentials are read,
/// and two lengths by hyper, which also closes the connection after a request with Content-Length
/// and Transfer-Encoding.)
const SINGLE: [(header::HeaderName, &str); 4] = [
    (header::CONTENT_TYPE, "Content-Type"),
    (header::ORIGIN, "Origin"),
    (header::SEC_WEBSOCKET_KEY, "Sec-WebSocket-Key"),
    (header::SEC_WEBSOCKET_VERSION, "Sec-WebSocket-Version"),
];

/// Checks the headers of a request.
pub(super) fn check(request: &Request) -> Result<(), Malformed> {
    let headers = request.headers();
    check_host(headers, request.version())?;
    for (name, shown) in SINGLE {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(Malformed::Twice(shown));
        }
    }
    Ok(())
}

fn check_host(headers: &HeaderMap, version: Version) -> Result<(), Malformed> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        // Older clients need not send one.
        (None, _) if version < Version::HTTP_11 => return Ok(()),
        _ => return Err(Malformed::Host),
    };
    // It may be empty (RFC 9110, 7.2), but contains no user information.
    let is_host =
        |text: &str| text.is_empty() || (text.parse::<Authority>().is_ok() && !text.contains('@'));
    if host.to_str().is_ok_and(is_host) { Ok(()) } else { Err(Malformed::HostValue) }
}
