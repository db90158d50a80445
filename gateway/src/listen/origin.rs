//! The origins of pages that may connect.

use axum::http::{HeaderMap, header};

/// Whether a page of the request's origin may connect. Only browsers send an origin; the check
/// protects their users from pages that were not meant to have a token.
pub(super) fn origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    match headers.get(header::ORIGIN) {
        None => true,
        Some(origin) => allowed.iter().any(|pattern| {
            pattern == "*" || pattern.as_bytes().eq_ignore_ascii_case(origin.as_bytes())
        }),
    }
}
