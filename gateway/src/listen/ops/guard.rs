//! What a request to the operations listener must have before it is answered.
//!
//! - **A name of this machine** on a loopback address, or a configured one: a web site can point a
//!   name of its own at it (DNS rebinding), and would read the answers.
//! - **No foreign origin**: a browser sends requests on behalf of any page.
//! - **The token**, if one is configured. Health checks need none: they say nothing that a refused
//!   connection would not say. Neither do the files of the admin page, which asks for the token.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    config::SecretText,
    headers::bearer_tokens,
    listen::{host::own_host, http, page_policy::restrict},
    ops_token::SharedToken,
    page::ADMIN_PAGE,
};

/// Paths that need no token, beside those of the files of the admin page.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// The settings of the rules.
pub(crate) struct OpsAccess {
    /// The token that a request must present, if there is one.
    pub(crate) token: SharedToken,
    /// Names by which browsers reach the listener through a proxy.
    pub(crate) hosts: Vec<String>,
}

fn is_open(path: &str) -> bool {
    OPEN.contains(&path) || ADMIN_PAGE.iter().any(|file| file.path == path)
}

/// The rules of one listener.
pub(super) struct Guard {
    pub(super) is_loopback: bool,
    pub(super) access: OpsAccess,
}

/// Rejects a request that breaks a rule.
pub(super) async fn protect(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    match guard.check(request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(intrusion) => intrusion.into_response(),
    }
}

/// Completes every response: nobody may store it, and the connection ends with it.
pub(super) async fn complete(request: Request, next: Next) -> Response {
    let mut response = http::closing(next.run(request).await);
    restrict(&mut response, "");
    response
}

/// The fault of a rejected request: the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Intrusion {
    #[error("use localhost, an IP address or a name in ops.hosts as the host")]
    ForeignHost,
    #[error("requests of other web pages are not answered")]
    ForeignOrigin,
    #[error("present the token of ops.token: Authorization: Bearer TOKEN")]
    NoToken,
}

impl IntoResponse for Intrusion {
    fn into_response(self) -> Response {
        let status = match self {
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::NoToken => StatusCode::UNAUTHORIZED,
        };
        let mut response = (status, format!("{self}\n")).into_response();
        if self == Self::NoToken {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl Guard {
    /// Whether the host is one of the configured names. A proxy may have another port.
    fn is_named(&self, host: Option<Authority>) -> bool {
        let hosts = &self.access.hosts;
        host.is_some_and(|host| hosts.iter().any(|it| it.eq_ignore_ascii_case(host.host())))
    }

    /// Whether the request comes from no page, or from one of this listener.
    fn is_own_page(&self, headers: &HeaderMap) -> bool {
        if !headers.contains_key(header::ORIGIN) {
            return true;
        }
        let origin = origin(headers);
        (origin.is_some() && origin == host(headers)) || self.is_named(origin)
    }

    fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), Intrusion> {
        if self.is_loopback && own_host(headers).is_none() && !self.is_named(host(headers)) {
            return Err(Intrusion::ForeignHost);
        }
        if !self.is_own_page(headers) {
            return Err(Intrusion::ForeignOrigin);
        }
        match &*self.access.token.current() {
            Some(token) if !is_open(path) && !presents(headers, token) => Err(Intrusion::NoToken),
            _ => Ok(()),
        }
    }
}

/// The host of a request.
fn host(headers: &HeaderMap) -> Option<Authority> {
    authority(headers.get(header::HOST)?.to_str().ok()?)
}

/// A host and a port, without the name of a user.
fn authority(text: &str) -> Option<Authority> {
    text.parse().ok().filter(|_| !text.contains('@'))
}

/// The host and port of the page that sends a request; none if it has no origin of this form.
fn origin(headers: &HeaderMap) -> Option<Authority> {
    let origin = headers.get(header::ORIGIN)?.to_str().ok()?;
    // A proxy with TLS in front of the listener has the other scheme.
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority(rest?)
}

/// Whether exactly one token is presented, and it is this one.
fn presents(headers: &HeaderMap, token: &SecretText) -> bool {
    let mut presented = bearer_tokens(headers);
    let (Some(only), None) = (presented.next(), presented.next()) else { return false };
    verify_slices_are_equal(only.as_bytes(), token.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn guard(is_loopback: bool, token: Option<&str>) -> Guard {
        let token = SharedToken::new(token.map(|token| token.to_owned().into()));
        Guard { is_loopback, access: OpsAccess { token, hosts: vec!["ops.example.com".into()] } }
    }

    fn status(guard: &Guard, path: &str, list: &[(HeaderName, &str)]) -> u16 {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let headers = list.iter().map(|(name, text)| (name.clone(), value(text)));
        let checked = guard.check(path, &headers.collect());
        checked.map_or_else(|it| it.into_response().status().as_u16(), |()| 200)
    }

    #[test]
    fn a_foreign_name_of_this_machine_is_rejected_on_loopback_only() {
        let mut guard = guard(true, None);
        for (host, expected) in [
            ("localhost:4435", 200),
            ("127.0.0.1:4435", 200),
            ("[::1]:4435", 200),
            ("evil.example:4435", 421),
            ("localhost.evil.example", 421),
            ("ops.example.com", 200),
            ("OPS.example.com:443", 200),
            ("ops.example.com.evil.example", 421),
            ("evil@ops.example.com", 421),
        ] {
            assert_eq!(status(&guard, "/metrics", &[(header::HOST, host)]), expected, "{host}");
        }
        guard.is_loopback = false;
        assert_eq!(status(&guard, "/metrics", &[(header::HOST, "gateway-1.internal:4435")]), 200);
    }

    #[test]
    fn pages_of_other_origins_are_rejected() {
        let guard = guard(true, None);
        for (origin, expected) in [
            ("http://localhost:4435", 200),
            ("http://localhost:80", 403),
            ("http://127.0.0.1:4435", 403),
            ("https://evil.example", 403),
            ("null", 403),
            ("https://ops.example.com", 200),
            ("https://ops.example.com.evil.example", 403),
        ] {
            let headers = [(header::HOST, "localhost:4435"), (header::ORIGIN, origin)];
            assert_eq!(status(&guard, "/log", &headers), expected, "{origin}");
        }
    }

    #[test]
    fn a_token_is_required_for_everything_but_health_checks() {
        let guard = guard(false, Some(TOKEN));
        let bearer = format!("Bearer {TOKEN}");
        for (path, authorization, expected) in [
            ("/metrics", Some(&*bearer), 200),
            ("/metrics", None, 401),
            ("/metrics", Some("Bearer 0123456789abcdeF"), 401),
            ("/metrics", Some("Bearer 0123456789abcde"), 401),
            ("/metrics", Some("Basic OjAxMjM="), 401),
            ("/healthz", None, 200),
            ("/readyz", None, 200),
            ("/healthz/", None, 401),
            ("/admin/overview", None, 401),
            #[cfg(feature = "pages")]
            ("/", None, 200),
            #[cfg(feature = "pages")]
            ("/admin.js", None, 200),
        ] {
            let headers: Vec<_> =
                authorization.into_iter().map(|it| (header::AUTHORIZATION, it)).collect();
            assert_eq!(status(&guard, path, &headers), expected, "{path} {authorization:?}");
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(header::AUTHORIZATION, HeaderValue::from_str(&bearer).unwrap());
        }
        assert!(guard.check("/metrics", &twice).is_err(), "two tokens");
    }
}
