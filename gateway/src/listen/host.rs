//! The `Host` of a request to a listener that is for this machine or this network.

use std::net::IpAddr;

use axum::http::{HeaderMap, header, uri::Authority};

/// The host of a request, if it is `localhost` or an IP address. A web site that points a name of
/// its own at this machine (DNS rebinding) has another one.
pub(super) fn own_host(headers: &HeaderMap) -> Option<Authority> {
    let host: Authority = headers.get(header::HOST)?.to_str().ok()?.parse().ok()?;
    let name = host.host();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let own = name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok();
    (own && !host.as_str().contains('@')).then_some(host)
}
