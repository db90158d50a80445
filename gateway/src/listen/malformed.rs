//! Requests whose headers two programs could understand in two ways. A proxy before the gateway may
//! have checked one of two values, and the gateway would use the other; so they are refused.

use axum::{
    extract::Request,
    http::{HeaderMap, Version, header, uri::Authority},
    response::{IntoResponse, Response},
};
use hyper::StatusCode;

/// Why a request is refused before it is looked at. The client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("send exactly one Host header (RFC 9112, 3.2)")]
    Host,
    #[error("the value of the Host header is no host (RFC 9112, 3.2)")]
    HostValue,
    #[error("send the header {0} once at most")]
    Twice(&'static str),
}

impl IntoResponse for Malformed {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, format!("{self}\n")).into_response()
    }
}

/// Headers that have one value each, which is not a list. (Two credentials that differ are refused
/// where credentials are read, and two lengths by hyper, which also closes after a request with
/// Content-Length and Transfer-Encoding.)
const SINGLE: [(header::HeaderName, &str); 4] = [
    (header::CONTENT_TYPE, "Content-Type"),
    (header::ORIGIN, "Origin"),
    (header::SEC_WEBSOCKET_KEY, "Sec-WebSocket-Key"),
    (header::SEC_WEBSOCKET_VERSION, "Sec-WebSocket-Version"),
];

/// Looks at the headers of a request.
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
    // It may be empty (RFC 9110, 7.2), but it names nobody's password.
    let is_host =
        |text: &str| text.is_empty() || (text.parse::<Authority>().is_ok() && !text.contains('@'));
    if host.to_str().is_ok_and(is_host) { Ok(()) } else { Err(Malformed::HostValue) }
}
